"""Features as Parquet files that many processes write: each file is whole or not there, and what it holds is done."""

from __future__ import annotations

import re
import uuid
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
from ..store.formats import GROUP_BYTES, NUMBERS, table_of
from ..store.shards import INDEX, SCHEMA, Row
from .compute import failed
from .job import Job, Result
from .lock import LOCK
from .resume import Facts, is_stale, not_both

CONFIG, DATA = "ray.json", "data"
FACTS = {field.name: field.type for field in SCHEMA if field.name not in ("shard", "offset")}  # of a recording


class Part(NamedTuple):
    """A file of features, a row per recording."""

    run: int  # a later run's row of a recording counts
    first: int  # number of its first recording in that run
    path: Path


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


def parts_of(out: Path) -> list[Part]:
    """List the parts in `out`, first run first."""
    names = [(re.fullmatch(r"part-(\d{4,})-(\d{9,})\.parquet", path.name), path) for path in (out / DATA).glob("*")]
    return sorted(Part(int(name[1]), int(name[2]), path) for name, path in names if name)


def plan(out: Path, config: StoreConfig, paths: list[Path], *, overwrite: bool, retry_errors: bool) -> Plan:
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
        for path in (out / INDEX, *(part.path for part in parts_of(out)), out / CONFIG):
            path.unlink(missing_ok=True)
    else:
        notes = config.goes_on(out, CONFIG)
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
        if key not in done or (retry_errors and is_stale(path, done[key])):
            todo.setdefault(key, path)
    kept = done.keys() - todo.keys()
    failed_before = sum(done[key][0] == "error" for key in kept)
    return Plan(list(todo.values()), 1 + max((part.run for part in found), default=-1), len(kept), failed_before, notes)


def facts_of(part: Part, columns: Iterable[str] = FACTS) -> pa.Table:
    """Read a part without its features."""
    try:
        with pq.ParquetFile(part.path) as file:
            return file.read(list(columns))
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise CumelError(f"{part.path}: not usable ({reason}); delete it to extract its recordings again") from None


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


def write_part_index(out: Path) -> None:
    """Write a row per recording: its facts, the file that holds it, and which row of that it is."""
    rows: dict[str, Row] = {}
    for part in parts_of(out):
        for number, row in enumerate(facts_of(part).to_pylist()):
            rows[row["path"]] = row | {"file": part.path.name, "row": number}
    schema = pa.schema([*FACTS.items(), ("file", pa.string()), ("row", pa.int64())])
    sweep(out)
    with replacing(out / INDEX) as part:
        pq.write_table(pa.Table.from_pylist(list(rows.values()), schema=schema), part)
