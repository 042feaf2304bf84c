"""Recordings of a store that look like copies of others in it: their files agree in size and fingerprint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from ...store.rows import upgraded
from ...store.shards import SCHEMA
from .compare import MOST_NAMED


def copies_in(index: Path) -> tuple[int, list[tuple[str, str]]]:
    """Count the copies in an index; returns also the path of each and of what it is like, for the first ones."""
    with pq.ParquetFile(index) as file:
        columns = ["size", "fingerprint"]
        table = upgraded(file.read(columns), SCHEMA, columns)
        looks = np.stack([table["size"].to_numpy(), table["fingerprint"].fill_null(0).to_numpy()], axis=1)
        numbers = np.flatnonzero((looks[:, 0] > 0) & table["fingerprint"].is_valid().to_numpy())
        order = numbers[np.lexsort((numbers, *looks[numbers].T))]
        begins = np.ones(len(order), bool)
        begins[1:] = (looks[order[1:]] != looks[order[:-1]]).any(axis=1)
        first = order[np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))]
        again = np.flatnonzero(~begins)
        pairs = sorted(zip(order[again].tolist(), first[again].tolist(), strict=True))[:MOST_NAMED]
        paths = file.read(["path"])["path"]
    return len(again), [(paths[one].as_py(), paths[other].as_py()) for one, other in pairs]
