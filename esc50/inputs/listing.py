"""A list of recordings that may be millions long: their names packed, each recording once, in the order given."""

# Paths are strings here, as there may be millions of them:
# ruff: noqa: PTH118

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from ..audio import BY_FFMPEG
from .naming import DIGEST, MOST_FOLDERS, RealPaths, absolute, digest, escaped

RECORDING, UNUSABLE, MISSING = range(3)  # kinds of entries: the last two are only named in a report
LINKED = 4  # flag in an entry's kind: a link led to it


def shown(counts: Mapping[str, int]) -> str:
    """Return counts of what was left out as text, the largest first."""
    unread = sorted(set(counts) & set(BY_FFMPEG))
    hint = f" ({', '.join(unread)}: read where ffmpeg is installed)" if unread else ""
    return f"{_listed(counts)}{hint}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {what}" for what, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


class Entry(NamedTuple):
    """A recording in a listing."""

    path: Path
    name: str  # path below the given folder, or as it stands in the given list
    also: tuple[str, ...] = ()  # absolute paths of other links to the same file


def split_root(path: str) -> tuple[str, str]:
    """Split a path that the user gave by itself into the folder where its name begins, and that name."""
    return os.path.split(path) if path.startswith("/") or "/../" in f"/{path}" else ("", path)


def name_of(path: Path | str) -> str:
    """Return the name of a recording whose path the user gave by itself."""
    return os.path.normpath(split_root(os.fspath(path))[1])


class Names:
    """Paths as a tree: each name is stored once, with the number of the folder that it is in."""

    def __init__(self) -> None:
        self._above, self._ends, self._text = array("i"), array("q", [0]), bytearray()

    def add(self, name: str, above: int = -1) -> int:
        """Add a name in the folder with the number `above` (-1: none); returns the name's number."""
        self._above.append(above)
        self._text += os.fsencode(name)
        self._ends.append(len(self._text))
        return len(self._above) - 1

    def parts(self, number: int) -> list[str]:
        """Return the names from the outermost folder on."""
        parts = []
        while number >= 0:
            parts.append(os.fsdecode(bytes(self._text[self._ends[number] : self._ends[number + 1]])))
            number = self._above[number]
        return parts[::-1]


