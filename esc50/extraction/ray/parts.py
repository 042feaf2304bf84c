"""A folder of Parquet files that many processes write; each file is whole or missing, and is a checkpoint."""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ....kernels import CumelError
from ...inputs import RECORDING, Listing
from ...store import RAY_CONFIG as CONFIG, StoreConfig, StoredClip
from ...store.formats import GROUP_BYTES, NUMBERS, table_of
from ...store.places import Places
from ...store.rows import DROPPED, IDENTITY, Tables, merged, with_places
from ...store.seals import CHECKSUM, seal, write_sealed
from ...store.shards import INDEX
from ...store.takeover import settle, take_over
from ...system import LOCK, commit, replacing, unwritable
from ..job import Job, Result
from ..resume.compare import compare
from ..resume.folder import lost, not_both, places_that_fit, refuse_nothing, taken_again
from ..resume.row_arrays import RowArrays
from ..resume.todo import Todo
from ..short import failed
from .part_files import DATA, FACTS, INDEX_SCHEMA, facts_of, mend, parts_of


@dataclass
class PartsTodo(Todo):
    """What is left to do in a folder of parts."""

    run: int = 0  # number of this run


def part_path(out: Path, run: int, first: int) -> Path:
    """Path of a part; a part that is written again, after its writer died, has the same path."""
    return out / DATA / f"part-{run:04d}-{first:09d}.parquet"


def plan_parts(
    out: Path, config: StoreConfig, paths: Sequence[Path], *, overwrite: bool, retry_errors: bool, repair: bool = False
) -> PartsTodo:
    """Find out what is left to do in a folder whose lock is held; an empty folder is prepared.

    Raises
    ------
    CumelError
        When the folder holds something else, or other features.
    """
    not_both(overwrite=overwrite, retry_errors=retry_errors, repair=repair)
    settle(out)
    sweep(out)
    notes: list[str] = []
    if not (out / CONFIG).exists():
        if any(path.name != LOCK and path.suffix != ".part" for path in out.iterdir()):
            raise CumelError(f"{out}: is not empty and holds no features that Ray wrote; choose another --out")
        refuse_nothing(out, retry_errors=retry_errors, repair=repair)
    elif overwrite:
        take_over(out, config, name=CONFIG)
    else:
        notes = config.goes_on(out, CONFIG)
    harmed: dict[str, tuple[str, str]] = {}
    notes += places_that_fit(out, repair)
    if repair:
        harmed, broken = mend(out)
        notes += lost(part.path for part in broken if not (out / INDEX).exists())
        retry_errors = retry_errors or any(part.run for part in broken)  # older rows of their recordings count again
        notes += taken_again(len(harmed))
    (out / DATA).mkdir(exist_ok=True)
    if not (out / CONFIG).exists():
        config.save(out, CONFIG)
    listing = Listing.of(paths)
    todo = compare(listing.of_kind(RECORDING), rows_of(out), retry_errors=retry_errors, harmed=harmed)
    if len(todo.places):
        written = (facts_of(part, IDENTITY) for part in parts_of(out))
        Places.load(out).changed(todo.places, next_run(out), written).save(out)
    return PartsTodo.of(listing, todo, notes, run=next_run(out))


def next_run(out: Path) -> int:
    """Return the number of the next run."""
    return max([0, Places.load(out).number, *(1 + part.run for part in parts_of(out))])


def rows_of(out: Path) -> Tables:
    """Return the rows of all parts with places applied, without features, with the file and the row in it."""
    parts = parts_of(out)

    def tables(columns: list[str] | None) -> Iterator[tuple[int, pa.Table]]:
        for part in parts:
            yield part.run, facts_of(part, INDEX_SCHEMA.names if columns is None else columns)

    return with_places(tables, Places.load(out))


def write_part(path: Path, results: Iterable[Result], job: Job) -> list[Result]:
    """Write the features of `results`; returns the results without features.

    Raises
    ------
    CumelError
        When it cannot be written.
    """
    done: list[Result] = []
    group: list[StoredClip] = []
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
        seal(part)
    return done


def _write(path: Path, writer: pq.ParquetWriter | None, group: list[StoredClip]) -> pq.ParquetWriter:
    table = table_of(group, FACTS)
    writer = writer or pq.ParquetWriter(path, table.schema, write_page_checksum=True, **NUMBERS)
    writer.write_table(table)
    return writer


def _clip(result: Result, job: Job) -> tuple[StoredClip, Result]:
    frames = [np.empty((0, job.n_rows), job.stored)]
    try:
        frames += result.parts
    except CumelError as error:  # a long recording turns out bad at its end
        result, frames = failed(result, error), frames[:1]
    whole = frames[-1] if len(frames) == 2 else np.concatenate(frames)
    checksum = zlib.crc32(whole.data) if result.n_frames else None
    return StoredClip(result.facts(job.cfg.sr) | {"n_frames": result.n_frames, CHECKSUM: checksum}, whole), result


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Yield a unique temporary path, which becomes `path` when the block ends without an error."""
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
    """Remove the unfinished files of writers that died."""
    for unfinished in (out / DATA).glob(".part-*"):
        unfinished.unlink(missing_ok=True)


def drop(out: Path, job: Job) -> int:
    """Cancel the rows of failed recordings; returns their number."""
    arrays = RowArrays(rows_of(out))
    failing = [row for _, row in arrays.rows(np.flatnonzero(arrays.failed), list(FACTS))]
    nothing = np.empty((0, job.n_rows), job.stored)
    clips = [StoredClip(row | {"status": DROPPED, "error": None}, nothing) for row in failing]
    if clips:
        with _whole(part_path(out, next_run(out), 0)) as part:
            _write(part, None, clips).close()
            seal(part)
    return len(clips)


def write_part_index(out: Path) -> None:
    """Write the index: a row per recording with its columns, the file that holds it, and the row in that file."""
    sweep(out)
    with replacing(out / INDEX) as part:
        write_sealed(part, INDEX_SCHEMA, merged(rows_of(out)))
