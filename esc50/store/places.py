"""Changes of path and name that recordings had since their rows were written: places.parquet."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...kernels import CumelError
from ..inputs import DIGEST, Digests, digests_of
from ..system import replacing
from .arrays import REPAIR
from .seals import read_sealed, write_sealed

PLACES = "places.parquet"
PLACES_SCHEMA = pa.schema(
    [
        ("key", pa.string()),  # key of the row to change; columns that are not null replace the row's
        ("path", pa.string()),
        ("name", pa.string()),
        ("real", pa.string()),  # replaced, even by null, wherever path is
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("also", pa.list_(pa.string())),
        ("error", pa.string()),
        ("before", pa.int32()),  # the change applies to shards (or Ray runs) below this number; null: to all
    ]
)
EVERY = -1  # a shard number to which every change applies
NO_PLACES = PLACES_SCHEMA.empty_table()
BLOCK = 1 << 16  # keys that are Python objects at a time


def keys_of(table: pa.Table) -> pa.ChunkedArray:
    """Return the keys of rows: the real paths of their recordings."""
    return pc.coalesce(table["real"], table["path"])  # pyright: ignore[reportAttributeAccessIssue]


class Places:
    """Changes to the rows of a store.

    A path that one recording left may later be another's. So a change applies only to the rows that existed when it
    was made: those in shards below its `before`. A key may have several changes; they are in order, oldest first.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self._before = table["before"].fill_null(np.iinfo(np.int32).max).to_numpy()
        self._keys = _digests(table["key"])
        self._where: dict[
            int, Digests
        ] = {}  # first change that applies to the last shard asked for -> index from there on

    @property
    def number(self) -> int:
        """Number of the first shard (or run) to which no change applies."""
        return max(0, int(self._before.max(initial=0))) if len(self.table) else 0

    @classmethod
    def load(cls, folder: Path) -> Places:
        """Read a store's places; a `CumelError` when they are damaged."""
        path = folder / PLACES
        if not path.exists():
            return cls(NO_PLACES)
        try:
            table = read_sealed(path, must=True).cast(PLACES_SCHEMA)
            pa.default_memory_pool().release_unused()  # a third of all memory, with millions of names
            return cls(table)
        except (CumelError, pa.ArrowException, ValueError) as error:
            raise CumelError(f"{path}: not usable ({error}); {REPAIR}") from None

    def save(self, folder: Path) -> None:
        """Write places.parquet."""
        with replacing(folder / PLACES) as part:
            write_sealed(part, PLACES_SCHEMA, [self.table])

    def _find(self, keys: NDArray[np.bytes_], number: int) -> NDArray[np.int64]:
        """Return the position of each key's first change that applies to the shard `number`, -1 without one."""
        start = int(np.searchsorted(self._before, number, "right"))
        if start not in self._where:
            self._where = {start: Digests(self._keys[start:][::-1])}
        at = self._where[start].last(keys)
        return np.where(at < 0, -1, len(self._keys) - 1 - at)

    def apply(self, table: pa.Table, number: int, keys: pa.ChunkedArray | None = None) -> pa.Table:
        """Apply the changes to rows of a shard or a run; the table must have the columns path and real."""
        if not len(self.table) or not len(table):
            return table
        at = self._find(_digests(keys_of(table) if keys is None else keys), number)
        if (at < 0).all():
            return table
        now = self._taken(at)
        stays = pc.is_null(now["path"])  # pyright: ignore[reportAttributeAccessIssue]
        for name in table.column_names:
            if name in ("path", "name", "size", "mtime_ns", "also", "error"):
                values = pc.coalesce(now[name], table[name])  # pyright: ignore[reportAttributeAccessIssue]
            elif name == "real":
                values = pc.if_else(stays, table[name], now[name])  # pyright: ignore[reportAttributeAccessIssue]
            else:
                continue
            table = table.set_column(table.column_names.index(name), name, values)
        return table

    def _taken(self, at: NDArray[np.int64]) -> pa.Table:
        """Return the changes at these positions, null for -1; `Table.take` alone would copy the whole table first."""
        wanted, place = np.unique(at[at >= 0], return_inverse=True)
        some, start = [], 0
        for batch in self.table.to_batches():
            ends = np.searchsorted(wanted, [start, start + len(batch)])
            some.append(batch.take(pa.array(wanted[ends[0] : ends[1]] - start)))
            start += len(batch)
        positions = np.zeros(len(at), np.int64)
        positions[at >= 0] = place
        return pa.Table.from_batches(some, PLACES_SCHEMA).take(pa.array(positions, mask=at < 0))

    def written(self, rows: pa.Table, number: int) -> pa.Table:
        """Turn current rows into those that the shard `number` must hold, so that `apply` gives them back."""
        if not len(self.table) or not len(rows):
            return rows
        counts = self.table.filter(pa.array((self._before > number) & self.table["path"].is_valid().to_numpy()))
        at = Digests(_digests(keys_of(counts))).last(_digests(keys_of(rows)))
        keys = counts["key"].take(pa.array(np.maximum(at, 0), mask=at < 0))
        moved = keys.is_valid()
        for name, value in (("path", keys), ("real", pa.nulls(len(rows), pa.string()))):
            now = pc.if_else(moved, value, rows[name])  # pyright: ignore[reportAttributeAccessIssue]
            rows = rows.set_column(rows.column_names.index(name), name, now)
        return rows

    def changed(self, changes: pa.Table, number: int, written: Iterable[pa.Table]) -> Places:
        """Add `changes` to the current rows, all of them in shards below `number`.

        `written` yields the identities of the rows as written: a change whose key is not among them only modifies
        earlier changes.
        """
        before = changes.column_names.index("before")
        later, table = (
            changes.set_column(
                before, PLACES_SCHEMA.field(before), pa.repeat(pa.scalar(number, pa.int32()), len(changes))
            ),
            self.table,
        )
        if len(table):
            keys = pc.coalesce(keys_of(table), table["key"])  # pyright: ignore[reportAttributeAccessIssue]
            table = Places(changes).apply(table, EVERY, keys)
            digests = [_digests(keys_of(rows)) for rows in written]
            rows = Digests(np.concatenate([np.empty(0, DIGEST), *digests]))
            later = later.filter(pa.array(rows.last(_digests(later["key"])) >= 0))
        return Places(pa.concat_tables([table, later]))


def _digests(keys: pa.ChunkedArray) -> NDArray[np.bytes_]:
    blocks = [digests_of(keys.slice(start, BLOCK).to_pylist()) for start in range(0, len(keys), BLOCK)]
    return np.concatenate([np.empty(0, DIGEST), *blocks])
