"""A store read from its first recording to its last, one shard at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .reader import Store, check_frames
from .shards import Row

INDEX_ROWS = 1 << 14  # of the index that are Python objects at a time


class Clip(NamedTuple):
    """A recording in a store."""

    row: Row  # of the index
    frames: NDArray  # [n_frames, n_rows], on disk until it is used


def extracted(store: Store) -> pa.Table:
    """Return the index without the recordings that failed."""
    return store.index.filter(pc.field("status") != "error")


def clips_of(store: Store) -> Iterator[Clip]:
    """Yield the recordings that were extracted, in the order of the index; a `CumelError` for a damaged one."""
    for batch in extracted(store).to_batches(max_chunksize=INDEX_ROWS):
        for row in batch.to_pylist():
            frames = store.shard(row["shard"])[row["offset"] : row["offset"] + row["n_frames"]]
            check_frames(store.folder, row, frames)
            yield Clip(row, frames)


def packed(arrays: Iterable[NDArray], size: int) -> Iterator[NDArray]:
    """Yield the rows of all `arrays`, one after another, `size` at a time; the last ones may be fewer."""
    held: list[NDArray] = []
    n_held = 0
    for array in arrays:
        at = 0
        while at < len(array):
            held.append(array[at : at + size - n_held])
            n_held += len(held[-1])
            at += len(held[-1])
            if n_held == size:
                yield np.concatenate(held)
                held, n_held = [], 0
    if held:
        yield np.concatenate(held)
