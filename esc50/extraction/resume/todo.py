"""What a run has to do, and what it has to say before it does it."""

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
    """What is left to do, of what was asked for."""

    new: Listing  # recordings that have no row
    again: Listing  # recordings that have one, and are extracted again
    paths: Listing  # both, in the order that they were given
    kept: int  # recordings whose rows stay
    failed_before: int  # of those that were asked for
    failures: list[dict[str, str]]  # of these; path and error
    unusable: list[dict[str, str]]  # inputs that are no recordings; the same
    notes: list[str]
    facts: dict[str, Any]  # the notes as numbers and names

    @classmethod
    def of(cls, listing: Listing, found: Comparison, notes: list[str], **more: Any) -> Self:
        """Put together what a list tells, and what came of its comparison with a store."""
        facts = {
            "changed": found.changed,
            "moved": found.moved,
            "gone": found.gone,
            "gone_files": found.gone_names,
            "n_duplicates": listing.n_twice,
            "duplicates": [{"path": path, "same_as": other} for path, other in listing.twice],
            "left_out": dict(listing.left_out),
        }
        twice = [f"{path} is {other}" for path, other in listing.twice]
        notes = [
            *notes,
            *_note(found.changed, "recording changed since", "recordings changed since", "taken again"),
            *_note(found.moved, "recording moved", "recordings moved", "what was extracted is kept"),
            *_note(found.gone, "recording is gone", "recordings are gone", "their rows stay", found.gone_names),
            *_note(listing.n_twice, "path is another's file", "paths are others' files", "taken once", twice),
        ]
        notes += [f"left out: {shown(listing.left_out)}"] * bool(listing.left_out)
        unusable = [failure for path in listing.of_kind(UNUSABLE) for failure in _why(path)]
        return cls(
            found.new,
            found.again,
            found.todo,
            found.kept,
            found.failed_before,
            found.failures,
            unusable,
            notes,
            facts,
            **more,
        )


def _note(n: int, one: str, many: str, what: str, names: Sequence[str] = ()) -> list[str]:
    """Return a sentence on `n` recordings, with the first names; none on none."""
    shown_names = f": {', '.join(names[:MOST_SHOWN])}" if names else ""
    more = f" and {n - MOST_SHOWN} more" if names and n > MOST_SHOWN else ""
    return [f"{n} {one if n == 1 else many}; {what}{shown_names}{more}"] if n else []


def copies_noted(index: Path) -> tuple[dict[str, Any], list[str]]:
    """Return what a report says of the copies in a store, in numbers and in a sentence."""
    n, pairs = _copies_in(index)
    one, many = "recording has size and fingerprint", "recordings have size and fingerprint"
    note = _note(
        n, f"{one} of another", f"{many} of others", "each has its row", [f"{a} is like {b}" for a, b in pairs]
    )
    return {"n_copies": n, "copies": [{"path": path, "copy_of": other} for path, other in pairs]}, note


def _copies_in(index: Path) -> tuple[int, list[tuple[str, str]]]:
    """Count the copies in an index; returns also the path of each and of what it is like, for the first ones."""
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
    return len(again), [(paths[one].as_py(), paths[other].as_py()) for one, other in pairs]


def _why(path: Path) -> list[dict[str, str]]:
    try:
        load(path)
    except InputError as error:
        return [{"path": str(path), "error": str(error)}]
    return []
