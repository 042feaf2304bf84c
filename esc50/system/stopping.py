"""Ctrl-C, and a scheduler's SIGTERM, as a wish: the first asks to stop at a good place, the second stops at once."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ...kernels import CumelError


class StoppedError(CumelError):
    """The user stopped it; the message says how to go on."""

    exit_code = 130  # a shell's code for Ctrl-C


class Stop:
    """Whether the user asked to stop."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """Ask; the second time, interrupt."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        sys.stderr.write("stopping after the current shard; once more stops at once\n")


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Let SIGINT and SIGTERM ask to stop, where this is the thread that may decide so."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
