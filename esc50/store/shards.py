"""Writing shards: the array of frames first, then the sidecar that makes it count."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...kernels import CumelError
from ..system import EarlyFlush, commit, part_of, replacing, unwritable, write_all
from . import rows
from .arrays import HEADER_BYTES, REPAIR, header
from .places import NO_PLACES, Places
from .rows import Tables, upgraded, with_places
from .seals import CHECKSUM, read_sealed, write_sealed

# A shard ends with the recording that reaches one of these two limits, so its end depends on the recordings alone.
SHARD_BYTES = 128 << 20
SHARD_ROWS = 16384
WRITE_BYTES = 1 << 20  # bytes per write call
FLUSH_BYTES = 16 << 20  # bytes of a shard sent to the disk at a time
INDEX_ROWS = 1 << 16  # rows of the index written at once
INDEX = "index.parquet"
ROW_SCHEMA = pa.schema(
    [
        ("path", pa.string()),  # absolute path, as given or found
        ("name", pa.string()),  # path below the given folder, or as in the given list
        ("real", pa.string()),  # target of path, if that is another path
        ("also", pa.list_(pa.string())),  # other paths to the same file
        ("size", pa.int64()),  # bytes of the file
        ("mtime_ns", pa.int64()),
        ("fingerprint", pa.int64()),  # 64-bit hash of parts of the file; null if it could not be read
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


def sidecar_path(folder: Path, number: int, again: bool) -> Path:
    """Name of a shard's sidecar."""
    return folder / f"features-{number:05d}{'.again' if again else ''}.parquet"


def sidecars(folder: Path) -> list[Sidecar]:
    """List the sidecars of a store, in the order of their shards."""
    listed = []
    for path in folder.glob("features-*.parquet"):
        name = re.fullmatch(r"features-(\d{5,})(\.again)?\.parquet", path.name)
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


class ShardWriter:
    """Writes recordings one after another into shards.

    Parameters
    ----------
    folder : Path
    n_rows : int
        Number of values per frame.
    dtype : str
    number : int
        Number of the first shard.
    again : bool
        Whether the recordings have rows in earlier sidecars.
    shard_bytes : int
    written : callable, optional
        Called with each array of frames once it is on its way to the disk and may be reused.
    """

    def __init__(
        self,
        folder: Path,
        n_rows: int,
        dtype: str,
        number: int,
        *,
        again: bool = False,
        shard_bytes: int = SHARD_BYTES,
        written: Callable[[NDArray], None] | None = None,
    ) -> None:
        self.folder, self.n_rows, self.dtype, self.again = folder, n_rows, np.dtype(dtype), again
        self.number, self.shard_bytes = number, shard_bytes
        self.rows: list[Row] = []
        self.n_frames = 0
        self._frame_bytes = n_rows * self.dtype.itemsize
        self._written = written
        self._pending: list[NDArray] = []
        self._n_pending = 0  # bytes in `_pending`
        self._file: BinaryIO | None = None
        self._flush = EarlyFlush(FLUSH_BYTES)

    @property
    def is_full(self) -> bool:
        """Whether the shard must be finished before another recording goes in."""
        return self.n_frames * self._frame_bytes >= self.shard_bytes or len(self.rows) >= SHARD_ROWS

    def add(self, row: Row, parts: Iterable[NDArray]) -> None:
        """Add a recording: its row but for its place, and its frames ``[n, n_rows]``.

        Raises
        ------
        CumelError
            From `parts`; then the shard is as before.
        OSError
            When it cannot be written.
        """
        before = n_frames = self.n_frames
        checksum = 0
        try:
            for part in parts:
                assert part.dtype == self.dtype
                assert part.shape[1:] == (self.n_rows,)
                n_frames += len(part)
                checksum = zlib.crc32(part.data, checksum)
                self._pending.append(part)
                self._n_pending += part.nbytes
                if self._n_pending >= WRITE_BYTES:
                    self._write(n_frames)
        except CumelError:
            self._write(n_frames)
            self._open().truncate(self._open().seek(HEADER_BYTES + before * self._frame_bytes))
            raise
        self.n_frames = n_frames
        place = {"shard": -1, "offset": 0, CHECKSUM: None}
        if n_frames > before:
            place = {"shard": self.number, "offset": before, CHECKSUM: checksum}
        self.rows.append(row | place | {"n_frames": n_frames - before})

    def _write(self, n_frames: int) -> None:
        """Write the pending frames, with which the shard has `n_frames`."""
        if not self._pending:
            return
        handle = self._open().fileno()
        write_all(handle, self._pending)
        self._flush.grown(handle, HEADER_BYTES + n_frames * self._frame_bytes)
        if self._written is not None:
            for array in self._pending:
                self._written(array)
        self._pending, self._n_pending = [], 0

    def complete(self) -> None:
        """Write the rest of the shard, still under its temporary name."""
        self._write(self.n_frames)
        self._flush.wait()
        if self._file is not None and not self._file.closed:
            self._file.seek(0)
            self._file.write(header(self.n_frames, self.n_rows, self.dtype))
            self._file.close()

    def finish(self, folder: Path | None = None) -> None:
        """Move the shard to its place, or into another folder, and write its sidecar; then begin the next shard."""
        folder = folder or self.folder
        try:
            self.complete()
            if self._file is not None:
                commit(part_of(shard_path(self.folder, self.number)), shard_path(folder, self.number))
        except OSError as error:
            raise self.explain(error) from None
        with replacing(sidecar_path(folder, self.number, self.again)) as part:
            write_sealed(part, ROW_SCHEMA, [pa.Table.from_pylist(self.rows, schema=ROW_SCHEMA)])
        self.number, self.rows, self.n_frames, self._file = self.number + 1, [], 0, None

    def drop(self) -> None:
        """Discard the unfinished shard; the writer may not be used afterwards."""
        with suppress(OSError):
            self._flush.wait()
        self._flush.close()
        if self._file is not None:
            with suppress(OSError):  # closing writes the buffer, which fails again on a full disk
                self._file.close()
            part_of(shard_path(self.folder, self.number)).unlink(missing_ok=True)
        self.rows, self.n_frames, self._file, self._pending = [], 0, None, []

    def explain(self, error: OSError) -> CumelError:
        """Make the error that names the shard that could not be written."""
        return unwritable(shard_path(self.folder, self.number), error)

    def _open(self) -> BinaryIO:
        if self._file is None:
            self._file = part_of(shard_path(self.folder, self.number)).open("wb")
            self._file.write(header(0, self.n_rows, self.dtype))
            self._file.flush()  # frames are written to the descriptor, past the buffer
        return self._file
