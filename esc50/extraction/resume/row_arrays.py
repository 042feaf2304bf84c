"""The rows of a store as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...inputs import digests_of
from ...store.places import BLOCK, keys_of
from ...store.rows import DROPPED, Tables, rows_at
from ...store.shards import ROW_SCHEMA

READ_SCHEMA = pa.schema(
    [ROW_SCHEMA.field(name) for name in ("path", "real", "status", "size", "mtime_ns", "fingerprint")]
)

Numbers = NDArray[np.int64]


class RowArrays:
    """The last row of each recording, as arrays, as there may be millions."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        blocks = [_columns(READ_SCHEMA.empty_table())]
        blocks += [_columns(table) for table in tables(READ_SCHEMA.names)]
        all_of = {name: np.concatenate([block.pop(name) for block in blocks]) for name in list(blocks[0])}
        n = len(all_of["key"])
        _, last = np.unique(all_of["key"][::-1], return_index=True)
        self.numbers: Numbers = np.sort(n - 1 - last)  # numbers of the rows, over all tables
        if len(last) < n:
            all_of = {name: all_of.pop(name)[self.numbers] for name in list(all_of)}
        (self.key, self.path, self.failed, self.dropped, self.size, self.mtime_ns, self.printed, self.fingerprint) = (
            all_of.values()
        )

    def __len__(self) -> int:
        return len(self.numbers)

    def rows(self, positions: Numbers, columns: list[str]) -> Any:
        """Yield (position, row) for ascending positions in these arrays."""
        for at, table in rows_at(self.tables, self.numbers[positions], columns):
            for block in range(0, len(at), BLOCK):
                part = table.slice(block, BLOCK).to_pylist()
                yield from zip(positions[at[block : block + BLOCK]].tolist(), part, strict=True)


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
