"""A list of recordings that may be millions long: their names packed, each recording once, in the order given."""

# Strings, for there may be millions of names:
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

from .naming import DIGEST, MOST_FOLDERS, RealPaths, absolute, digest, escaped

RECORDING, UNUSABLE, MISSING = range(3)  # kinds of entries: the last two are only named in a report
LINKED = 4  # is added to the kind of what was reached by a link


def shown(counts: Mapping[str, int]) -> str:
    """Say what was left out."""
    return ", ".join(f"{n} {what}" for what, n in sorted(counts.items(), key=lambda one: (-one[1], one[0])))


class Entry(NamedTuple):
    """A recording as it was found."""

    path: Path
    name: str  # below the folder, or in the list, that was given
    also: tuple[str, ...] = ()  # absolute paths of other links to the same file


def split_root(path: str) -> tuple[str, str]:
    """Cut a path that was given by itself into the folder that it was given from, and its name there."""
    return os.path.split(path) if path.startswith("/") or "/../" in f"/{path}" else ("", path)


def name_of(path: Path | str) -> str:
    """Return the name of a recording that was given by itself."""
    return os.path.normpath(split_root(os.fspath(path))[1])


class Names:
    """Paths as a tree: each name is stored once, with the number of the folder that it is in."""

    def __init__(self) -> None:
        self._above, self._ends, self._text = array("i"), array("q", [0]), bytearray()

    def add(self, name: str, above: int = -1) -> int:
        """Take a name, and the number of the folder that it is in; returns its own number."""
        self._above.append(above)
        self._text += os.fsencode(name)
        self._ends.append(len(self._text))
        return len(self._above) - 1

    def parts(self, number: int) -> list[str]:
        """Return the names from the outermost folder on."""
        found = []
        while number >= 0:
            found.append(os.fsdecode(bytes(self._text[self._ends[number] : self._ends[number + 1]])))
            number = self._above[number]
        return found[::-1]


class Listing(Sequence[Path]):
    """The recordings that were given, and what was given and is none, in order; a list of their paths.

    Attributes
    ----------
    digests : ndarray [n], S16
        `naming.digest` of each one's real path.
    left_out : Counter
        Files in searched folders that are no recordings, by extension, and what is hidden or a system's own.
    twice : list of (str, str)
        Paths that lead to a recording, or a folder, that another path of the list leads to, with that path; the first
        `MOST_NAMED` of `n_twice`.
    """

    MOST_NAMED = 10_000

    def __init__(self, names: Names, nodes: NDArray[np.int32], kinds: NDArray[np.uint8], digests: NDArray) -> None:
        self._names, self._nodes, self.kinds, self.digests = names, nodes, kinds, digests
        self._also: dict[int, list[int]] = {}  # by node
        self.left_out: Counter[str] = Counter()
        self.twice: list[tuple[str, str]] = []
        self.n_twice = 0
        self.missing = ""  # what is wrong with the first input that is not there

    @classmethod
    def of(cls, paths: Iterable[Path | str]) -> Listing:
        """Return a list of paths as one of these; one of these as it is."""
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
            share = self.take(np.arange(len(self))[number])
            share.left_out, share.missing = self.left_out, self.missing
            share.twice, share.n_twice = self.twice, self.n_twice
            return share
        return Path(self.text(range(len(self))[number]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def text(self, number: int) -> str:
        """Return a path as it was found."""
        return os.path.join(*self._names.parts(self._nodes[number]))

    def absolute(self, number: int) -> str:
        """Return a path from the root on."""
        return absolute(self.text(number))

    def entry(self, number: int) -> Entry:
        """Return an entry with its name, and its other names."""
        also = self._also.get(int(self._nodes[number]), ())
        others = [escaped(absolute(os.path.join(*self._names.parts(other)))) for other in also]
        return Entry(self[number], self.name(number), tuple(others))

    def name(self, number: int) -> str:
        """Return the path of an entry below the folder, or in the list, that was given."""
        return os.path.normpath(os.path.join(*self._names.parts(self._nodes[number])[1:]))

    def entries(self) -> Iterator[Entry]:
        """Yield the entries."""
        return map(self.entry, range(len(self)))

    @property
    def linked(self) -> NDArray[np.bool_]:
        """Which entries have another name than their real path."""
        return (self.kinds & LINKED > 0) | np.isin(self._nodes, list(self._also))

    def take(self, numbers: NDArray) -> Listing:
        """Return some of the entries; they do not tell what was left out."""
        taken = Listing(self._names, self._nodes[numbers], self.kinds[numbers], self.digests[numbers])
        taken._also = self._also
        return taken

    def with_paths(self, paths: Iterable[tuple[str, str]]) -> Listing:
        """Return the entries, and behind them those that are not there yet, each given as a folder and a name in it."""
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
        """Return the entries that are wanted."""
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
        """Take an entry: the number of its name, and its real path."""
        self.nodes.append(node)
        self.kinds.append(kind | (LINKED if linked else 0))
        self.digests += digest(escaped(real))

    def add_path(self, path: str, root: str | None = None, kind: int = RECORDING) -> None:
        """Take a path that was given by itself, or stands in a list whose paths begin at `root`."""
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
        """Take note of a path that leads to what another one leads to; False when it is that very path."""
        path, before = absolute(self.path(node)), absolute(self.path(first))
        if path != before:
            self.n_twice += 1
            if self.n_twice <= Listing.MOST_NAMED:
                self.twice.append((path, before))
        return path != before

    def listing(self) -> Listing:
        """Return what was taken, each recording once, where it came first."""
        nodes, kinds = np.frombuffer(self.nodes, np.int32), np.frombuffer(self.kinds, np.uint8)
        digests = np.frombuffer(self.digests, DIGEST)
        _, first, group = np.unique(digests, return_index=True, return_inverse=True)
        first_of = first[group]
        kept = first_of == np.arange(len(nodes))
        found = Listing(self.names, nodes, kinds, digests).where(kept)
        for number in np.flatnonzero(~kept):
            one, other = int(nodes[first_of[number]]), int(nodes[number])
            if self.same(other, one):
                found._also.setdefault(one, []).append(other)
        found.left_out, found.missing = self.left_out, self.missing
        found.twice, found.n_twice = self.twice, self.n_twice
        return found
