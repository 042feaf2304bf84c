"""Which file a path leads to, and how a name of any bytes becomes text, and text that name again."""

# Strings, for there may be millions of names:
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
MOST_FOLDERS = 4096  # whose real path is remembered


def escaped(path: str) -> str:
    r"""Return a path as text that has one meaning: a byte that is not UTF-8 as ``\xHH``.

    A backslash that would read as the beginning of that is written as ``\x5c``.
    """
    if path.isascii() and "\\" not in path:
        return path
    return os.fsencode(LIKE_AN_ESCAPE.sub(r"\\x5c", path)).decode("utf-8", "backslashreplace")


def unescaped(text: str) -> str:
    """Return the path that `escaped` made the text of."""
    if "\\" not in text:
        return text
    return os.fsdecode(ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), text.encode()))


def absolute(path: str) -> str:
    """Return a path from the root on, without ``.``, ``..`` and double slashes; links stay, but for one before ``..``.

    For the folder above a link is not the one above what it leads to.
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
        """Return the real path of a file; `is_link` spares the look when it is known."""
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
    """Return what tells a recording from others: its real path, `escaped`."""
    return escaped(os.path.realpath(path))


class Keys:
    """`key_of` for many recordings at one time."""

    def __init__(self) -> None:
        self._real = RealPaths()

    def __call__(self, path: Path | str, is_link: bool | None = None) -> str:
        """Return `key_of` of a path; `is_link` spares a look at the disk when it is known."""
        return escaped(self._real(path, is_link))


def digest(key: str) -> bytes:
    """Return 16 bytes that stand for a key: millions fit into an array, and no two keys share theirs."""
    return hashlib.blake2b(key.encode(), digest_size=DIGEST.itemsize).digest()


def digests_of(keys: Iterable[str]) -> NDArray[np.bytes_]:
    """Return the `digest` of each key."""
    return np.frombuffer(b"".join(map(digest, keys)), DIGEST)


class Digests:
    """Where each of many digests is to be found.

    Parameters
    ----------
    digests : ndarray [n], S16
        Each once, or several times: `last` finds the last of them.
    """

    def __init__(self, digests: NDArray[np.bytes_]) -> None:
        self._order = np.argsort(digests, kind="stable")
        self._sorted = digests[self._order]

    def last(self, wanted: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """Return the place of each wanted one, -1 where it is not there."""
        at = np.searchsorted(self._sorted, wanted, "right") - 1
        found = at >= 0
        found[found] = self._sorted[at[found]] == wanted[found]
        return np.where(found, self._order[at] if len(self._order) else -1, -1)

    def all(self, wanted: str) -> NDArray[np.int64]:
        """Return every place of a key, first to last."""
        ends = [np.searchsorted(self._sorted, np.array(digest(wanted), DIGEST), side) for side in ("left", "right")]
        return self._order[ends[0] : ends[1]]
