"""A folder searched for recordings, depth first, by name; what is left out is counted."""

# Paths are strings here, as there may be millions of them:
# ruff: noqa: PTH116, PTH118

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from ..audio import EXTENSIONS
from .listing import UNUSABLE, Builder
from .naming import absolute

SYSTEMS = frozenset(  # files and folders of operating systems, in lower case
    {"__macosx", "$recycle.bin", "system volume information", "lost+found", "@eadir", "#recycle", "thumbs.db"}
    | {"desktop.ini"}
)
HIDDEN, SYSTEM, BARE, ODD = (
    "hidden",
    "a system's own",
    "without extension",
    "other",
)  # reasons in a report, beside extensions
CONTAINERS = re.compile(
    r"audio|wavs?|flac|clips?|sounds?|recordings?|data|meta(data)?|docs?|fold_?\d+", re.IGNORECASE
)  # never a class
LONGEST_EXTENSION = 10  # characters; a longer suffix is taken for a part of the name


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
    """Return the reason for leaving a name out, or None for a name that is taken."""
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

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self._entered: dict[int, int] = {}  # device and inode -> number of the folder's name

    def __call__(self, top: str) -> bool:
        """Take the recordings in a folder; False when it has none, and was not searched before.

        Raises
        ------
        OSError
            When the folder cannot be searched. A subfolder that cannot be searched becomes an entry instead.
        """
        builder = self.builder
        before = len(builder.nodes)
        first = self._enter(top, os.path.realpath(top), builder.names.add(top))
        pending = [first] if first else []
        while pending:
            folder = pending[-1]
            name = next(folder.names, None)
            if name is None:
                pending.pop()
                continue
            path, node = os.path.join(folder.path, name), builder.names.add(name, folder.node)
            real = os.path.realpath(path) if name in folder.links else os.path.join(folder.real, name)
            linked = name in folder.links or absolute(folder.path) != folder.real
            if name not in folder.folders:
                builder.add(node, real, linked=linked)
                continue
            try:
                subfolder = self._enter(path, real, node)
            except OSError:
                builder.add(node, real, kind=UNUSABLE)
                continue
            if subfolder is not None and subfolder.is_empty and is_audio(name):  # reported as a bad recording
                builder.add(node, real, linked=linked)
            elif subfolder is not None:
                pending.append(subfolder)
        return first is None or len(builder.nodes) > before

    def _enter(self, path: str, real: str, node: int) -> _Folder | None:
        """Look at what is in a folder; None when it was entered before."""
        status = os.stat(path)
        number = status.st_dev << 64 | status.st_ino
        if number in self._entered:
            self.builder.same(node, self._entered[number])
            return None
        self._entered[number] = node
        names, folders, links = [], set(), set()
        with os.scandir(path) as entries:
            for entry in entries:
                is_folder = _is_folder(entry)
                why = left_out(entry.name, is_folder)
                if why:
                    self.builder.left_out[why] += 1
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
