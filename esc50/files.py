"""Writing files so that an interrupted or failed write leaves what was there before."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

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


class RealPaths:
    """`os.path.realpath` of many files: a folder's is looked up once, then only whether the file itself is a link."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def __call__(self, path: Path | str) -> str:
        """Return the real path of a file."""
        text = os.fspath(path)
        folder, name = os.path.split(text)
        if name in ("", os.curdir, os.pardir) or os.path.islink(text):  # noqa: PTH114
            return os.path.realpath(text)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.join(self._folders[folder], name)  # noqa: PTH118


class EarlyFlush:
    """Sends a growing file to the disk while it is written, so that its `commit` has little to wait for."""

    def __init__(self, every: int) -> None:
        self.every = every  # bytes
        self._pool = ThreadPoolExecutor(1, "cumel-flush")
        self._last: Future[None] | None = None
        self._sent = 0

    def grown(self, file: BinaryIO) -> None:
        """Say that more was written; an `OSError` when what was sent before did not arrive."""
        n_bytes = file.tell()
        if n_bytes - self._sent < self.every or (self._last is not None and not self._last.done()):
            return
        self.wait()
        file.flush()
        self._sent, self._last = n_bytes, self._pool.submit(os.fdatasync, file.fileno())

    def wait(self) -> None:
        """Return when nothing is on its way, so that the file may be closed and the next one begin."""
        last, self._last, self._sent = self._last, None, 0
        if last is not None:
            last.result()

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown()
