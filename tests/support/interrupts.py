"""Ctrl-C, or a device without memory, at a chosen place of an extraction."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cumel.esc50.extraction import short
from cumel.esc50.extraction.job import Job, Result
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


def out_of_memory_at(path: Path, message: str, patch: pytest.MonkeyPatch) -> None:
    """Let the device have no memory for one recording."""
    of_samples = short.of_samples

    def limited(result: Result, y: np.ndarray, job: Job) -> Result:
        if result.path == path:
            raise torch.OutOfMemoryError(message)
        return of_samples(result, y, job)

    patch.setattr(short, "of_samples", limited)
