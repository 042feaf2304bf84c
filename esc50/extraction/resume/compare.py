"""The recordings that are asked for against the rows that are there: what is new, changed, elsewhere now, or gone.

A recording is its real path. A row whose place is empty, or is a link now, is recognised in a new recording by its
content: size and fingerprint. A path that leads elsewhere than it did is the same recording, changed.
"""

# Strings, for there may be millions of names:
# ruff: noqa: PTH118

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...inputs import LINKED, Digests, Keys, Listing, digest, digests_of, escaped, unescaped
from ...store.places import BLOCK, EVERY, PLACES_SCHEMA, Places
from ...store.rows import Tables, with_places
from ...system import give_back_memory
from .fingerprint import fingerprint, look
from .moves import Gone
from .row_arrays import Numbers, RowArrays

MOST_NAMED = 10_000  # rows that a report names


@dataclass
class Comparison:
    """What is to be done, and what is to be said."""

    new: Listing  # recordings that have no row
    again: Listing  # recordings that have one, and are extracted again
    todo: Listing  # both, in the order that they were given
    kept: int  # recordings whose rows stay
    failed_before: int  # how many of the recordings asked for keep a row that says so
    failures: list[dict[str, str]]  # those, path and error
    changed: int
    moved: int
    gone: int  # rows whose recordings are not there
    gone_names: list[str]
    places: pa.Table  # what the rows do not say


def compare(
    found: Listing, tables: Tables, *, retry_errors: bool, harmed: Mapping[str, tuple[str, str]] = MappingProxyType({})
) -> Comparison:
    """Find out which recordings have rows; those in `harmed` are extracted again in any case, wherever they are now.

    `harmed` says by their keys where they were: the folder from which they were given, and the name in it.
    """
    known = RowArrays(tables)
    give_back_memory()
    one = _Comparing(found.with_paths(filter(_is_there, harmed.values())), known)
    one.by_path()
    one.by_content()
    one.add_gone(harmed)
    one.names()
    return one.result(retry_errors, digests_of(harmed))


