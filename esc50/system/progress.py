"""One progress bar for every long job: rich on a terminal, a line every few seconds elsewhere, always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
PLAIN_SECONDS = 5.0  # time between two plain lines


@contextmanager
def bar(
    description: str, total: float | None, unit: str = "it", *, quiet: bool = False
) -> Iterator[Callable[..., None]]:
    """Show how far a job is. Yields ``advance(n=1, note="")``; `note`, read when it is shown, stands behind the bar."""
    if quiet:
        yield lambda n=1, note=None: None  # noqa: ARG005
        return
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(description, total=total, note="")

            def advance(n: float = 1, note: object = None) -> None:
                progress.advance(task, n)
                if note is not None:
                    progress.update(task, note=note)

            yield advance
        return
    yield from _plain(description, total, unit)


def say(text: str) -> None:
    """Tell what the user should know while a job runs."""
    print(text, file=sys.stderr, flush=True)


def _plain(description: str, total: float | None, unit: str) -> Iterator[Callable[..., None]]:
    start = last = time.monotonic()
    done: float = 0.0
    latest: object = ""

    def line() -> None:
        of = "" if total is None else f" of {total:.0f}"
        seconds = time.monotonic() - start
        left = f", {seconds * (total / done - 1):.0f} s left" if total is not None and 0 < done < total else ""
        text = f"{description}: {done:.0f}{of} {unit} in {seconds:.1f} s{left} {latest}"
        print(text.rstrip(), file=sys.stderr, flush=True)

    def advance(n: float = 1, note: object = None) -> None:
        nonlocal done, last, latest
        done, latest = done + n, latest if note is None else note
        if time.monotonic() - last >= PLAIN_SECONDS:
            last = time.monotonic()
            line()

    yield advance
    line()


def track(
    items: Iterable[T], description: str, total: float | None, unit: str = "it", *, quiet: bool = False
) -> Iterator[T]:
    """Iterate over `items` under a `bar`."""
    with bar(description, total, unit, quiet=quiet) as advance:
        for item in items:
            yield item
            advance()
