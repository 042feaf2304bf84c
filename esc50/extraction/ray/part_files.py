"""The Parquet files that Ray's workers write: names, columns and integrity."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ....kernels import CumelError
from ...store.arrays import REPAIR, REWRITE, damaged, frames_fit
from ...store.integrity import Findings, key_of_row, nothing, place_of, places_of
from ...store.places import Places, keys_of
from ...store.rows import DROPPED, IDENTITY, upgraded
from ...store.seals import CHECKSUM, FEATURES, read_sealed
from ...store.shards import INDEX, ROW_SCHEMA, read_rows

DATA = "data"
FACTS = {
    field.name: field.type for field in ROW_SCHEMA if field.name not in ("shard", "offset")
}  # columns of a recording
INDEX_SCHEMA = pa.schema([*FACTS.items(), ("file", pa.string()), ("row", pa.int64())])
FEATURE_FACTS = [*IDENTITY, "name", "status", "n_frames", CHECKSUM]


class Part(NamedTuple):
    """A file of features, a row per recording."""

    run: int  # number of the run; the row of a recording's last run counts
    first: int  # number of its first recording in that run
    path: Path


def parts_of(out: Path) -> list[Part]:
    """List the parts in `out`, first run first."""
    names = [(re.fullmatch(r"part-(\d{4,})-(\d{9,})\.parquet", path.name), path) for path in (out / DATA).glob("*")]
    return sorted(Part(int(name[1]), int(name[2]), path) for name, path in names if name)


def facts_of(part: Part, columns: Iterable[str] = INDEX_SCHEMA.names) -> pa.Table:
    """Read a part without its features, with the file's name and the number of each row."""
    wanted = [name for name in INDEX_SCHEMA.names if name in columns]
    try:
        table = read_rows(part.path, [*{"path", *wanted} & FACTS.keys()], pa.schema(FACTS.items()))
    except CumelError as error:
        raise CumelError(f"{part.path}: not usable ({error}); {REPAIR}") from None
    table = table.append_column("file", pa.array([part.path.name] * len(table), pa.string()))
    return table.append_column("row", pa.array(range(len(table)), pa.int64())).select(wanted)


def examine_parts(out: Path, *, advance: Callable[[int], None] = nothing) -> Findings:
    """Read all parts, and compare the features of each recording with their checksum, where its row counts."""
    findings, home, readable = Findings(), {}, []
    places = places_of(out, findings)
    for part in parts_of(out):
        try:
            facts = places.apply(facts_of(part, [*IDENTITY, "status"]), part.run)
        except CumelError as error:
            findings.add_file(part.path, error)
            continue
        for key, status in zip(keys_of(facts).to_pylist(), facts["status"].to_pylist(), strict=True):
            home[key] = None if status == DROPPED else part
        readable.append(part)
    findings.recordings = sum(part is not None for part in home.values())
    for part in readable:
        _examine_part(part, places, {key for key, newest in home.items() if newest is part}, findings)
        advance(1)
    return findings


def _examine_part(part: Part, places: Places, counting: set[str], findings: Findings) -> None:
    rows = [
        row if row["n_frames"] and key_of_row(row) in counting else None
        for row in places.apply(facts_of(part, FEATURE_FACTS), part.run).to_pylist()
    ]
    if not any(rows):
        return
    for row, frames in zip(rows, _frames(part.path), strict=True):
        if row is None:
            continue
        if frames is not None and frames_fit(row, frames):
            findings.count(row[CHECKSUM])
        else:
            what = f"the features of {row['path']} are not what was written"
            findings.add_row(row, part.path, damaged(part.path, what))


def _frames(path: Path) -> Iterator[NDArray | None]:
    """Yield the frames of each row, or None where they cannot be read; checksums are not compared here."""
    with pq.ParquetFile(path) as file:
        for i in range(file.num_row_groups):
            try:
                yield from _split(file.read_row_group(i, [FEATURES])[FEATURES].combine_chunks())
            except Exception:
                yield from [None] * file.metadata.row_group(i).num_rows


def _split(lists: pa.ListArray) -> list[NDArray]:
    size, values = 1, lists.values
    while pa.types.is_fixed_size_list(values.type):
        size, values = size * values.type.list_size, values.flatten()
    return np.split(values.to_numpy().reshape(-1, size), lists.offsets.to_numpy()[1:-1])


def mend(out: Path) -> tuple[dict[str, tuple[str, str]], list[Part]]:
    """Find the recordings whose features are damaged, and remove the parts whose other columns cannot be read.

    Returns
    -------
    dict of str to (str, str)
        The damaged recordings: key -> `place_of`.
    list of Part
        The removed parts.
    """
    broken, readable = [], set()
    for part in parts_of(out):
        try:
            facts_of(part)
            readable.add(part.path.name)
        except CumelError:
            part.path.unlink()
            broken.append(part)
    try:
        index = read_index(out)
    except CumelError:
        index = []
    gone = {key_of_row(row): place_of(row) for row in index if row["file"] not in readable}
    return gone | examine_parts(out).harmed, broken


def examine_part_index(out: Path, findings: Findings) -> None:
    """Check the index of a finished folder of parts."""
    try:
        if (out / INDEX).exists():
            read_index(out)
    except CumelError as error:
        findings.add_file(out / INDEX, CumelError(f"{out / INDEX}: damaged ({error}); {REWRITE}"))


def read_index(out: Path) -> list[dict[str, str]]:
    """Read which part holds each recording; a `CumelError`, with the reason alone, when the index is damaged."""
    columns = [*IDENTITY, "name"]
    table = read_sealed(out / INDEX, [*columns, "file"])
    return upgraded(table, ROW_SCHEMA, columns).append_column("file", table["file"]).to_pylist()
