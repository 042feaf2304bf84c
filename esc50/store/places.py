"""Where the recordings of a store are now, and under which other names: what its rows, once written, cannot say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...kernels import CumelError
from ..files import replacing
from ..naming import Digests, digests_of
from .arrays import REPAIR
from .seals import read_sealed, write_sealed

PLACES = "places.parquet"
SCHEMA = pa.schema(
    [
        ("key", pa.string()),  # that a row has; the other columns take the place of its own, but for null
        ("path", pa.string()),
        ("name", pa.string()),
        ("real", pa.string()),  # goes with path
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("also", pa.list_(pa.string())),
        ("error", pa.string()),
    ]
)
NO_PLACES = SCHEMA.empty_table()
BLOCK = 1 << 16  # keys that are Python objects at a time


def keys_of(table: pa.Table) -> pa.ChunkedArray:
    """Return what tells the recordings of rows from others: their real paths."""
    return pc.coalesce(table["real"], table["path"])  # pyright: ignore[reportAttributeAccessIssue]


class Places:
    """What a store's rows say otherwise by now."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        blocks = [digests_of(block["key"].to_pylist()) for block in table.to_batches(BLOCK)]
        self._where = Digests(np.concatenate([*blocks, digests_of([])]))

    @classmethod
    def load(cls, folder: Path) -> Places:
        """Read those of a store; a `CumelError` when they are damaged."""
        path = folder / PLACES
        if not path.exists():
            return cls(NO_PLACES)
        try:
            return cls(read_sealed(path, must=True).cast(SCHEMA))
        except (CumelError, pa.ArrowException, ValueError) as error:
            raise CumelError(f"{path}: not usable ({error}); {REPAIR}") from None

    def save(self, folder: Path) -> None:
        """Write them."""
        with replacing(folder / PLACES) as part:
            write_sealed(part, SCHEMA, [self.table])

    def apply(self, table: pa.Table, keys: pa.ChunkedArray | None = None) -> pa.Table:
        """Return rows, which have the columns path and real, as they are now."""
        if not len(self.table) or not len(table):
            return table
        at = self._where.last(digests_of((keys_of(table) if keys is None else keys).to_pylist()))
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
        return pa.Table.from_batches(some, SCHEMA).take(pa.array(every, mask=at < 0))

    def changed(self, changes: pa.Table) -> Places:
        """Return these with `changes` of the rows as they are now."""
        later, table = Places(changes), self.table
        if not len(table):
            return later
        keys = pc.coalesce(keys_of(table), table["key"])  # pyright: ignore[reportAttributeAccessIssue]
        known = self._where.last(digests_of(changes["key"].to_pylist())) >= 0
        more = changes.filter(pa.array(~known))
        return Places(pa.concat_tables([later.apply(table, keys), more]))
