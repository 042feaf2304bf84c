"""Matching of rows whose recordings are gone with new files: by content, and among equal contents by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...inputs import DIGEST, Digests, digest, escaped
from .fingerprint import fingerprint, look

MOST_TRIED = 64  # rows of equal content that are compared by name


class Gone:
    """Rows without a recording; each can be matched with one file.

    A row is matched by size and fingerprint; a row without a fingerprint, of an earlier version, by size, time of
    change and last part of the path.

    Parameters
    ----------
    rows : ndarray [n]
        Numbers of the rows.
    names, lasts : bytearray
        Digests of their names, and of the last parts of their paths, one after another.
    size, mtime_ns, fingerprint, printed : ndarray [n]
        Of their files; `printed` says which have a fingerprint.
    """

    def __init__(
        self,
        rows: NDArray[np.int64],
        names: bytearray,
        lasts: bytearray,
        size: NDArray[np.int64],
        mtime_ns: NDArray[np.int64],
        fingerprint: NDArray[np.int64],
        printed: NDArray[np.bool_],
    ) -> None:
        self.rows, self.free = rows, np.ones(len(rows), bool)
        self._size, self._sizes, self._printed = size, np.unique(size), printed
        self._lasts = np.frombuffer(lasts, DIGEST)
        self._by_name = Digests(np.frombuffer(names, DIGEST))
        self._look = np.where(printed, fingerprint, mtime_ns)  # a hash and a time practically never coincide
        self._order = np.argsort(self._look, kind="stable")
        self._sorted = self._look[self._order]
        self._begin: dict[int, int] = {}  # start of a group of equal values -> start of its free rows

    def take(self, path: str, name: str) -> int | None:
        """Return the row of which a file is the recording, and remove it here; None when no row fits."""
        size, mtime_ns, _ = look(path)
        if size < 0 or self._sizes[np.searchsorted(self._sizes[:-1], size)] != size:
            return None
        content, last = fingerprint(path), np.array(digest(escaped(Path(path).name)), DIGEST)
        for places in (self._by_name.all(name)[:MOST_TRIED], self._alike(content), self._alike(mtime_ns)):
            some = places[self.free[places] & (self._size[places] == size)]
            same_last = self._lasts[some] == last
            fits = np.where(
                self._printed[some],
                (self._look[some] == content) & (same_last | (size > 0)),
                (self._look[some] == mtime_ns) & same_last,
            )
            if fits.any():
                best = some[np.argmax(fits * (1 + same_last))]
                self.free[best] = False
                return int(self.rows[best])
        return None

    def _alike(self, value: int | None) -> NDArray[np.int64]:
        """Return the first free rows with this fingerprint or time."""
        if value is None:
            return np.empty(0, np.int64)
        begin, end = np.searchsorted(self._sorted, value), np.searchsorted(self._sorted, value, "right")
        first = self._begin.get(int(begin), int(begin))
        while first < end and not self.free[self._order[first]]:
            first += 1
        self._begin[int(begin)] = first
        return self._order[first : min(end, first + MOST_TRIED)]
