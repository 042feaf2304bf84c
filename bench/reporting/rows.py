"""The rows of bench/results: read, the newest of each kind, and how their numbers are written."""

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

Row = dict[str, str]


class Topic(NamedTuple):
    """The rows of one csv file."""

    path: Path
    columns: list[str]
    rows: list[Row]

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem


def read(path: Path, needed: Sequence[str] = ()) -> Topic:
    """Read a csv file, which must have the columns `needed`; one clear line about what is wrong with it."""
    if not path.is_file():
        raise SystemExit(f"{path}: no such file; run the benchmark that writes it")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        columns = list(reader.fieldnames or ())
    for index, row in enumerate(rows):
        if None in row or None in row.values():
            raise SystemExit(f"{path}: row {index + 1} has not the {len(columns)} cells of the header")
    if missing := [name for name in needed if name not in columns]:
        raise SystemExit(f"{path}: no column {', '.join(missing)}; measure again")
    return Topic(path, columns, rows)


def newest(rows: Iterable[Row], keys: Sequence[str]) -> list[Row]:
    """Return the last row for each device and value of the keys, in the order in which these first came."""
    return list({tuple(row.get(key, "") for key in ("device", *keys)): row for row in rows}.values())


def by(rows: Iterable[Row], *keys: str) -> dict[tuple[str, ...], list[Row]]:
    """Return the rows that share the values of some columns, in their order."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row.get(key, "") for key in keys), []).append(row)
    return found


def unique(rows: Iterable[Row], column: str) -> list[str]:
    """Return the different values of a column, in their order."""
    return list(dict.fromkeys(row[column] for row in rows if row.get(column)))


def number(row: Row, column: str) -> float | None:
    """Return a cell as a number, None where it is empty."""
    cell = row.get(column, "")
    if not cell:
        return None
    try:
        return float(cell)
    except ValueError:
        raise SystemExit(f"{column}: {cell!r} is no number, in the row {' | '.join(row.values())}") from None


def short(value: float | None) -> str:
    """Write a number with three digits, or all of those before the point."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return str(value)
    if 0 < abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}" if value else "0"


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    """Divide the numbers of two rows that are shown; None where one of them is missing or nothing to divide by."""
    return None if numerator is None or not denominator else numerator / denominator


def times(value: float | None) -> str:
    """Write a ratio."""
    return "" if value is None else f"{short(value)} x"


def where(rows: Iterable[Row]) -> list[str]:
    """Return a sentence for each device: the device, its driver, the versions, the dates."""
    lines = []
    for (device,), group in by(rows, "device").items():
        dates = sorted(unique(group, "date"))
        drivers = [f"CUDA driver {driver}" for driver in unique(group, "driver") if driver != "-"]
        period = dates[:1] if len(dates) < 2 else [f"{dates[0]} to {dates[-1]}"]
        versions = [" or ".join(unique(group, "versions"))] if unique(group, "versions") else []
        lines.append("; ".join(filter(None, (device, *drivers, *versions, *period))))
    return lines
