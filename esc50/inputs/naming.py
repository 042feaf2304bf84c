"""Keys of recordings: real paths, escaped so that names of any bytes are text, and hashed so that millions fit."""

# Paths are strings here, as there may be millions of them:
# ruff: noqa: PTH109, PTH114, PTH118

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LIKE_AN_ESCAPE = re.compile(r"\\(?=x[0-9a-f]{2})")
ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")
DIGEST = np.dtype("S16")
MOST_FOLDERS = 4096  # folders whose real path is remembered


def escaped(path: str) -> str:
    r"""Return a path as text, from which `unescaped` gets it back: a byte that is not UTF-8 becomes ``\xHH``.

    A backslash in front of ``xHH`` becomes ``\x5c``.
    """
    if path.isascii() and "\\" not in path:
        return path
    return os.fsencode(LIKE_AN_ESCAPE.sub(r"\\x5c", path)).decode("utf-8", "backslashreplace")


def unescaped(text: str) -> str:
    """Return the path that `escaped` made the text of."""
    if "\\" not in text:
        return text
    return os.fsdecode(ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), text.encode()))


def absolute(path: str) -> str:
    """Return an absolute path without ``.``, ``..`` and double slashes; links stay.

    Only links in front of a ``..`` are resolved: the folder above a link is not the folder above its target.
    """
    path = os.path.join(os.getcwd(), path)
    head, up, rest = f"{path}/".rpartition("/../")
    if up:
        path = os.path.join(os.path.realpath(head + up), rest)
    return "/" + os.path.normpath(path).lstrip("/")


class RealPaths:
    """`os.path.realpath` of many files: a folder's is looked up once, then only whether the file itself is a link."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def __call__(self, path: Path | str, is_link: bool | None = None) -> str:
        """Return the real path of a file; a caller that knows `is_link` saves a system call."""
        text = os.fspath(path)
        folder, name = os.path.split(text)
        is_link = os.path.islink(text) if is_link is None else is_link
        if is_link or name in ("", os.curdir, os.pardir):
            return os.path.realpath(text)
        if folder not in self._folders:
            if len(self._folders) >= MOST_FOLDERS:
                self._folders.clear()
            self._folders[folder] = os.path.realpath(folder)
        return os.path.join(self._folders[folder], name)


def key_of(path: Path | str) -> str:
    """Return the key of a recording: its real path, `escaped`."""
    return escaped(os.path.realpath(path))


class Keys:
    """`key_of` for many recordings, with a cache of folders."""

    def __init__(self) -> None:
        self._real = RealPaths()

    def __call__(self, path: Path | str, is_link: bool | None = None) -> str:
        """Return `key_of` of a path; a caller that knows `is_link` saves a system call."""
        return escaped(self._real(path, is_link))


def digest(key: str) -> bytes:
    """Return a 16-byte hash of a key, so that millions fit into an array; collisions do not occur in practice."""
    return hashlib.blake2b(key.encode(), digest_size=DIGEST.itemsize).digest()


def digests_of(keys: Iterable[str]) -> NDArray[np.bytes_]:
    """Return the `digest` of each key."""
    return np.frombuffer(b"".join(map(digest, keys)), DIGEST)


class Digests:
    """Finds positions in an array of digests.

    Parameters
    ----------
    digests : ndarray [n], S16
        A digest may occur several times; `last` finds its last position.
    """

    def __init__(self, digests: NDArray[np.bytes_]) -> None:
        self._order = np.argsort(digests, kind="stable")
        self._sorted = digests[self._order]

    def last(self, wanted: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """Return the last position of each wanted digest, -1 for one that does not occur."""
        at = np.searchsorted(self._sorted, wanted, "right") - 1
        occurs = at >= 0
        occurs[occurs] = self._sorted[at[occurs]] == wanted[occurs]
        return np.where(occurs, self._order[at] if len(self._order) else -1, -1)

    def all(self, wanted: str) -> NDArray[np.int64]:
        """Return every position of a key, first to last."""
        ends = [np.searchsorted(self._sorted, np.array(digest(wanted), DIGEST), side) for side in ("left", "right")]
        return self._order[ends[0] : ends[1]]
