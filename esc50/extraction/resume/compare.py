"""Comparison of the given recordings with a store's rows: which are new, changed, moved or gone.

The real path identifies a recording. A row whose path no longer exists, or is a link now, is matched with a new
recording by content: size and fingerprint. A path with another target than before is the same recording, changed.
"""

# Paths are strings here, as there may be millions of them:
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
    """What is to be extracted, and what is to be reported."""

    new: Listing  # recordings that have no row
    again: Listing  # recordings that have one, and are extracted again
    todo: Listing  # both, in the order that they were given
    kept: int  # recordings whose rows stay
    failed_before: int  # given recordings that keep the row of an earlier failure
    failures: list[dict[str, str]]  # path and error of these
    changed: int
    moved: int
    gone: int  # rows whose recordings do not exist any more
    gone_names: list[str]
    places: pa.Table  # changes for places.parquet


def compare(
    listing: Listing,
    tables: Tables,
    *,
    retry_errors: bool,
    harmed: Mapping[str, tuple[str, str]] = MappingProxyType({}),
) -> Comparison:
    """Find out which recordings have rows; those in `harmed` are extracted again in any case, wherever they are now.

    `harmed` has the keys of damaged recordings; its values are the given folder and the name in it.
    """
    rows = RowArrays(tables)
    give_back_memory()
    comparing = _Comparing(listing.with_paths(filter(_exists, harmed.values())), rows)
    comparing.by_path()
    comparing.by_content()
    comparing.add_gone(harmed)
    comparing.names()
    return comparing.result(retry_errors, digests_of(harmed))


@dataclass
class _Comparing:
    found: Listing
    known: RowArrays
    gone_names: list[str] = field(default_factory=list)
    n_moved: int = 0

    def __post_init__(self) -> None:
        found, known = self.found, self.known
        self.changes = _Changes()
        self.row: Numbers = Digests(known.key).last(found.digests)  # row of each recording, -1 without one
        self.changed = np.zeros(len(found), bool)
        self.elsewhere = np.zeros(len(found), bool)  # recordings whose row has another path
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
        """Match rows with paths whose target changed."""
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
        """Find the rows whose recordings are gone, and match them with new recordings by content."""
        rest, key_of = self.rest, Keys()
        rest = rest[self.known.size[rest] >= 0]  # size -1: the file did not exist then either
        rows, names, lasts = array("q"), bytearray(), bytearray()  # packed, as there may be millions
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
        """Add damaged recordings that no longer exist: extracting them again makes their rows failures."""
        found, keys = self.found, list(harmed)
        gone = np.flatnonzero(np.isin(digests_of(keys), self.known.key[self.rest]))
        self.found = found.with_paths(harmed[keys[i]] for i in gone)
        more = Digests(self.known.key).last(self.found.digests[len(found) :])
        self.row = np.concatenate([self.row, more])
        self.changed = np.concatenate([self.changed, np.zeros(len(more), bool)])
        self.elsewhere = np.concatenate([self.elsewhere, np.zeros(len(more), bool)])

    def names(self) -> None:
        """Collect the rows' new paths, and other paths to their files."""
        found, known = self.found, self.known
        has = np.flatnonzero(self.row >= 0)
        odd = self.elsewhere[has] | found.linked[has] | (known.path[self.row[has]] != known.key[self.row[has]])
        odd = has[odd][np.argsort(self.row[has[odd]])]
        rows = known.rows(self.row[odd], ["path", "real", "name", "also", "error"])
        for i, (_, facts) in zip(map(int, odd), rows, strict=True):
            entry, path = found.entry(i), escaped(found.absolute(i))
            key = facts["real"] or facts["path"]
            paths = [path, *entry.also]
            if self.elsewhere[i]:
                real = Keys()(found.text(i))
                size, mtime_ns, _ = look(entry.path)
                change: dict[str, Any] = {} if self.changed[i] else {"size": size, "mtime_ns": mtime_ns}
                if facts["error"] is not None:
                    change["error"] = _renamed(entry.path, Path(facts["path"]), facts["error"])
                change |= {"path": path, "name": escaped(entry.name), "real": None if real == path else real}
                self.changes.add(key=key, also=list(entry.also), **change)
                continue
            before, row_path = list(facts["also"] or ()), facts["path"]
            moves = row_path != path and Keys()(unescaped(row_path)) != key
            row_path = path if moves else row_path
            also = [
                other
                for other in dict.fromkeys([*before, *paths])
                if other != row_path
                and (other in paths or not os.path.lexists(unescaped(other)) or Keys()(unescaped(other)) == key)
            ]
            if moves:
                real = None if key == path else key
                self.changes.add(key=key, also=also, path=path, name=escaped(entry.name), real=real)
            elif also != before:
                self.changes.add(key=key, also=also)

    def result(self, retry_errors: bool, harmed: NDArray) -> Comparison:
        """Return the comparison."""
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


def _exists(place: tuple[str, str]) -> bool:
    return os.path.lexists(os.path.join(*place))


def _renamed(path: Path, before: Path, error: str) -> str:
    """Return an error's text with the path `before` in it replaced by `path`."""
    _, named, reason = error.partition(f"{before.name}: ")
    return escaped(f"{path}: ") + reason if named else error


class _Changes:
    """Collects rows for `Places`."""

    def __init__(self) -> None:
        self._tables: list[pa.Table] = [PLACES_SCHEMA.empty_table()]
        self._rows: list[dict[str, Any]] = []

    def add(self, **change: Any) -> None:
        """Add a row."""
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
