"""Features as Parquet files that many processes write: each file is whole or not there, and what it holds is done."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...kernels import CumelError
from ..files import commit, replacing, unwritable
from ..listing import RECORDING, Listing
from ..store import StoreConfig
from ..store.clips import Clip
from ..store.formats import GROUP_BYTES, NUMBERS, table_of
from ..store.places import PLACES, Places
from ..store.rows import DROPPED, Tables, merged, upgraded, with_places
from ..store.shards import INDEX, SCHEMA
from .compare import Known, compare
from .compute import failed
from .job import Job, Result
from .lock import LOCK
from .resume import not_both
from .todo import Todo

CONFIG, DATA = "ray.json", "data"
FACTS = {field.name: field.type for field in SCHEMA if field.name not in ("shard", "offset")}  # of a recording
INDEX_SCHEMA = pa.schema([*FACTS.items(), ("file", pa.string()), ("row", pa.int64())])


class Part(NamedTuple):
    """A file of features, a row per recording."""

    run: int  # a later run's row of a recording counts
    first: int  # number of its first recording in that run
    path: Path


@dataclass
class Plan(Todo):
    """What is left to do."""

    run: int = 0  # number of this run


def part_path(out: Path, run: int, first: int) -> Path:
    """Name of a part; a part that is written once more, after its writer died, has the same."""
    return out / DATA / f"part-{run:04d}-{first:09d}.parquet"


def parts_of(out: Path) -> list[Part]:
    """List the parts in `out`, first run first."""
    names = [(re.fullmatch(r"part-(\d{4,})-(\d{9,})\.parquet", path.name), path) for path in (out / DATA).glob("*")]
    return sorted(Part(int(name[1]), int(name[2]), path) for name, path in names if name)


def plan(out: Path, config: StoreConfig, paths: Sequence[Path], *, overwrite: bool, retry_errors: bool) -> Plan:
    """Find out what is left to do in a folder whose lock is held; makes it ready when it is new.

    Raises
    ------
    CumelError
        When the folder holds something else, or other features.
    """
    not_both(overwrite=overwrite, retry_errors=retry_errors)
    sweep(out)
    notes: list[str] = []
    if not (out / CONFIG).exists():
        if any(path.name != LOCK and path.suffix != ".part" for path in out.iterdir()):
            raise CumelError(f"{out}: is not empty and holds no features that Ray wrote; choose another --out")
        if retry_errors:
            raise CumelError(f"{out}: holds no features to retry; leave --retry-errors away")
    elif overwrite:
        for path in (out / INDEX, out / PLACES, *(part.path for part in parts_of(out)), out / CONFIG):
            path.unlink(missing_ok=True)
    else:
        notes = config.goes_on(out, CONFIG)
    (out / DATA).mkdir(exist_ok=True)
    if not (out / CONFIG).exists():
        config.save(out, CONFIG)
    listing = Listing.of(paths)
    todo = compare(listing.of_kind(RECORDING), rows_of(out), retry_errors=retry_errors)
    if len(todo.places):
        Places.load(out).changed(todo.places).save(out)
    return Plan.of(listing, todo, notes, run=next_run(out))


def next_run(out: Path) -> int:
    """Return the number of a run that begins now."""
    return 1 + max((part.run for part in parts_of(out)), default=-1)


def rows_of(out: Path) -> Tables:
    """Return what the parts say of their recordings now, without features: also the file, and which row of it."""
    found = parts_of(out)

    def tables(columns: list[str] | None) -> Iterator[pa.Table]:
        for part in found:
            table = facts_of(part, [name for name in INDEX_SCHEMA.names if columns is None or name in columns])
            yield table

    return with_places(tables, Places.load(out))


def facts_of(part: Part, columns: Iterable[str]) -> pa.Table:
    """Read a part without its features, with the file's name and the number of each row."""
    try:
        with pq.ParquetFile(part.path) as file:
            table = file.read([name for name in columns if name in FACTS])
            n = file.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise CumelError(f"{part.path}: not usable ({reason}); delete it to extract its recordings again") from None
    table = table.append_column("file", pa.array([part.path.name] * n, pa.string()))
    table = table.append_column("row", pa.array(range(n), pa.int64()))
    return upgraded(table, INDEX_SCHEMA, list(columns))


def write_part(path: Path, results: Iterable[Result], job: Job) -> list[Result]:
    """Write the features of `results`; returns what came of each, without its features.

    Raises
    ------
    CumelError
        When it cannot be written.
    """
    done: list[Result] = []
    group: list[Clip] = []
    n_bytes, writer = 0, None
    with _whole(path) as part:
        try:
            for result in results:
                clip, result = _clip(result, job)
                done.append(result._replace(parts=(), n_bytes=0))
                group.append(clip)
                n_bytes += clip.frames.nbytes
                if n_bytes >= GROUP_BYTES:
                    writer = _write(part, writer, group)
                    group, n_bytes = [], 0
            if group or writer is None:
                writer = _write(part, writer, group)
        finally:
            if writer is not None:
                writer.close()
    return done


def _write(path: Path, writer: pq.ParquetWriter | None, group: list[Clip]) -> pq.ParquetWriter:
    table = table_of(group, FACTS)
    writer = writer or pq.ParquetWriter(path, table.schema, **NUMBERS)
    writer.write_table(table)
    return writer


def _clip(result: Result, job: Job) -> tuple[Clip, Result]:
    frames = [np.empty((0, job.n_rows), job.stored)]
    try:
        frames += result.parts
    except CumelError as error:  # a long recording turns out bad at its end
        result, frames = failed(result, error), frames[:1]
    row = result.facts(job.cfg.sr) | {"n_frames": result.n_frames}
    return Clip(row, frames[-1] if len(frames) == 2 else np.concatenate(frames)), result


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Yield a name that no other process has; what is written there becomes `path` when the block ends well."""
    part = path.with_name(f".{path.stem}-{uuid.uuid4().hex}.tmp")
    try:
        yield part
        commit(part, path)
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        with suppress(OSError):
            part.unlink()


def sweep(out: Path) -> None:
    """Remove what writers that died left unfinished."""
    for unfinished in (out / DATA).glob(".part-*"):
        unfinished.unlink(missing_ok=True)


def drop(out: Path, job: Job) -> int:
    """Take back the rows of what failed; returns how many there were."""
    known = Known(rows_of(out))
    failing = [row for _, row in known.rows(np.flatnonzero(known.failed), list(FACTS))]
    nothing = np.empty((0, job.n_rows), job.stored)
    clips = [Clip(row | {"status": DROPPED, "error": None}, nothing) for row in failing]
    if clips:
        with _whole(part_path(out, next_run(out), 0)) as part:
            _write(part, None, clips).close()
    return len(clips)


def write_part_index(out: Path) -> None:
    """Write a row per recording: its facts, the file that holds it, and which row of that it is."""
    sweep(out)
    with replacing(out / INDEX) as part, pq.ParquetWriter(part, INDEX_SCHEMA) as writer:
        for table in merged(rows_of(out)):
            writer.write_table(table)
