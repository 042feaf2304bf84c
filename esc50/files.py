"""Writing files so that an interrupted or failed write leaves what was there before."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..kernels import CumelError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; what is written there takes its place, on disk, when the block ends well.

    Raises
    ------
    CumelError
        When it cannot be written: a full disk, a missing permission. Nothing is left behind.
    """
    part = part_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        commit(part, path)
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        with suppress(OSError):  # already gone, or never there
            part.unlink()


def part_of(path: Path) -> Path:
    """Return the temporary name under which `path` is written."""
    return path.with_name(f".{path.name}.part")


def commit(part: Path, path: Path) -> None:
    """Put a finished file in its place: its content is on disk before its name is, and its name before this returns."""
    for name in (part, path.parent):
        handle = os.open(name, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        if name is part:
            part.replace(path)


def unwritable(path: Path, error: OSError) -> CumelError:
    """Say why a file cannot be written, and what to do."""
    remedy = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "choose another place"
    return CumelError(f"{path}: cannot be written ({error.strerror or error}); {remedy}")
