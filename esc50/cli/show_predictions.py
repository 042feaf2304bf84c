"""What `cumel predict` prints: results as they come, and in the end what was heard."""

from __future__ import annotations

from typing import Any, TextIO

from ..system import printable
from . import show


class Predictions:
    """Prints results of `predict` as they come: a block per recording, or with windows a line for each."""

    def __init__(self, windowed: bool) -> None:
        self.windowed, self._file = windowed, None

    def __call__(self, row: dict[str, Any]) -> None:
        """Print a result; errors come at the end."""
        if row["error"] is not None:
            return
        if row["file"] != self._file or not self.windowed:
            self._file = row["file"]
            part = "" if self.windowed or row["seconds"] is None else _heard(row["end"], row["seconds"])
            print(f"{printable(row['file'])}{part and f'  ({part})'}", flush=self.windowed)
        if not self.windowed:
            if not row["top"]:
                print(f"  {_nothing(row)}")
            for guess in row["top"]:
                print(f"  {guess['probability']:6.1%}  {guess['label']}")
            return
        best = "   ".join(f"{guess['label']} {guess['probability']:.1%}" for guess in row["top"])
        print(f"  {clock(row['start'])} - {clock(row['end'])}   {best or _nothing(row)}", flush=True)


def _nothing(row: dict[str, Any]) -> str:
    """Say why no label is named."""
    return "silence" if row["silent"] else "none of these"


def _heard(heard: float, seconds: float) -> str:
    """Say how much of a recording was heard; nothing for all of it."""
    return f"heard {clock(heard)} of {clock(seconds)}" if clock(heard) != clock(seconds) else ""


def clock(seconds: float) -> str:
    """Return a time in a recording, as 1:02:03.4."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def position(row: dict[str, Any]) -> str:
    """Say how far a recording has been heard."""
    whole = "" if row["seconds"] is None else f" of {clock(row['seconds'])}"
    return f"{clock(row['end'])}{whole} in {printable(row['file'])}"


def predicted(report: dict[str, Any], failures: list[dict[str, Any]], file: TextIO) -> None:
    """Print what `predict` did in all."""
    show.failed(failures, report["failed"])
    used = report["provider"]
    failed = f", {report['failed']} failed" if report["failed"] else ""
    silent = f", {report['silent']} of them silent" if report["silent"] else ""
    files, windows = show.count(report["files"], "file"), show.count(report["windows"], "window")
    part = _heard(report["heard_seconds"], report["seconds"])
    heard = f"{part}; --hop-seconds hears all" if part else f"heard {clock(report['heard_seconds'])}"
    print(f"{files}{failed}; {windows}{silent}, {heard}", file=file)
    print(
        f"ran on {used['actual']} (asked for {used['requested']}; {used['reason']}), features by the "
        f"{used['route']} route ({used['route_reason']})",
        file=file,
    )
    for name, what in (("plot", "picture"), ("events", "events")):
        if report.get(name):
            print(f"{what}: {report[name]}", file=file)
