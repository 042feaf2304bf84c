"""Features as Parquet files that many processes write: each file is whole or not there, and what it holds is done."""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...kernels import CumelError
from ..files import commit, replacing, unwritable
from ..store import StoreConfig, key_of
from ..store.clips import Clip
from ..store.config import RAY_CONFIG as CONFIG
from ..store.formats import GROUP_BYTES, NUMBERS, table_of
from ..store.seals import CHECKSUM, seal, write_sealed
from ..store.shards import INDEX, Row
from ..store.takeover import settle, take_over
from .compute import failed
from .job import Job, Result
from .lock import LOCK
from .partfiles import DATA, FACTS, facts_of, mend, parts_of
from .resume import Facts, is_stale, lost, not_both, refuse_nothing


class Plan(NamedTuple):
    """What is left to do."""

    paths: list[Path]
    run: int  # number of this run
    kept: int  # recordings whose rows stay
    failed_before: int  # of the kept ones
    notes: list[str]


def part_path(out: Path, run: int, first: int) -> Path:
    """Name of a part; a part that is written once more, after its writer died, has the same."""
    return out / DATA / f"part-{run:04d}-{first:09d}.parquet"


def plan(
    out: Path, config: StoreConfig, paths: list[Path], *, overwrite: bool, retry_errors: bool, repair: bool = False
) -> Plan:
    """Find out what is left to do in a folder whose lock is held; makes it ready when it is new.

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
    harmed: set[str] = set()
    if repair:
        harmed, broken = mend(out)
        notes += lost(part.path for part in broken if not (out / INDEX).exists())
        retry_errors = retry_errors or any(part.run for part in broken)  # the rows before theirs count again
        notes += [f"{len(harmed)} recordings whose features were damaged are taken again"] * bool(harmed)
    (out / DATA).mkdir(exist_ok=True)
    if not (out / CONFIG).exists():
        config.save(out, CONFIG)
    found = parts_of(out)
    done: dict[str, Facts] = {}
    for part in found:
        for row in facts_of(part, ("path", "status", "size", "mtime_ns")).to_pylist():
            done[row["path"]] = (row["status"], (row["size"], row["mtime_ns"]))
    todo: dict[str, Path] = {}
    for path in paths:
        key = key_of(path)
        if key not in done or key in harmed or (retry_errors and is_stale(path, done[key])):
            todo.setdefault(key, path)
    for key in harmed - todo.keys():
        todo[key] = Path(key)
    kept = done.keys() - todo.keys()
    failed_before = sum(done[key][0] == "error" for key in kept)
    return Plan(list(todo.values()), 1 + max((part.run for part in found), default=-1), len(kept), failed_before, notes)


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
        seal(part)
    return done


def _write(path: Path, writer: pq.ParquetWriter | None, group: list[Clip]) -> pq.ParquetWriter:
    table = table_of(group, FACTS)
    writer = writer or pq.ParquetWriter(path, table.schema, write_page_checksum=True, **NUMBERS)
    writer.write_table(table)
    return writer


def _clip(result: Result, job: Job) -> tuple[Clip, Result]:
    frames = [np.empty((0, job.n_rows), job.stored)]
    try:
        frames += result.parts
    except CumelError as error:  # a long recording turns out bad at its end
        result, frames = failed(result, error), frames[:1]
    whole = frames[-1] if len(frames) == 2 else np.concatenate(frames)
    checksum = zlib.crc32(whole.data) if result.n_frames else None
    return Clip(result.facts(job.cfg.sr) | {"n_frames": result.n_frames, CHECKSUM: checksum}, whole), result


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


def write_part_index(out: Path) -> None:
    """Write a row per recording: its facts, the file that holds it, and which row of that it is."""
    rows: dict[str, Row] = {}
    for part in parts_of(out):
        for number, row in enumerate(facts_of(part).to_pylist()):
            rows[row["path"]] = row | {"file": part.path.name, "row": number}
    schema = pa.schema([*FACTS.items(), ("file", pa.string()), ("row", pa.int64())])
    sweep(out)
    with replacing(out / INDEX) as part:
        write_sealed(part, schema, [pa.Table.from_pylist(list(rows.values()), schema=schema)])
