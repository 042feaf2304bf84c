"""Size, time of change and fingerprint of a file, by which a recording is recognised."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

BLOCK = 4096  # bytes read at each place
BLOCKS = 8  # places; a file of at most so many blocks is read whole
# Opening a pipe does not wait, and no line end is changed: of the two, each system has the flag that it needs.
FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def look(path: Path | str) -> tuple[int, int, bool]:
    """Return a file's size, its time of change in ns, and whether it is a link; size -1 if it does not exist."""
    is_link = False
    try:
        status = os.lstat(path)
        is_link = stat.S_ISLNK(status.st_mode)
        status = os.stat(path) if is_link else status  # noqa: PTH116
    except OSError:
        return -1, 0, is_link
    return status.st_size, status.st_mtime_ns, is_link


def fingerprint(path: Path | str) -> int | None:
    """Return 64 bits of a hash of a file's beginning, its end and places between; None where it cannot be read."""
    try:
        handle = os.open(path, FLAGS)
    except OSError:
        return None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            return None
        last = max(0, status.st_size - BLOCK)
        places = sorted({last * i // (BLOCKS - 1) for i in range(BLOCKS)})
        if status.st_size <= BLOCK * BLOCKS:
            places = range(0, status.st_size, BLOCK)
        content = hashlib.sha1(usedforsecurity=False)
        for place in places:
            os.lseek(handle, place, os.SEEK_SET)
            content.update(os.read(handle, BLOCK))
        return int.from_bytes(content.digest()[:8], "little", signed=True)
    except OSError:
        return None
    finally:
        os.close(handle)
