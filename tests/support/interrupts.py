"""Ctrl-C at a chosen place of an extraction."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cumel.esc50.store.writer import ShardWriter


def interrupt(times: int = 1) -> None:
    """Send this process SIGINT."""
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)


@contextmanager
def at_recording(n: int) -> Iterator[None]:
    """Interrupt while the n-th recording of the run is written."""
    add, calls = ShardWriter.add, 0

    def patched(writer: ShardWriter, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == n:
            interrupt()
        add(writer, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ShardWriter, "add", patched)
        yield
