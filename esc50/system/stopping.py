"""Ctrl-C, and a scheduler's SIGTERM, as a wish: the first asks to stop at a good place, the second stops at once."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from ...kernels import CumelError

T = TypeVar("T")


class StoppedError(CumelError):
    """The user stopped it; the message says how to go on."""

    exit_code = 130  # a shell's code for Ctrl-C


class Stop:
    """Whether the user asked to stop; `where` is the place that the first wish waits for."""

    def __init__(self, where: str, *, anywhere: bool = False) -> None:
        self.where = where
        self.asked = self.at_once = False
        self._waits = anywhere  # whether the program is at a place that the second wish may interrupt

    def ask(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """Ask; the second time, interrupt, here or in `each` when it asks for its next item."""
        self.at_once = self.asked
        if not self.asked:
            self.asked = True
            sys.stderr.write(f"stopping after {self.where}; once more stops at once\n")
        elif self._waits:
            raise KeyboardInterrupt

    def each(self, items: Iterable[T]) -> Iterator[T]:
        """Iterate over items; the second wish ends that with a KeyboardInterrupt before an item, never behind one."""
        left = iter(items)
        while True:
            self._waits = True
            try:
                if self.at_once:
                    raise KeyboardInterrupt
                item = next(left)
            except StopIteration:
                return
            finally:
                self._waits = False
            yield item


@contextmanager
def stoppable(where: str, *, anywhere: bool = False) -> Iterator[Stop]:
    """Let SIGINT and SIGTERM ask to stop, where this is the thread that may decide so.

    The second one interrupts `Stop.each` alone, or `anywhere`.
    """
    stop = Stop(where, anywhere=anywhere)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
