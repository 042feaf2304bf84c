"""What a run has to extract, and the notes in its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow.parquet as pq

from ....kernels import InputError
from ...audio import load
from ...inputs import UNUSABLE, Listing, shown
from ...store.rows import upgraded
from ...store.shards import ROW_SCHEMA
from .compare import MOST_NAMED, Comparison

MOST_SHOWN = 5  # names in a sentence


@dataclass
class Todo:
    """What is left to extract of the given recordings, and what is to be reported."""

    new: Listing  # recordings that have no row
    again: Listing  # recordings that have one, and are extracted again
    paths: Listing  # both, in the order that they were given
    kept: int  # recordings whose rows stay
    failed_before: int  # given recordings that failed in an earlier run, and stay so
    failures: list[dict[str, str]]  # path and error of these
    unusable: list[dict[str, str]]  # path and error of inputs that are no recordings
    notes: list[str]
    facts: dict[str, Any]  # the notes as numbers and names

    @classmethod
    def of(cls, listing: Listing, comparison: Comparison, notes: list[str], **more: Any) -> Self:
        """Combine a listing, its comparison with a store, and the notes so far."""
        facts = {
            "changed": comparison.changed,
            "moved": comparison.moved,
            "gone": comparison.gone,
            "gone_files": comparison.gone_names,
            "n_duplicates": listing.n_twice,
            "duplicates": [{"path": path, "same_as": other} for path, other in listing.twice],
            "left_out": dict(listing.left_out),
        }
        twice = [f"{path} is {other}" for path, other in listing.twice]
        notes = [
            *notes,
            *_note(comparison.changed, "recording changed since", "recordings changed since", "taken again"),
            *_note(comparison.moved, "recording moved", "recordings moved", "what was extracted is kept"),
            *_note(
                comparison.gone, "recording is gone", "recordings are gone", "their rows stay", comparison.gone_names
            ),
            *_note(listing.n_twice, "path is another's file", "paths are others' files", "taken once", twice),
        ]
        notes += [f"left out: {shown(listing.left_out)}"] * bool(listing.left_out)
        unusable = [failure for path in listing.of_kind(UNUSABLE) for failure in _why(path)]
        return cls(
            comparison.new,
            comparison.again,
            comparison.todo,
            comparison.kept,
            comparison.failed_before,
            comparison.failures,
            unusable,
            notes,
            facts,
            **more,
        )


def _note(n: int, singular: str, plural: str, what: str, names: Sequence[str] = ()) -> list[str]:
    """Return a sentence on `n` recordings, with the first names; no sentence for n = 0."""
    shown_names = f": {', '.join(names[:MOST_SHOWN])}" if names else ""
    more = f" and {n - MOST_SHOWN} more" if names and n > MOST_SHOWN else ""
    return [f"{n} {singular if n == 1 else plural}; {what}{shown_names}{more}"] if n else []


def copies_noted(index: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the report's entries on copies in a store, and a note on them."""
    n, pairs = _copies_in(index)
    singular = "recording has size and fingerprint of another"
    plural = "recordings have size and fingerprint of others"
    note = _note(n, singular, plural, "each has its row", [f"{path} is like {other}" for path, other in pairs])
    return {"n_copies": n, "copies": [{"path": path, "copy_of": other} for path, other in pairs]}, note


def _copies_in(index: Path) -> tuple[int, list[tuple[str, str]]]:
    """Count the recordings with size and fingerprint of an earlier one; also returns the first pairs of paths."""
    with pq.ParquetFile(index) as file:
        columns = ["size", "fingerprint"]
        table = upgraded(file.read(columns), ROW_SCHEMA, columns)
        looks = np.stack([table["size"].to_numpy(), table["fingerprint"].fill_null(0).to_numpy()], axis=1)
        numbers = np.flatnonzero((looks[:, 0] > 0) & table["fingerprint"].is_valid().to_numpy())
        order = numbers[np.lexsort((numbers, *looks[numbers].T))]
        begins = np.ones(len(order), bool)
        begins[1:] = (looks[order[1:]] != looks[order[:-1]]).any(axis=1)
        first = order[np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))]
        again = np.flatnonzero(~begins)
        pairs = sorted(zip(order[again].tolist(), first[again].tolist(), strict=True))[:MOST_NAMED]
        paths = file.read(["path"])["path"]
    return len(again), [(paths[copy].as_py(), paths[original].as_py()) for copy, original in pairs]


def _why(path: Path) -> list[dict[str, str]]:
    try:
        load(path)
    except InputError as error:
        return [{"path": str(path), "error": str(error)}]
    return []
