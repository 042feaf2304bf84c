"""A file for libsndfile that is put together: a header of ours, then the samples of a recording."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Splice(NamedTuple):
    """A header, and the bytes that follow it."""

    head: bytes  # replaces all bytes before `first`
    first: int  # byte at which the samples begin
    end: int
    container: int = 1  # bytes per sample in the file
    kept: slice = slice(None)  # bytes of each sample to read


class Spliced(io.RawIOBase):
    """A `Splice` as a file."""

    def __init__(self, path: Path, splice: Splice) -> None:
        self._file = path.open("rb")
        self._splice = splice
        self._kept = len(range(splice.container)[splice.kept])
        self._size = len(splice.head) + (splice.end - splice.first) // splice.container * self._kept
        self._at = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes; fewer at the end of the header, and at the end of the file."""
        size = max(0, min(size if size >= 0 else self._size, self._size - self._at))
        head = self._splice.head
        part = head[self._at : self._at + size] or self._samples(self._at - len(head), size)
        self._at += len(part)
        return part

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer."""
        n = 0
        while n < len(buffer) and (part := self.read(len(buffer) - n)):
            buffer[n : n + len(part)] = part
            n += len(part)
        return n

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def _samples(self, at: int, size: int) -> bytes:
        first, container, kept = self._splice.first, self._splice.container, self._kept
        self._file.seek(first + (at if kept == container else at // kept * container))
        if kept == container:
            return self._file.read(size)
        raw = self._file.read(-(-(at % kept + size) // kept) * container)
        groups = np.frombuffer(raw[: len(raw) // container * container], np.uint8).reshape(-1, container)
        return groups[:, self._splice.kept].tobytes()[at % kept :][:size]
