"""Extracted features on disk, and random access to them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...kernels import CumelError
from .arrays import HEADER_BYTES, REWRITE, damaged, frames_fit, open_shard
from .config import StoreConfig
from .labels import with_labels
from .lookup import Lookup
from .shards import INDEX, Row, merged, read_rows, shard_path, sidecars
from .takeover import current

MOST_NAMED = 5  # recordings that an error lists
INDEX_ROWS = 1 << 14  # rows of the index that are Python objects at a time
OPEN_SHARDS = 64  # shards memory-mapped at a time; each takes a file handle


def read_index(folder: Path) -> pa.Table:
    """Read the index, or the rows so far of a store that is not finished.

    Raises
    ------
    CumelError
        When it is damaged.
    """
    if not (folder / INDEX).exists():
        return pa.concat_tables(merged(sidecars(folder)))
    try:
        return read_rows(folder / INDEX)
    except CumelError as error:
        raise CumelError(f"{folder / INDEX}: not a usable index ({error}); {REWRITE}") from None


def check_sizes(folder: Path, config: StoreConfig, index: pa.Table) -> None:
    """Compare the size of every shard with the index; a `CumelError` for one too small for its recordings."""
    shards, offsets, n_frames = (index[name].to_numpy() for name in ("shard", "offset", "n_frames"))
    runs = np.flatnonzero(np.diff(shards, prepend=-2))  # rows before which the shard changes
    frame_bytes = config.n_rows * np.dtype(config.dtype).itemsize
    most: dict[int, int] = {}
    for number, end in zip(
        shards[runs], np.maximum.reduceat(offsets + n_frames, runs) if len(runs) else (), strict=True
    ):
        most[int(number)] = max(int(end), most.get(int(number), 0))
    most.pop(-1, None)  # shard of rows without features
    for number, end in most.items():
        path, due = shard_path(folder, number), HEADER_BYTES + end * frame_bytes
        try:
            size = path.stat().st_size
        except OSError as error:
            raise damaged(path, error.strerror or str(error)) from None
        if size < due or (size - due) % frame_bytes:
            raise damaged(path, f"it has {size} bytes, and its recordings take {due}")


class StoredClip(NamedTuple):
    """A recording in a store."""

    row: Row  # row of the index
    frames: NDArray  # [n_frames, n_rows], memory-mapped


class Store:
    """Random access to extracted features, memory-mapped: nothing is copied.

    A store can be pickled, and sent to other processes: each maps the files anew.

    Parameters
    ----------
    folder : path
    mode : {"r", "c"}
        ``r``: arrays are read-only. ``c``: they may be changed in memory, never on disk.
    check : bool
        Compare a recording's features with their checksum when they are first asked for, which reads all of them.

    Raises
    ------
    CumelError
        When there is no store, or its config, its index or the size of a shard is damaged; damaged features raise it
        when they are asked for.

    Examples
    --------
    ``Store("features")["dog.wav"]`` is the array [n_rows, n_frames] of that recording, or [n_frames, n_rows] where its
    config has `time_major`: as the feature's function returns it. A longer end of its path, the whole path and a row
    number work as well.
    """

    def __init__(self, folder: Path | str, mode: Literal["r", "c"] = "r", *, check: bool = True) -> None:
        self.folder = current(Path(folder))
        self.mode: Literal["r", "c"] = mode
        self.check = check
        self.config = StoreConfig.load(self.folder)
        self.index = read_index(self.folder)
        check_sizes(self.folder, self.config, self.index)
        self.index = with_labels(self.index, self.folder)
        self._checked = bytearray(len(self.index))  # rows whose checksum was compared
        self._shards: OrderedDict[int, NDArray] = OrderedDict()

    def __reduce__(self) -> tuple[Callable[..., Store], tuple[Path, str]]:
        return partial(type(self), check=self.check), (self.folder, self.mode)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def rows(self) -> list[Row]:
        """The whole index as a list of rows; `index` is the same as a table, and a tenth of the size."""
        return self.index.to_pylist()

    @cached_property
    def _lookup(self) -> Lookup:
        return Lookup(self.index)

    def row(self, key: int | Path | str) -> Row:
        """Return the index row of a recording, by row number, path or name.

        A path is absolute, or begins at the current folder; links to the recording lead to it. A name is the row's, or
        the end of its path: ``dog.wav``, ``fold1/dog.wav``.

        Raises
        ------
        CumelError
            When there is no such recording, or several have that name; it lists them.
        """
        return self.index.slice(self._number(key), 1).to_pylist()[0]

    def _number(self, key: int | Path | str) -> int:
        number = key if isinstance(key, int) else self._number_of(key)
        if not -len(self) <= number < len(self):
            raise IndexError(f"{self.folder}: row {number} of {len(self)}")  # an IndexError ends a loop over the store
        return number % len(self)

    def _number_of(self, key: Path | str) -> int:
        numbers = self._lookup(key)
        if not len(numbers):
            raise CumelError(f"{self.folder}: has no features of {key}; extract them first")
        if len(numbers) > 1:
            names = [self.row(int(number))["path"] for number in numbers[:MOST_NAMED]]
            more = f" and {len(numbers) - MOST_NAMED} more" if len(numbers) > MOST_NAMED else ""
            raise CumelError(
                f"{self.folder}: {len(numbers)} recordings are named {key}: {', '.join(names)}{more}; "
                "name one by more of its path"
            )
        return int(numbers[0])

    def __getitem__(self, key: int | Path | str) -> NDArray:
        number = self._number(key)
        row = self.row(number)
        if row["status"] == "error":
            raise CumelError(f"{self.folder}: {row['path']} could not be extracted: {row['error']}")
        frames = self.shard(row["shard"])[row["offset"] : row["offset"] + row["n_frames"]]
        if self.check and not self._checked[number]:
            check_frames(self.folder, row, frames)
            self._checked[number] = True
        return self.config.laid_out(frames)

    def shard(self, number: int) -> NDArray:
        """Return the frames of a shard [n_frames, n_rows]."""
        if number not in self._shards:
            path = shard_path(self.folder, number)
            self._shards[number] = open_shard(path, self.config.n_rows, self.config.dtype, self.mode)
            if len(self._shards) > OPEN_SHARDS:
                self._shards.popitem(last=False)  # arrays in use keep their file open
        self._shards.move_to_end(number)
        return self._shards[number]


def check_frames(folder: Path, row: Row, frames: NDArray) -> None:
    """Compare a recording's frames with the checksum in its row, if it has one; a `CumelError` when they differ."""
    if not frames_fit(row, frames):
        raise damaged(shard_path(folder, row["shard"]), f"the features of {row['path']} are not what was written")


def extracted(store: Store) -> pa.Table:
    """Return the index without the recordings that failed."""
    return store.index.filter(pc.field("status") != "error")


def clips_of(store: Store) -> Iterator[StoredClip]:
    """Yield the recordings that were extracted, in the order of the index; a `CumelError` for a damaged one."""
    for batch in extracted(store).to_batches(max_chunksize=INDEX_ROWS):
        for row in batch.to_pylist():
            frames = store.shard(row["shard"])[row["offset"] : row["offset"] + row["n_frames"]]
            check_frames(store.folder, row, frames)
            yield StoredClip(row, frames)