@dataclass
class _Comparing:
    found: Listing
    known: RowArrays
    gone_names: list[str] = field(default_factory=list)
    n_moved: int = 0

    def __post_init__(self) -> None:
        found, known = self.found, self.known
        self.changes = _Changes()
        self.row: Numbers = Digests(known.key).last(found.digests)  # of each recording
        self.changed = np.zeros(len(found), bool)
        self.elsewhere = np.zeros(len(found), bool)  # its row says another place
        self.gone = 0
        for i in map(int, self._kept()):
            size, mtime_ns, _ = look(found.text(i))
            self.changed[i] = size >= 0 and (size, mtime_ns) != self._facts(i)
            if size < 0 <= self._facts(i)[0]:
                self._say_gone(escaped(found.absolute(i)))

    def _kept(self) -> Numbers:
        """Return the recordings that have a row."""
        has = np.flatnonzero(self.row >= 0)
        return has[~self.known.dropped[self.row[has]]]

    def _facts(self, i: int) -> tuple[int, int]:
        row = self.row[i]
        return int(self.known.size[row]), int(self.known.mtime_ns[row])

    def _say_gone(self, path: str) -> None:
        self.gone += 1
        if len(self.gone_names) < MOST_NAMED:
            self.gone_names.append(path)

    @property
    def new(self) -> Numbers:
        """Recordings without a row, so far."""
        return np.flatnonzero(self.row < 0)

    @property
    def rest(self) -> Numbers:
        """Rows without a recording, so far."""
        taken = np.zeros(len(self.known), bool)
        taken[self.row[self.row >= 0]] = True
        return np.flatnonzero(~taken & ~self.known.dropped)

    def by_path(self) -> None:
        """Recognise paths that lead elsewhere than they did."""
        rest, new = self.rest, self.new
        if not len(rest) or not len(new):
            return
        linked = (self.found.kinds[new] & LINKED) > 0
        paths = self.found.digests[new].copy()
        paths[linked] = digests_of(escaped(self.found.absolute(i)) for i in new[linked].tolist())
        rows = Digests(self.known.path[rest]).last(paths)
        for i, row in zip(new[rows >= 0].tolist(), rest[rows[rows >= 0]].tolist(), strict=True):
            self.row[i], self.elsewhere[i] = row, True
            path = self.found.text(i)
            size = look(path)[0]
            self.changed[i] = size >= 0 and not self._same_content(row, size, fingerprint(path))

    def _same_content(self, row: int, size: int, content: int | None) -> bool:
        known = self.known
        return bool(known.size[row] == size and known.printed[row] and known.fingerprint[row] == content)

    def by_content(self) -> None:
        """Find the rows whose recordings are gone, and recognise those under new names."""
        rest, key_of = self.rest, Keys()
        rest = rest[self.known.size[rest] >= 0]  # the others never were there
        rows, names, lasts = array("q"), bytearray(), bytearray()  # each packed, so that millions fit
        for row, facts in self.known.rows(rest, ["path", "real", "name"]):
            key = facts["real"] or facts["path"]
            if key_of(unescaped(key)) != key or not os.path.lexists(unescaped(key)):
                rows.append(row)
                names += digest(facts["name"])
                lasts += digest(Path(facts["path"]).name)
        if not rows:
            return
        known, numbers = self.known, np.array(rows, np.int64)
        facts_of = (known.size[numbers], known.mtime_ns[numbers], known.fingerprint[numbers], known.printed[numbers])
        gone = Gone(numbers, names, lasts, *facts_of)
        for i in map(int, self.new):
            row = gone.take(self.found.text(i), escaped(self.found.name(i)))
            if row is not None:
                self.row[i], self.elsewhere[i] = row, True
                self.n_moved += 1
        left = numbers[gone.free]
        self.gone += len(left)
        for _, facts in known.rows(left[: MOST_NAMED - len(self.gone_names)], ["path", "real"]):
            self.gone_names.append(facts["path"])

    def add_gone(self, harmed: Mapping[str, tuple[str, str]]) -> None:
        """Ask for those that are nowhere to be found: their features are lost, and their rows must say so."""
        found, keys = self.found, list(harmed)
        gone = np.flatnonzero(np.isin(digests_of(keys), self.known.key[self.rest]))
        self.found = found.with_paths(harmed[keys[i]] for i in gone)
        more = Digests(self.known.key).last(self.found.digests[len(found) :])
        self.row = np.concatenate([self.row, more])
        self.changed = np.concatenate([self.changed, np.zeros(len(more), bool)])
        self.elsewhere = np.concatenate([self.elsewhere, np.zeros(len(more), bool)])

    def names(self) -> None:
        """Take note of other places and other names of rows."""
        found, known = self.found, self.known
        has = np.flatnonzero(self.row >= 0)
        odd = self.elsewhere[has] | found.linked[has] | (known.path[self.row[has]] != known.key[self.row[has]])
        odd = has[odd][np.argsort(self.row[has[odd]])]
        rows = known.rows(self.row[odd], ["path", "real", "name", "also", "error"])
        for i, (_, facts) in zip(map(int, odd), rows, strict=True):
            one, path = found.entry(i), escaped(found.absolute(i))
            key = facts["real"] or facts["path"]
            here = [path, *one.also]
            if self.elsewhere[i]:
                real = Keys()(found.text(i))
                size, mtime_ns, _ = look(one.path)
                change: dict[str, Any] = {} if self.changed[i] else {"size": size, "mtime_ns": mtime_ns}
                if facts["error"] is not None:
                    change["error"] = _named(one.path, Path(facts["path"]), facts["error"])
                change |= {"path": path, "name": escaped(one.name), "real": None if real == path else real}
                self.changes.add(key=key, also=list(one.also), **change)
                continue
            before, own = list(facts["also"] or ()), facts["path"]
            moves = own != path and Keys()(unescaped(own)) != key
            own = path if moves else own
            also = [
                other
                for other in dict.fromkeys([*before, *here])
                if other != own
                and (other in here or not os.path.lexists(unescaped(other)) or Keys()(unescaped(other)) == key)
            ]
            if moves:
                real = None if key == path else key
                self.changes.add(key=key, also=also, path=path, name=escaped(one.name), real=real)
            elif also != before:
                self.changes.add(key=key, also=also)

    def result(self, retry_errors: bool, harmed: NDArray) -> Comparison:
        """Put it together."""
        found, known, has = self.found, self.known, self.row >= 0
        failed, dropped = np.zeros(len(found), bool), np.zeros(len(found), bool)
        failed[has], dropped[has] = known.failed[self.row[has]], known.dropped[self.row[has]]
        again = self.changed | dropped | (failed & retry_errors)
        again[has] |= np.isin(known.key[self.row[has]], harmed)
        failing, places = np.sort(self.row[failed & ~again]), self.changes.table()
        if len(failing):
            tables = known.tables
            known.tables = with_places(lambda columns: ((EVERY, rows) for rows in tables(columns)), Places(places))
        facts = known.rows(failing[:MOST_NAMED], ["path", "real", "error"])
        return Comparison(
            new=found.where(~has),
            again=found.where(again),
            todo=found.where(~has | again),
            kept=int((~known.dropped).sum() - (again & ~dropped).sum()),
            failed_before=len(failing),
            failures=[{"path": row["path"], "error": row["error"]} for _, row in facts],
            changed=int(self.changed.sum()),
            moved=self.n_moved,
            gone=self.gone,
            gone_names=self.gone_names,
            places=places,
        )


def _is_there(place: tuple[str, str]) -> bool:
    return os.path.lexists(os.path.join(*place))


def _named(path: Path, before: Path, error: str) -> str:
    """Return an error that names a path, so that it names another one."""
    _, named, reason = error.partition(f"{before.name}: ")
    return escaped(f"{path}: ") + reason if named else error


class _Changes:
    """Rows for `Places`, as they grow."""

    def __init__(self) -> None:
        self._tables: list[pa.Table] = [PLACES_SCHEMA.empty_table()]
        self._rows: list[dict[str, Any]] = []

    def add(self, **change: Any) -> None:
        """Take a row."""
        self._rows.append(change)
        if len(self._rows) >= BLOCK:
            self._flush()

    def _flush(self) -> None:
        self._tables.append(pa.Table.from_pylist(self._rows, schema=PLACES_SCHEMA))
        self._rows = []

    def table(self) -> pa.Table:
        """Return all rows."""
        self._flush()
        return pa.concat_tables(self._tables)
