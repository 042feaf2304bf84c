"""Rows from several files merged: a recording's last row counts, at the place of its first."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..inputs import Digests, digests_of
from .places import Places, keys_of

DROPPED = "dropped"  # status of a row that cancels the recording's earlier rows
IDENTITY = ("path", "real")  # columns that identify a row's recording
Tables = Callable[[list[str] | None], Iterator[pa.Table]]  # yields rows in the order of writing, some columns or all


def upgraded(table: pa.Table, schema: pa.Schema, columns: list[str] | None) -> pa.Table:
    """Add the columns that an older version did not write; returns `columns` in the order of the schema."""
    wanted = [name for name in schema.names if columns is None or name in columns]
    for name in wanted:
        if name not in table.column_names:
            values = pa.nulls(len(table), schema.field(name).type)
            if name == "name":
                values = pc.replace_substring_regex(table["path"], r"(?s)^.*/", "")  # pyright: ignore[reportAttributeAccessIssue]
            table = table.append_column(schema.field(name), values)
    return table.select(wanted)


def with_places(tables: Callable[[list[str] | None], Iterator[tuple[int, pa.Table]]], places: Places) -> Tables:
    """Return rows with `places` applied; `tables` yields the number of a shard, or of a run, and its rows."""

    def now(columns: list[str] | None) -> Iterator[pa.Table]:
        for number, table in tables(columns if columns is None else [*{*columns, *IDENTITY}]):
            yield places.apply(table, number)

    return now


def merged(tables: Tables) -> Iterator[pa.Table]:
    """Yield each recording's last row at the place of its first; dropped recordings are left out."""
    digests = [digests_of(keys_of(table).to_pylist()) for table in tables(list(IDENTITY))]
    every = np.concatenate([digests_of([]), *digests])
    _, first, group = np.unique(every, return_index=True, return_inverse=True)
    is_first = first[group] == np.arange(len(every))
    if is_first.all():
        yield from map(_undropped, tables(None))
        return
    last = np.zeros(len(first), np.int64)
    np.maximum.at(last, group, np.arange(len(every)))
    again = np.sort(last[last != first])
    later = pa.concat_tables([rows for _, rows in rows_at(tables, again, None)])
    where = Digests(every[again])
    start = 0
    for table in tables(None):
        here = np.s_[start : start + len(table)]
        start += len(table)
        replaced = where.last(every[here])
        places = np.where(replaced >= 0, replaced + len(table), np.arange(len(table)))
        if (replaced >= 0).any():
            some = np.unique(replaced[replaced >= 0])
            places = np.where(replaced >= 0, np.searchsorted(some, replaced) + len(table), np.arange(len(table)))
            table = pa.concat_tables([table, later.take(some)])
        yield _undropped(table.take(places[is_first[here]]))


def _undropped(table: pa.Table) -> pa.Table:
    return table.filter(pc.field("status") != DROPPED)


def rows_at(
    tables: Tables, numbers: NDArray[np.int64], columns: list[str] | None
) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
    """Yield rows by ascending `numbers`, counted over all tables: positions in `numbers`, and the rows there."""
    if not len(numbers):
        return
    start = 0
    for table in tables(columns):
        ends = np.searchsorted(numbers, [start, start + len(table)])
        if ends[0] < ends[1]:
            yield np.arange(*ends), table.take(numbers[ends[0] : ends[1]] - start)
        start += len(table)