class Listing(Sequence[Path]):
    """What the user gave, in order: recordings, and inputs that are none. It reads as a list of their paths.

    Attributes
    ----------
    digests : ndarray [n], S16
        `naming.digest` of each entry's real path.
    left_out : Counter
        Number of files in searched folders that were not taken, by extension or other reason.
    twice : list of (str, str)
        Pairs of paths that lead to the same file or folder; the first `MOST_NAMED` of `n_twice`.
    """

    MOST_NAMED = 10_000

    def __init__(self, names: Names, nodes: NDArray[np.int32], kinds: NDArray[np.uint8], digests: NDArray) -> None:
        self._names, self._nodes, self.kinds, self.digests = names, nodes, kinds, digests
        self._also: dict[int, list[int]] = {}  # node of an entry -> nodes of other paths to its file
        self.left_out: Counter[str] = Counter()
        self.twice: list[tuple[str, str]] = []
        self.n_twice = 0
        self.missing = ""  # error message for the first input that does not exist

    @classmethod
    def of(cls, paths: Iterable[Path | str]) -> Listing:
        """Make a listing of paths; a listing is returned as it is."""
        if isinstance(paths, Listing):
            return paths
        builder = Builder()
        for path in paths:
            builder.add_path(os.fspath(path))
        return builder.listing()

    def __len__(self) -> int:
        return len(self._nodes)

    @overload
    def __getitem__(self, number: int) -> Path: ...
    @overload
    def __getitem__(self, number: slice) -> Listing: ...
    def __getitem__(self, number: int | slice) -> Path | Listing:
        if isinstance(number, slice):
            part = self.take(np.arange(len(self))[number])
            part.left_out, part.missing = self.left_out, self.missing
            part.twice, part.n_twice = self.twice, self.n_twice
            return part
        return Path(self.text(range(len(self))[number]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def text(self, number: int) -> str:
        """Return an entry's path as it was given or found."""
        return os.path.join(*self._names.parts(self._nodes[number]))

    def absolute(self, number: int) -> str:
        """Return an entry's absolute path."""
        return absolute(self.text(number))

    def entry(self, number: int) -> Entry:
        """Return an entry: its path, its name, and other paths to the same file."""
        also = self._also.get(int(self._nodes[number]), ())
        others = [escaped(absolute(os.path.join(*self._names.parts(other)))) for other in also]
        return Entry(self[number], self.name(number), tuple(others))

    def name(self, number: int) -> str:
        """Return an entry's path below the given folder, or as it stands in the given list."""
        return os.path.normpath(os.path.join(*self._names.parts(self._nodes[number])[1:]))

    def entries(self) -> Iterator[Entry]:
        """Yield the entries."""
        return map(self.entry, range(len(self)))

    @property
    def linked(self) -> NDArray[np.bool_]:
        """Which entries have a path besides their real one."""
        return (self.kinds & LINKED > 0) | np.isin(self._nodes, list(self._also))

    def take(self, numbers: NDArray) -> Listing:
        """Return the entries at these positions, without the notes on what was left out."""
        taken = Listing(self._names, self._nodes[numbers], self.kinds[numbers], self.digests[numbers])
        taken._also = self._also
        return taken

    def with_paths(self, paths: Iterable[tuple[str, str]]) -> Listing:
        """Append the paths that are not listed yet; each is given as a folder and a name in it."""
        builder = Builder(names=self._names)
        for root, name in paths:
            builder.add_path(name, root)
        more = builder.listing()
        more = more.where(~np.isin(more.digests, self.digests))
        if not len(more):
            return self
        nodes, kinds = np.concatenate([self._nodes, more._nodes]), np.concatenate([self.kinds, more.kinds])
        joined = Listing(self._names, nodes, kinds, np.concatenate([self.digests, more.digests]))
        joined._also = self._also | more._also
        return joined

    def of_kind(self, kind: int) -> Listing:
        """Return the entries of a kind."""
        return self.where(self.kinds & ~np.uint8(LINKED) == kind)

    def where(self, wanted: NDArray[np.bool_]) -> Listing:
        """Return the entries at which `wanted` is true."""
        return self if wanted.all() else self.take(np.flatnonzero(wanted))


@dataclass
class Builder:
    """A `Listing` as it grows."""

    names: Names = field(default_factory=Names)
    nodes: array = field(default_factory=lambda: array("i"))
    kinds: bytearray = field(default_factory=bytearray)
    digests: bytearray = field(default_factory=bytearray)
    left_out: Counter[str] = field(default_factory=Counter)
    missing: str = ""
    twice: list[tuple[str, str]] = field(default_factory=list)
    n_twice: int = 0
    real: RealPaths = field(default_factory=RealPaths)
    _folders: dict[tuple[str, int], int] = field(default_factory=dict)

    def add(self, node: int, real: str, *, kind: int = RECORDING, linked: bool = False) -> None:
        """Add an entry, by the number of its name and its real path."""
        self.nodes.append(node)
        self.kinds.append(kind | (LINKED if linked else 0))
        self.digests += digest(escaped(real))

    def add_path(self, path: str, root: str | None = None, kind: int = RECORDING) -> None:
        """Add a path that the user gave by itself, or one from a list whose paths are relative to `root`."""
        root, name = split_root(path) if root is None else (root, path)
        folder, last = os.path.split(name)
        above = self._folder(root, -1)
        node = self.names.add(last, self._folder(folder, above) if folder else above)
        full = os.path.join(root, name)
        real = self.real(full)
        self.add(node, real, kind=kind, linked=real != absolute(full))

    def _folder(self, name: str, above: int) -> int:
        if (name, above) not in self._folders:
            if len(self._folders) >= MOST_FOLDERS:
                self._folders.clear()
            self._folders[name, above] = self.names.add(name, above)
        return self._folders[name, above]

    def path(self, node: int) -> str:
        """Return a path by the number of its name."""
        return os.path.join(*self.names.parts(node))

    def same(self, node: int, first: int) -> bool:
        """Note that two paths, by number, lead to one file or folder; returns False when they are the same path."""
        path, before = absolute(self.path(node)), absolute(self.path(first))
        if path != before:
            self.n_twice += 1
            if self.n_twice <= Listing.MOST_NAMED:
                self.twice.append((path, before))
        return path != before

    def listing(self) -> Listing:
        """Return the entries; each file once, at its first path."""
        nodes, kinds = np.frombuffer(self.nodes, np.int32), np.frombuffer(self.kinds, np.uint8)
        digests = np.frombuffer(self.digests, DIGEST)
        _, first, group = np.unique(digests, return_index=True, return_inverse=True)
        first_of = first[group]
        kept = first_of == np.arange(len(nodes))
        listing = Listing(self.names, nodes, kinds, digests).where(kept)
        for number in np.flatnonzero(~kept):
            node, other = int(nodes[first_of[number]]), int(nodes[number])
            if self.same(other, node):
                listing._also.setdefault(node, []).append(other)
        listing.left_out, listing.missing = self.left_out, self.missing
        listing.twice, listing.n_twice = self.twice, self.n_twice
        return listing
