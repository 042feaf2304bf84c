"""Results as rows of a file, written as they come: CSV for tables, JSON lines for programs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ...esc50.system import unwritable
from ...kernels import CumelError

ROW_FORMATS = ("csv", "jsonl")
STDOUT = "-"
FACTS = ("file", "start", "end", "seconds", "sr", "silent", "error")

Write = Callable[[dict[str, Any]], None]


def format_of(out: str | None, named: str | None) -> str:
    """Return the format of a file of rows: the one that is named, or its extension's; JSON lines for stdout.

    Raises
    ------
    CumelError
        For an unknown format, and for a file whose extension names none.
    """
    if named is not None:
        if named not in ROW_FORMATS:
            raise CumelError(f"--format {named}: must be one of {', '.join(ROW_FORMATS)}")
        return named
    if out in (None, STDOUT):
        return "jsonl"
    kind = Path(out).suffix.lower().removeprefix(".")
    if kind not in ROW_FORMATS:
        raise CumelError(f"--out {out}: give a name that ends in .csv or .jsonl, or name the --format")
    return kind


@contextmanager
def rows_into(out: str, kind: str, top: int) -> Iterator[Write]:
    """Yield a function that writes one row of `Prediction.row`, and flushes it.

    A row of CSV has ``file``, ``start``, ``end``, ``seconds``, ``sr``, ``silent``, ``error`` and, for each rank up to
    `top`, ``label_1``, ``probability_1`` and so on.

    Raises
    ------
    CumelError
        When the file cannot be written.
    """
    if out == STDOUT:
        yield _writer(sys.stdout, kind, top)
        return
    path = Path(out)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:  # file names are any bytes
            yield _writer(file, kind, top)
    except OSError as error:
        raise unwritable(path, error) from None


def _writer(file: TextIO, kind: str, top: int) -> Write:
    if kind == "jsonl":

        def write_line(row: dict[str, Any]) -> None:
            file.write(json.dumps(row) + "\n")
            file.flush()

        return write_line
    table = csv.writer(file, lineterminator="\n")
    ranks = range(1, top + 1)
    table.writerow([*FACTS, *(f"{name}_{rank}" for rank in ranks for name in ("label", "probability"))])

    def write_row(row: dict[str, Any]) -> None:
        best = [value for answer in row["top"] for value in (answer["label"], f"{answer['probability']:.6f}")]
        facts = row | {"silent": int(row["silent"])}
        table.writerow([*(facts[name] for name in FACTS), *best, *[None] * (2 * top - len(best))])
        file.flush()

    return write_row
