"""The files of a store: shards of frames, the sidecars that make them count, and the index."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ...kernels import CumelError
from ..system import replacing, synced
from . import rows
from .arrays import REPAIR
from .places import NO_PLACES, Places
from .rows import Tables, upgraded, with_places
from .seals import CHECKSUM, read_sealed, write_sealed

INDEX_ROWS = 1 << 16  # rows of the index written at once
INDEX = "index.parquet"
OPEN = ".open"  # in a sidecar's name: a run was stopped within the shard
ROW_SCHEMA = pa.schema(
    [
        ("path", pa.string()),  # absolute path, as given or found
        ("name", pa.string()),  # path below the given folder, or as in the given list
        ("real", pa.string()),  # target of path, if that is another path
        ("also", pa.list_(pa.string())),  # other paths to the same file
        ("size", pa.int64()),  # bytes of the file
        ("mtime_ns", pa.int64()),
        ("fingerprint", pa.int64()),  # 64-bit hash of parts of the file; null if it could not be read
        ("source_sr", pa.int32()),  # rate of the recording, Hz; null if it could not be read
        ("sr", pa.int32()),  # rate of the features, Hz
        ("n_samples", pa.int64()),  # length at sr
        ("shard", pa.int32()),
        ("offset", pa.int64()),  # first frame in the shard
        ("n_frames", pa.int64()),
        ("status", pa.string()),  # ok, silent or error; in a sidecar also dropped
        ("error", pa.string()),
        (CHECKSUM, pa.uint32()),  # CRC-32 of the frames' bytes; null in stores of an earlier version
    ]
)
LEAST = {
    "path": None,
    "status": None,
    "shard": -1,
    "offset": 0,
    "n_frames": 0,
}  # least value of each column that has no nulls
Row = dict[str, Any]


class Sidecar(NamedTuple):
    """The rows of one shard, on disk."""

    number: int
    again: bool  # whether its rows replace rows in earlier sidecars
    path: Path

    @property
    def is_open(self) -> bool:
        """Whether a run was stopped within the shard; the next one goes on with it."""
        return self.path.suffixes[-2:] == [OPEN, ".parquet"]

    def close(self) -> None:
        """Make an open shard one that ends here."""
        whole = self.path.with_name(self.path.name.replace(OPEN, ""))
        self.path.replace(whole)
        synced(whole.parent)

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """Read the rows, or some of their columns; a `CumelError` when the sidecar is damaged."""
        try:
            table = read_rows(self.path, columns and [*columns, *{"shard"}.difference(columns)])
            if not set(table["shard"].unique().to_pylist()) <= {-1, self.number}:
                raise CumelError("its rows are those of another shard")
            return table.select(columns or ROW_SCHEMA.names)
        except CumelError as error:
            raise CumelError(f"{self.path}: not usable ({error}); {REPAIR}") from None


def read_rows(path: Path, columns: list[str] | None = None, schema: pa.Schema = ROW_SCHEMA) -> pa.Table:
    """Read the rows of a sidecar, an index or a part; columns that an older version did not write are null.

    Raises
    ------
    CumelError
        When it is damaged; the message is the reason alone.
    """
    wanted = [name for name in schema.names if columns is None or name in columns]
    needed = [*wanted, "path"] if "name" in wanted and "path" not in wanted else wanted
    try:
        table = upgraded(read_sealed(path, needed), schema, needed).select(wanted)
        table = table.cast(pa.schema([schema.field(name) for name in wanted]))
    except (KeyError, pa.ArrowException):
        raise CumelError("its columns are not those of recordings") from None
    for name, least in LEAST.items():
        column = table[name] if name in wanted else pa.chunked_array([], ROW_SCHEMA.field(name).type)
        lowest = None if least is None else pc.min(column).as_py()  # pyright: ignore[reportAttributeAccessIssue]
        if column.null_count or (lowest is not None and lowest < least):
            raise CumelError(f"its column {name} is not that of recordings")
    return table


def shard_path(folder: Path, number: int) -> Path:
    """Name of a shard."""
    return folder / f"features-{number:05d}.npy"


def sidecar_path(folder: Path, number: int, again: bool, *, is_open: bool = False) -> Path:
    """Name of a shard's sidecar."""
    return folder / f"features-{number:05d}{'.again' if again else ''}{OPEN if is_open else ''}.parquet"


def sidecars(folder: Path) -> list[Sidecar]:
    """List the sidecars of a store, in the order of their shards."""
    listed = []
    for path in folder.glob("features-*.parquet"):
        name = re.fullmatch(r"features-(\d{5,})(\.again)?(\.open)?\.parquet", path.name)
        if name:
            listed.append(Sidecar(int(name[1]), bool(name[2]), path))
    return sorted(listed)


def rows_of(listed: list[Sidecar]) -> Tables:
    """Return the rows of a store's sidecars, with its places applied."""
    places = Places.load(listed[0].path.parent) if listed else Places(NO_PLACES)
    return with_places(lambda columns: ((sidecar.number, sidecar.read(columns)) for sidecar in listed), places)


def merged(listed: list[Sidecar]) -> Iterator[pa.Table]:
    """Yield the merged rows of all sidecars (`rows.merged`), many at a time."""
    pending: list[pa.Table] = []
    for table in rows.merged(rows_of(listed)):
        pending.append(table)
        if sum(map(len, pending)) >= INDEX_ROWS:
            yield pa.concat_tables(pending)
            pending = []
    yield pa.concat_tables([ROW_SCHEMA.empty_table(), *pending])


def write_index(folder: Path) -> None:
    """Write the index of a finished store out of its sidecars."""
    with replacing(folder / INDEX) as part:
        write_sealed(part, ROW_SCHEMA, merged(sidecars(folder)))
