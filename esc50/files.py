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
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space" if full else "choose another place"
        raise CumelError(f"{path}: cannot be written ({error.strerror or error}); {remedy}") from None
    finally:
        with suppress(OSError):  # already gone, or never there
            part.unlink()
