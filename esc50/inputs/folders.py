"""A folder searched for recordings, depth first, by name; what is left out is counted."""

# Strings, for there may be millions of names:
# ruff: noqa: PTH116, PTH118

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from ..audio import EXTENSIONS
from .listing import UNUSABLE, Builder
from .naming import absolute

SYSTEMS = frozenset(  # names that systems give, in any case
    {"__macosx", "$recycle.bin", "system volume information", "lost+found", "@eadir", "#recycle", "thumbs.db"}
    | {"desktop.ini"}
)
HIDDEN, SYSTEM, BARE, ODD = "hidden", "a system's own", "without extension", "other"  # what else is left out
LONGEST_EXTENSION = 10  # of letters; longer ones are rather parts of names


class _Folder(NamedTuple):
    """A folder whose content is being taken."""

    path: str
    real: str
    node: int
    names: Iterator[str]
    folders: set[str]
    links: set[str]
    is_empty: bool


def is_audio(name: str) -> bool:
    """Whether a file is taken for a recording."""
    return name.lower().endswith(EXTENSIONS)


def left_out(name: str, is_folder: bool = False) -> str | None:
    """Return as what a name is left out; None of what is taken."""
    if name.startswith("."):
        return HIDDEN
    if name.lower() in SYSTEMS:
        return SYSTEM
    if is_folder or is_audio(name):
        return None
    extension = os.path.splitext(name)[1].lower()  # noqa: PTH122
    if not extension:
        return BARE
    return extension if extension[1:].isalnum() and len(extension) <= LONGEST_EXTENSION else ODD


class Search:
    """Searches folders; none is entered twice, however many links lead to it."""

    def __init__(self, found: Builder) -> None:
        self.found = found
        self._entered: dict[int, int] = {}  # device and inode to the number of the name

    def __call__(self, top: str) -> bool:
        """Take the recordings in a folder; False when there is nothing to be taken.

        Raises
        ------
        OSError
            When it cannot be searched; a folder in it that cannot be becomes an entry.
        """
        found = self.found
        before = len(found.nodes)
        first = self._enter(top, os.path.realpath(top), found.names.add(top))
        pending = [first] if first else []
        while pending:
            here = pending[-1]
            name = next(here.names, None)
            if name is None:
                pending.pop()
                continue
            path, node = os.path.join(here.path, name), found.names.add(name, here.node)
            real = os.path.realpath(path) if name in here.links else os.path.join(here.real, name)
            linked = name in here.links or absolute(here.path) != here.real
            if name not in here.folders:
                found.add(node, real, linked=linked)
                continue
            try:
                inside = self._enter(path, real, node)
            except OSError:
                found.add(node, real, kind=UNUSABLE)
                continue
            if inside is not None and inside.is_empty and is_audio(name):  # a folder in a recording's place
                found.add(node, real, linked=linked)
            elif inside is not None:
                pending.append(inside)
        return first is None or len(found.nodes) > before

    def _enter(self, path: str, real: str, node: int) -> _Folder | None:
        """Look at what is in a folder; None when it was entered before."""
        status = os.stat(path)
        number = status.st_dev << 64 | status.st_ino
        if number in self._entered:
            self.found.same(node, self._entered[number])
            return None
        self._entered[number] = node
        names, folders, links = [], set(), set()
        with os.scandir(path) as entries:
            for entry in entries:
                is_folder = _is_folder(entry)
                why = left_out(entry.name, is_folder)
                if why:
                    self.found.left_out[why] += 1
                    continue
                names.append(entry.name)
                if is_folder:
                    folders.add(entry.name)
                if entry.is_symlink():
                    links.add(entry.name)
        return _Folder(path, real, node, iter(sorted(names)), folders, links, not names)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
