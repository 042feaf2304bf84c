"""One process at a time: a lock on a folder, which ends with the process that holds it."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise unwritable(folder, error) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise CumelError(f"{folder}: cannot be locked ({error.strerror}); choose a place on a disk") from None
            holder = os.pread(handle, 200, 0).decode(errors="replace") or "another process"
            raise CumelError(f"{folder}: {holder} is writing there; wait for it, or choose another --out") from None
        with suppress(OSError):  # only for the message above; a full disk must not matter
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        os.close(handle)
