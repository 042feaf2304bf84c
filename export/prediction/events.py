"""Events written as they are found: CSV, JSON lines, or labels for Audacity."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ...esc50.system import unwritable
from ...kernels import CumelError
from .aggregate import Event, row_of

AUDACITY = ".txt"
EVENT_FORMATS = (".csv", ".jsonl", AUDACITY)


def check_events(out: Path, n_files: int) -> None:
    """Refuse a file for events whose name tells of no format, and labels for Audacity of several recordings."""
    if out.suffix.lower() not in EVENT_FORMATS:
        raise CumelError(f"--events {out}: give a name that ends in .csv, .jsonl, or .txt (Audacity's labels)")
    if out.suffix.lower() == AUDACITY and n_files != 1:
        raise CumelError(
            f"--events {out}: Audacity's labels are those of one recording, and {n_files} are given; "
            "name one, or a .csv, which has a column for the file"
        )


@contextmanager
def events_into(out: Path) -> Iterator[Callable[[list[Event]], None]]:
    """Yield a function that writes the events of a recording, and flushes them.

    CSV and JSON lines have ``file``, ``start``, ``end`` (s), ``label``, ``probability`` and ``windows``; Audacity's
    labels, for File > Import > Labels, have start, end and label.

    Raises
    ------
    CumelError
        When the file cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            yield _writer(file, out.suffix.lower())
    except OSError as error:
        raise unwritable(out, error) from None


def _writer(file: TextIO, kind: str) -> Callable[[list[Event]], None]:
    if kind == ".csv":
        csv.writer(file, lineterminator="\n").writerow(Event._fields)

    def write(events: list[Event]) -> None:
        for event in events:
            if kind == AUDACITY:
                label = " ".join(event.label.split())  # a tab or a line would end the label
                file.write(f"{event.start:.6f}\t{event.end:.6f}\t{label}\n")
            elif kind == ".csv":
                values = row_of(event) | {"probability": f"{event.probability:.6f}"}
                csv.writer(file, lineterminator="\n").writerow(values.values())
            else:
                file.write(json.dumps(row_of(event)) + "\n")
        file.flush()

    return write
