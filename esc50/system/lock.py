"""One process at a time: a lock on a folder, which ends with the process that holds it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ...kernels import CumelError
from .files import unwritable

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is made when it is not there.

    Raises
    ------
    CumelError
        When another process holds it, or the folder cannot be written.
    """
    path = folder / LOCK
    lock = FileLock(path, blocking=False, fallback_to_soft=False)  # a soft lock would outlive a process that is killed
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        holder = path.read_text(errors="replace")[:200] or "another process"
        raise CumelError(f"{folder}: {holder} is writing there; wait for it, or choose another --out") from None
    except OSError as error:
        raise unwritable(folder, error) from None
    try:
        with suppress(OSError):  # the text is only for the message above; a full disk must not matter
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        lock.release()
