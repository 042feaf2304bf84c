"""Writing shards: the array of frames first, then the sidecar that makes it count."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...kernels import CumelError
from ..system import EarlyFlush, commit, part_of, replacing, unwritable, write_all
from .arrays import HEADER_BYTES, header
from .seals import CHECKSUM, write_sealed
from .shards import ROW_SCHEMA, Row, Sidecar, shard_path, sidecar_path

# A shard ends with the recording that reaches one of these two limits, so its end depends on the recordings alone.
SHARD_BYTES = 128 << 20
SHARD_ROWS = 16384
WRITE_BYTES = 1 << 20  # bytes per write call
FLUSH_BYTES = 16 << 20  # bytes of a shard sent to the disk at a time


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
        self._opened: Sidecar | None = None  # sidecar of the shard that the writer goes on with

    def go_on(self, opened: Sidecar) -> None:
        """Go on with a shard that a stopped run left open; until it is finished, what it holds stays as it is."""
        part = part_of(shard_path(self.folder, opened.number))
        self.number, self.again, self._opened, self.rows = (
            opened.number,
            opened.again,
            opened,
            opened.read().to_pylist(),
        )
        self.n_frames = max((row["offset"] + row["n_frames"] for row in self.rows), default=0)
        if self.n_frames:
            try:
                shutil.copyfile(shard_path(self.folder, self.number), part)
                self._file = part.open("r+b")
                self._file.truncate(self._file.seek(HEADER_BYTES + self.n_frames * self._frame_bytes))
            except OSError as error:
                raise self.explain(error) from None

    @property
    def is_full(self) -> bool:
        """Whether the shard must be finished before another recording goes in."""
        return self.n_frames * self._frame_bytes >= self.shard_bytes or len(self.rows) >= SHARD_ROWS

    def add(self, row: Row, parts: Iterable[NDArray]) -> None:
        """Add a recording: its row but for its place, and its frames ``[n, n_rows]``.

        Raises
        ------
        CumelError, RuntimeError, KeyboardInterrupt
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
        except (CumelError, RuntimeError, KeyboardInterrupt):
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

    def finish(self, folder: Path | None = None, *, is_open: bool = False) -> None:
        """Move the shard to its place, or into another folder, and write its sidecar; then begin the next shard.

        `is_open`: another writer will go on with the shard.
        """
        folder = folder or self.folder
        try:
            self.complete()
            if self._file is not None:
                commit(part_of(shard_path(self.folder, self.number)), shard_path(folder, self.number))
        except OSError as error:
            raise self.explain(error) from None
        opened = self._opened or Sidecar(
            self.number, self.again, sidecar_path(folder, self.number, self.again, is_open=is_open)
        )
        with replacing(opened.path) as part:
            write_sealed(part, ROW_SCHEMA, [pa.Table.from_pylist(self.rows, schema=ROW_SCHEMA)])
        if opened.is_open and not is_open:
            opened.close()
        self.number, self.rows, self.n_frames, self._file, self._opened = self.number + 1, [], 0, None, None

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
