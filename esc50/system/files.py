"""Writing files so that an interrupted or failed write leaves what was there before."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from numpy.typing import NDArray

from ...kernels import CumelError

WINDOWS = os.name == "nt"
IOV_MAX = 1024  # most buffers of one call; see writev(2)
NAME_MAX = 255  # most bytes of a file's name, on nearly every disk
REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.ENAMETOOLONG: f"a name may have {NAME_MAX} bytes, a path 4095: choose a shorter one",
}


def cache_folder() -> Path:
    """Return the user's cache folder, by the XDG Base Directory Specification, which ignores relative paths."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return named if named.is_absolute() else Path.home() / ".cache"


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
        with suppress(OSError):  # the part is gone already, or never was
            part.unlink()


def part_of(path: Path) -> Path:
    """Return the temporary name under which `path` is written."""
    name = f".{path.name}.part"
    if len(os.fsencode(name)) > NAME_MAX:
        name = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()}.part"
    return path.with_name(name)


def commit(part: Path, path: Path) -> None:
    """Put a finished file in its place: its content is on disk before its name is, and its name before this returns."""
    synced(part)
    part.replace(path)
    synced(path.parent)


def synced(path: Path) -> None:
    """Return when a file, or the names in a folder, are on disk."""
    if WINDOWS and path.is_dir():  # a folder has no handle there, and a journal keeps its names
        return
    handle = os.open(path, os.O_RDWR if WINDOWS else os.O_RDONLY)  # Windows flushes a handle that may write
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def unwritable(path: Path, error: OSError) -> CumelError:
    """Say why a file cannot be written, and what to do."""
    remedy = REMEDIES.get(error.errno or 0, "choose another place")
    reason = os.strerror(error.errno) if error.errno else error  # a library's own words may be longer
    return CumelError(f"{path}: cannot be written ({reason}); {remedy}")


def write_all(handle: int, arrays: Iterable[NDArray]) -> None:
    """Write arrays one after another, in as few calls as the system allows: between calls other threads take over."""
    writev = getattr(os, "writev", lambda handle, buffers: os.write(handle, buffers[0]))  # Windows has none
    views = [array.data.cast("B") for array in arrays if array.nbytes]
    for start in range(0, len(views), IOV_MAX):
        left = views[start : start + IOV_MAX]
        while left:
            n_bytes = writev(handle, left)  # a disk that fills up takes fewer, and the next call raises
            while left and n_bytes >= len(left[0]):
                n_bytes -= len(left.pop(0))
            if n_bytes:
                left[0] = left[0][n_bytes:]


class EarlyFlush:
    """Sends a growing file to the disk while it is written, so that its `commit` has little to wait for."""

    def __init__(self, every: int) -> None:
        self.every = every  # bytes
        self._pool = ThreadPoolExecutor(1, "cumel-flush")
        self._last: Future[None] | None = None
        self._sent = 0

    def grown(self, handle: int, n_bytes: int) -> None:
        """Say that an open file has `n_bytes` now; an `OSError` when an earlier part did not reach the disk."""
        if n_bytes - self._sent < self.every or (self._last is not None and not self._last.done()):
            return
        self.wait()
        sync = getattr(os, "fdatasync", os.fsync)  # Windows and macOS have the second alone
        self._sent, self._last = n_bytes, self._pool.submit(sync, handle)

    def wait(self) -> None:
        """Return when nothing is on its way, so that the file may be closed and the next one begin."""
        last, self._last, self._sent = self._last, None, 0
        if last is not None:
            last.result()

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown()
