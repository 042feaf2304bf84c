"""One progress bar for every long job: rich on a terminal, a line every few seconds elsewhere, always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
PLAIN_SECONDS, MOST_PLAIN_SECONDS = 5.0, 60.0  # time between two plain lines: a tenth of what has passed, within these
SETTLED_SECONDS = 3.0  # time before which no rate and no end is told: too little is done to tell it from
WIDE = 60  # columns from which on a bar is drawn
BYTES = "B"  # the unit that is shown in MB


@contextmanager
def bar(
    description: str, total: float | None, unit: str = "it", *, quiet: bool = False
) -> Iterator[Callable[..., None]]:
    """Show how far a job is. Yields ``advance(n=1, note="")``; `note`, read when it is shown, stands behind the bar.

    Parameters
    ----------
    description : str
    total : float, optional
        None where nobody knows.
    unit : str
        What is counted; ``B`` is shown in MB.
    quiet : bool
        Whether to show nothing.
    """
    if quiet:
        yield lambda n=1, note=None: None  # noqa: ARG005
        return
    from rich.console import Console

    console, job = Console(stderr=True), Job(total, unit)
    if not console.is_terminal:
        yield from _plain(description, job)
        return
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.table import Column
    from rich.text import Text

    class Said(ProgressColumn):
        def render(self, task: Task) -> Text:  # noqa: ARG002
            return Text(str(job))

    drawn = [BarColumn(bar_width=None)] if console.width >= WIDE else []
    said = Said(table_column=Column(no_wrap=True, overflow="ellipsis"))
    with Progress(TextColumn("{task.description}"), *drawn, said, console=console) as progress:
        task = progress.add_task(description, total=total)

        def advance(n: float = 1, note: object = None) -> None:
            job.advance(n, note)
            progress.advance(task, n)

        yield advance
        job.end()


def say(text: str) -> None:
    """Tell what the user should know while a job runs."""
    print(text, file=sys.stderr, flush=True)


def _plain(description: str, job: Job) -> Iterator[Callable[..., None]]:
    due = PLAIN_SECONDS

    def advance(n: float = 1, note: object = None) -> None:
        nonlocal due
        job.advance(n, note)
        if job.seconds >= due:
            due = job.seconds + min(max(PLAIN_SECONDS, job.seconds / 10), MOST_PLAIN_SECONDS)
            say(f"{description}: {job}")

    yield advance
    say(f"{description}: {job}")


class Job:
    """How far a job is; as text ``98 of 160 files in 7.1 s, 4.5 s left, 14 files/s``."""

    def __init__(self, total: float | None, unit: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.unit, self.clock = total, unit, clock
        self.done: float = 0.0
        self.note: object = ""
        self.started = self.latest = clock()  # latest: the time at which something was done
        self.ended: float | None = None

    def advance(self, n: float, note: object) -> None:
        """Count what is done."""
        self.note = self.note if note is None else note
        if n:
            self.done, self.latest = self.done + n, self.clock()

    def end(self) -> None:
        """Stop the clock."""
        self.ended = self.clock()

    @property
    def seconds(self) -> float:
        """Seconds that the job has taken."""
        return (self.clock() if self.ended is None else self.ended) - self.started

    def __str__(self) -> str:
        scale, digits, unit = (1e6, 1, "MB") if self.unit == BYTES else (1, 0, self.unit)
        of = "" if self.total is None else f" of {self.total / scale:.{digits}f}"
        times = f"{self.done / scale:.{digits}f}{of} {unit} in {lasting(self.seconds)}"
        return ", ".join(part for part in (times, self._left(), str(self.note)) if part)

    def _left(self) -> str:
        """Say how long the rest will take at the speed so far; nothing before that is known."""
        if self.total is None or not 0 < self.done < self.total or self.seconds < SETTLED_SECONDS:
            return ""
        known = self.latest - self.started
        left = known * self.total / self.done - self.seconds
        return f"{lasting(left)} left" if left >= 1 else ""


def lasting(seconds: float) -> str:
    """Return a time in words, as ``0.3 s``, ``42 s``, ``7:05 min`` or ``3:20 h``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60}:{whole % 60:02} min" if whole < 3600 else f"{whole // 3600}:{whole % 3600 // 60:02} h"


def rate(n: float, seconds: float, unit: str) -> str:
    """Return how many there are in a second, or in a minute where these are few, as ``14 files/s``."""
    speed = n / max(seconds, 1e-9)
    if 0 < speed < 1:
        return f"{60 * speed:.1f} {unit}/min"
    return f"{speed:.{1 if speed < 10 else 0}f} {unit}/s"


def track(
    items: Iterable[T], description: str, total: float | None, unit: str = "it", *, quiet: bool = False
) -> Iterator[T]:
    """Iterate over `items` under a `bar`."""
    with bar(description, total, unit, quiet=quiet) as advance:
        for item in items:
            yield item
            advance()
