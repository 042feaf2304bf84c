"""The recordings that are asked for against the rows that are there: what is new, changed, elsewhere now, or gone.

A recording is its real path. A row whose place is empty, or is a link now, is recognised in a new recording by its
content: size and fingerprint. A path that leads elsewhere than it did is the same recording, changed.
"""

# Strings, for there may be millions of names:

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..listing import LINKED, Listing
from ..naming import Digests, Keys, digest, digests_of, escaped, unescaped
from ..store.places import BLOCK, SCHEMA, Places, keys_of
from ..store.rows import DROPPED, Tables, rows_at, with_places
from ..store.shards import SCHEMA as ROW
from .looks import fingerprint, look
from .moves import Gone

MOST_NAMED = 10_000  # rows that a report names
SCHEMA_OF_ROWS = pa.schema([ROW.field(name) for name in ("path", "real", "status", "size", "mtime_ns", "fingerprint")])

Numbers = NDArray[np.int64]


class Known:
    """The rows that there are, as arrays, for there may be millions: of each recording the last one."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        blocks = [_columns(SCHEMA_OF_ROWS.empty_table())]
        blocks += [_columns(table) for table in tables(SCHEMA_OF_ROWS.names)]
        all_of = {name: np.concatenate([block.pop(name) for block in blocks]) for name in list(blocks[0])}
        n = len(all_of["key"])
        _, last = np.unique(all_of["key"][::-1], return_index=True)
        self.numbers: Numbers = np.sort(n - 1 - last)  # of the rows, over all tables
        (self.key, self.path, self.failed, self.dropped, self.size, self.mtime_ns, self.printed, self.fingerprint) = (
            values[self.numbers] for values in all_of.values()
        )

    def __len__(self) -> int:
        return len(self.numbers)

    def rows(self, places: Numbers, columns: list[str]) -> Any:
        """Yield (place, row) of ascending places in these arrays."""
        for at, table in rows_at(self.tables, self.numbers[places], columns):
            for block in range(0, len(at), BLOCK):
                part = table.slice(block, BLOCK).to_pylist()
                yield from zip(places[at[block : block + BLOCK]].tolist(), part, strict=True)


def _columns(table: pa.Table) -> dict[str, NDArray]:
    keys = digests_of(keys_of(table).to_pylist())

    def values(column: pa.ChunkedArray) -> NDArray:
        return column.to_numpy()

    linked = len(table) > table["real"].null_count
    return {
        "key": keys,
        "path": digests_of(table["path"].to_pylist()) if linked else keys,
        "failed": values(pc.equal(table["status"], "error")),  # pyright: ignore[reportAttributeAccessIssue]
        "dropped": values(pc.equal(table["status"], DROPPED)),  # pyright: ignore[reportAttributeAccessIssue]
        "size": values(table["size"]),
        "mtime_ns": values(table["mtime_ns"]),
        "printed": values(table["fingerprint"].is_valid()),
        "fingerprint": values(table["fingerprint"].fill_null(0)),
    }


@dataclass
class Comparison:
    """What is to be done, and what is to be said."""

    new: Listing  # recordings that have no row
    again: Listing  # that have one, and are extracted again
    todo: Listing  # both, in the order that they were given
    kept: int  # recordings whose rows stay
    failed_before: int  # of the recordings asked for, how many keep a row that says so
    failures: list[dict[str, str]]  # those, path and error
    changed: int
    moved: int
    gone: int  # rows whose recordings are not there
    gone_names: list[str]
    places: pa.Table  # what the rows do not say


def compare(found: Listing, tables: Tables, *, retry_errors: bool, harmed: Iterable[str] = ()) -> Comparison:
    """Find out which recordings have rows; those whose keys are in `harmed` are extracted again in any case."""
    one = _Comparing(found, Known(tables))
    one.by_path()
    one.by_content()
    one.names()
    return one.result(retry_errors, digests_of(harmed))


@dataclass
class _Comparing:
    found: Listing
    known: Known
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
        rows, names, lasts = array("q"), bytearray(), bytearray()  # of all, so that millions fit
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

    def names(self) -> None:
        """Take note of other places and other names of rows."""
        found, known = self.found, self.known
        has = np.flatnonzero(self.row >= 0)
        odd = self.elsewhere[has] | found.linked[has] | (known.path[self.row[has]] != known.key[self.row[has]])
        odd = has[odd][np.argsort(self.row[has[odd]])]
        rows = known.rows(self.row[odd], ["path", "real", "name", "also", "error"])
        for i, (_, facts) in zip(map(int, odd), rows, strict=True):
            one, path = found.recording(i), escaped(found.absolute(i))
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
            known.tables = with_places(known.tables, Places(places))
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


def _named(path: Path, before: Path, error: str) -> str:
    """Return an error that names a path, so that it names another one."""
    _, named, reason = error.partition(f"{before.name}: ")
    return escaped(f"{path}: ") + reason if named else error


class _Changes:
    """Rows for `Places`, as they grow."""

    def __init__(self) -> None:
        self._tables: list[pa.Table] = [SCHEMA.empty_table()]
        self._rows: list[dict[str, Any]] = []

    def add(self, **change: Any) -> None:
        """Take a row."""
        self._rows.append(change)
        if len(self._rows) >= BLOCK:
            self._flush()

    def _flush(self) -> None:
        self._tables.append(pa.Table.from_pylist(self._rows, schema=SCHEMA))
        self._rows = []

    def table(self) -> pa.Table:
        """Return all rows."""
        self._flush()
        return pa.concat_tables(self._tables)
