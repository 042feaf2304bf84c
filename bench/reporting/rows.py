"""The rows of bench/results as pandas frames. Cells stay text, so that a page can show them as they were written."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from reporting.topics import ABOUT

Row = dict[str, str]


def read(path: Path, needed: Sequence[str] = ()) -> pd.DataFrame:
    """Read a csv file that must have the columns `needed`.

    Raises
    ------
    SystemExit
        One line that says what is wrong with the file.
    """
    if not path.is_file():
        raise SystemExit(f"{path}: no such file; run the benchmark that writes it")
    with path.open(newline="", encoding="utf-8") as file:
        columns, *rows = list(csv.reader(file)) or [[]]
    for number, row in enumerate(rows, 1):
        if len(row) != len(columns):
            raise SystemExit(f"{path}: row {number} has {len(row)} cells where the header has {len(columns)}")
    if missing := [name for name in needed if name not in columns]:
        raise SystemExit(f"{path}: no column {', '.join(missing)}; measure again")
    return pd.DataFrame(rows, columns=columns, dtype=str)


def newest(frame: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return the last row for each device and value of the keys, where the first such row stands."""
    keys = [key for key in ("device", *keys) if key in frame]
    order = frame.groupby(keys, sort=False).ngroup() if keys else pd.Series(range(len(frame)))
    return frame.assign(order=order).drop_duplicates("order", keep="last").sort_values("order").drop(columns="order")


def latest(results: Path, name: str, *needed: str) -> pd.DataFrame:
    """Return the newest rows of a csv file from the device that was measured last."""
    path = results / f"{name}.csv"
    if not path.exists():
        raise SystemExit(f"a document shows bench:{name}, but there is no {path}")
    frame = read(path, (*ABOUT[name].keys, *needed))
    if frame.empty:
        raise SystemExit(f"a document shows bench:{name}, but {path} has no rows")
    rows = newest(frame, ABOUT[name].keys)
    return rows[rows["device"] == frame["device"].iloc[-1]] if "device" in rows else rows


def numbers(column: pd.Series) -> pd.Series:
    """Return cells as numbers, NaN where they are empty."""
    try:
        return pd.to_numeric(column.replace("", None)).astype(float)
    except ValueError as error:
        raise SystemExit(f"column {column.name}: {error}") from None


def where(rows: pd.DataFrame) -> str:
    """Return a sentence for each device: its name, driver, versions and dates."""
    sentences = []
    for device, group in rows.groupby("device", sort=False):
        drivers = [f"CUDA driver {driver}" for driver in different(group["driver"]) if driver != "-"]
        dates = sorted(different(group["date"]))
        period = " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else ""
        parts = (device, *drivers, " or ".join(different(group["versions"])), period)
        sentences.append("; ".join(filter(None, parts)) + ".")
    return " ".join(sentences)


def different(cells: Iterable[str]) -> list[str]:
    """Return the different cells in their order, but for empty ones."""
    return [cell for cell in dict.fromkeys(cells) if cell]
