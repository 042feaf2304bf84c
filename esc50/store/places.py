"""Where the recordings of a store are now, and under which other names: what its rows, once written, cannot say."""

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
        ("key", pa.string()),  # that a row has; the other columns take the place of its own, but for null
        ("path", pa.string()),
        ("name", pa.string()),
        ("real", pa.string()),  # goes with path
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("also", pa.list_(pa.string())),
        ("error", pa.string()),
        ("before", pa.int32()),  # of the rows in shards, or in Ray's runs, below this number; null: of all
    ]
)
EVERY = -1  # number of rows of which all that is said counts
NO_PLACES = PLACES_SCHEMA.empty_table()
BLOCK = 1 << 16  # keys that are Python objects at a time


def keys_of(table: pa.Table) -> pa.ChunkedArray:
    """Return what tells the recordings of rows from others: their real paths."""
    return pc.coalesce(table["real"], table["path"])  # pyright: ignore[reportAttributeAccessIssue]


class Places:
    """What a store's rows say otherwise by now.

    A place that a recording left may be another one's later. So what is said of a key is said of the rows that there
    were: those in shards below `before`. A key may stand here several times, the oldest first.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self._before = table["before"].fill_null(np.iinfo(np.int32).max).to_numpy()
        self._keys = _digests(table["key"])
        self._where: dict[int, Digests] = {}  # of the part of the table that counts for the rows asked for last

    @property
    def number(self) -> int:
        """Number from which on rows say themselves where their recordings are."""
        return max(0, int(self._before.max(initial=0))) if len(self.table) else 0

    @classmethod
    def load(cls, folder: Path) -> Places:
        """Read those of a store; a `CumelError` when they are damaged."""
        path = folder / PLACES
        if not path.exists():
            return cls(NO_PLACES)
        try:
            table = read_sealed(path, must=True).cast(PLACES_SCHEMA)
            pa.default_memory_pool().release_unused()  # half as much again, of millions of names
            return cls(table)
        except (CumelError, pa.ArrowException, ValueError) as error:
            raise CumelError(f"{path}: not usable ({error}); {REPAIR}") from None

    def save(self, folder: Path) -> None:
        """Write them."""
        with replacing(folder / PLACES) as part:
            write_sealed(part, PLACES_SCHEMA, [self.table])

    def _find(self, keys: NDArray[np.bytes_], number: int) -> NDArray[np.int64]:
        """Return where the first is that is said of each key in a row of the shard `number`, -1 where nothing is."""
        start = int(np.searchsorted(self._before, number, "right"))
        if start not in self._where:
            self._where = {start: Digests(self._keys[start:][::-1])}
        at = self._where[start].last(keys)
        return np.where(at < 0, -1, len(self._keys) - 1 - at)

    def apply(self, table: pa.Table, number: int, keys: pa.ChunkedArray | None = None) -> pa.Table:
        """Return rows of a shard or a run, which have the columns path and real, as they are now."""
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
        """Return some rows, null where there is none; `Table.take` would copy all of the table first."""
        wanted, place = np.unique(at[at >= 0], return_inverse=True)
        some, start = [], 0
        for batch in self.table.to_batches():
            ends = np.searchsorted(wanted, [start, start + len(batch)])
            some.append(batch.take(pa.array(wanted[ends[0] : ends[1]] - start)))
            start += len(batch)
        every = np.zeros(len(at), np.int64)
        every[at >= 0] = place
        return pa.Table.from_batches(some, PLACES_SCHEMA).take(pa.array(every, mask=at < 0))

    def written(self, rows: pa.Table, number: int) -> pa.Table:
        """Return rows as they are now as a shard says them: `apply` gives the same rows again."""
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
        """Return these with `changes` of the rows as they are now, all in shards below `number`.

        The identities of the rows as they were `written` tell of which keys more is to be said.
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
