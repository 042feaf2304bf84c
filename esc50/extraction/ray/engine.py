"""Extraction on a Ray cluster: Ray Data hands batches of paths to actors, which write the features as Parquet."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import torch

from ....kernels import CumelError, FeatureConfig, UnavailableError, need
from ...audio import resampler_on
from ...inputs import Entry, Keys, Listing
from ...system import Hold, bar, device_fault, first_line, give_back_memory, locked, ordered
from ..counts import Counts
from ..gpu import on_device
from ..job import Job, Result
from ..local import HELD_BYTES, config_of
from ..long import Helpers
from ..short import begin, failed, take
from .attempts import Attempts
from .parts import PartsTodo, drop, part_path, plan_parts, write_part, write_part_index

BATCH_FILES = 128  # recordings in a batch, and so in a Parquet file
SECONDS = 10.0  # time for a cluster to answer
FAILED, LACKING = -1, -2  # numbers that stand for the end of the whole run
ENDS = {FAILED: CumelError, LACKING: UnavailableError}
RETURNED = pa.schema(
    [
        ("number", pa.int64()),
        ("key", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("n_samples", pa.int64()),
        ("n_frames", pa.int64()),
        ("silent", pa.bool_()),
        ("error", pa.string()),
    ]
)


def extract_on_ray(
    paths: Sequence[Path],
    out: Path,
    cfg: FeatureConfig,
    *,
    kind: str = "logmel",
    dtype: str = "float32",
    device: str = "auto",
    address: str | None = None,
    workers: int = 2,
    overwrite: bool = False,
    retry_errors: bool = False,
    drop_errors: bool = False,
    repair: bool = False,
    quiet: bool = False,
    batch_files: int = BATCH_FILES,
) -> dict[str, Any]:
    """Extract the features of `paths` on a Ray cluster into Parquet files in `out`; what is there is not done again.

    Each file is written whole or not at all, and is the checkpoint of its recordings: a row each, with the columns
    of a store's index and ``features`` [n_frames, n_rows]. The numbers are those of `extract`, to the last bit.

    Parameters
    ----------
    paths : sequence of path
        On a disk that every machine of the cluster sees, as `out` is.
    out : Path
    cfg : FeatureConfig
    kind, dtype, retry_errors, drop_errors, repair, quiet
        As `extract` takes them.
    overwrite : bool
        Start over where `out` holds such files; they are removed at once.
    device : str
        ``auto``: an actor per GPU where the cluster has GPUs, else one per CPU; ``cpu`` or ``cuda`` demand it.
    address : str, optional
        Address of the cluster; without one, Ray runs on this machine until the call returns.
    workers : int
        CPUs that Ray uses on this machine, without an `address`; threads that decode for each GPU.
    batch_files : int
        Recordings that an actor takes at a time.

    Returns
    -------
    dict
        The report of `extract`.

    Raises
    ------
    CumelError
        As `extract`.
    UnavailableError
        When Ray is not installed, no cluster answers at `address`, or it has no GPU and `device` is cuda.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise CumelError(f"--device {device}: must be auto, cpu or cuda with --engine ray, which chooses among GPUs")
    config = config_of(cfg, kind, dtype, torch.device("cpu"))
    if not paths:
        raise CumelError("no recordings given; name files or folders")
    ray = need("ray", __name__)
    need("ray.data", __name__)
    out = out.absolute()
    with _cluster(ray, address, workers) as cluster:
        on_gpu = cluster.gpus > 0 if device == "auto" else device == "cuda"
        if on_gpu and not cluster.gpus:
            raise UnavailableError("--device cuda: the Ray cluster has no GPU; --device cpu does without")
        n_actors = cluster.gpus if on_gpu else max(1, cluster.cpus)
        where = f"ray: {n_actors} actors with a {'GPU' if on_gpu else 'CPU'} each, on {cluster.machines} machines"
        place = torch.device("cuda" if on_gpu else "cpu")
        config = replace(config, device=where, resampler=resampler_on(place))
        with locked(out):
            todo = plan_parts(out, config, paths, overwrite=overwrite, retry_errors=retry_errors, repair=repair)
            give_back_memory()
            counts = Counts(cfg.sr)
            counts.refuse(todo.unusable)
            job = Job(kind, config.dtype, cfg, place, out)
            with bar("extracting", len(todo.paths), "files", quiet=quiet or not todo.paths) as advance:
                for result in _results(ray, todo, job, n_actors, workers if on_gpu else 1, batch_files):
                    counts.add(result)
                    advance(note=counts)
            if drop_errors:
                counts.dropped = drop(out, job)
            write_part_index(out)
    return counts.report(todo, config, out)


class _Cluster(NamedTuple):
    """Resources of a cluster."""

    cpus: int
    gpus: int
    machines: int


@contextmanager
def _cluster(ray: Any, address: str | None, workers: int) -> Iterator[_Cluster]:
    """Join a cluster, or start one here; leave it as it was."""
    begun = not ray.is_initialized()
    if begun:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray sends usage statistics by default
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        options = {"num_cpus": workers, "include_dashboard": False} if address is None else {}
        try:
            _knock(address)
            ray.init(address or "local", log_to_driver=False, logging_level="ERROR", **options)
        except (OSError, RuntimeError, ValueError) as error:
            named = "Ray does not start here" if address is None else f"--address {address}: no Ray cluster answers"
            raise UnavailableError(f"{named} ({first_line(error)})") from None
    try:
        has = ray.cluster_resources()
        machines = sum(node["Alive"] for node in ray.nodes())
        yield _Cluster(int(has.get("CPU", 0)), int(has.get("GPU", 0)), machines)
    finally:
        if begun:
            ray.shutdown()


def _knock(address: str | None) -> None:
    """Raise an `OSError` where nothing answers at all: Ray itself would try for minutes."""
    host, colon, port = (address or "").rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS).close()


def _results(ray: Any, todo: PartsTodo, job: Job, n_actors: int, threads: int, batch_files: int) -> Iterator[Result]:
    """Yield what comes of each recording, in no order, once it is on disk."""
    n_done, goes_on = 0, "what was complete before is kept, and the same call goes on from there"
    try:
        for row in _rows(ray, todo, job, n_actors, threads, batch_files) if todo.paths else ():
            number = row.pop("number")
            if number < 0:
                raise ENDS[number](f"{row['error']}; {goes_on}")
            n_done += 1
            yield Result(todo.paths[number], **row)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{job.spill} keeps {todo.kept + n_done} files; the same call goes on") from None
    except ray.exceptions.RayError as error:
        raise CumelError(f"Ray stopped ({str(error).strip().splitlines()[-1]}); {goes_on}") from error


def _rows(
    ray: Any, todo: PartsTodo, job: Job, n_actors: int, threads: int, batch_files: int
) -> Iterator[dict[str, Any]]:
    on_gpu = job.device.type == "cuda"
    batches = [
        _batch(range(len(todo.paths))[i : i + batch_files], todo.paths) for i in range(0, len(todo.paths), batch_files)
    ]
    with _settings(ray):
        dataset = ray.data.from_arrow(batches).map_batches(
            _Extractor,
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=n_actors, initial_size=n_actors),
            fn_constructor_args=(job.kind, job.stored, job.cfg, job.device.type, job.spill, todo.run, threads),
            num_cpus=0 if on_gpu else 1,
            num_gpus=1 if on_gpu else 0,
        )
        for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from table.to_pylist()


def _batch(numbers: range, paths: Listing) -> pa.Table:
    """Return recordings as the table that a worker takes; paths are bytes, as they need not be UTF-8."""
    entries = [paths.entry(number) for number in numbers]
    return pa.table(
        {
            "number": numbers,
            "path": [os.fsencode(entry.path.absolute()) for entry in entries],
            "name": [os.fsencode(entry.name) for entry in entries],
            "also": pa.array([entry.also for entry in entries], pa.list_(pa.string())),
        }
    )


@contextmanager
def _settings(ray: Any) -> Iterator[None]:
    """Keep Ray Data quiet."""
    context, log = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    before = context.enable_progress_bars, log.level
    try:
        context.enable_progress_bars = False
        log.setLevel(logging.ERROR)
        yield
    finally:
        context.enable_progress_bars = before[0]
        log.setLevel(before[1])


class _Extractor:
    """An actor: writes a Parquet file for each batch of paths, and returns what came of them."""

    def __init__(  # parts of a Job, as a Job itself cannot always be sent to another process
        self, kind: str, stored: str, cfg: FeatureConfig, device: str, out: Path, run: int, threads: int
    ) -> None:
        self.job = Job(kind, stored, cfg, torch.device(device), out)
        self.run = run
        self.threads = threads
        self.key_of = Keys()
        self.start = partial(torch.set_num_threads, 1)
        self.start()
        self.helpers = Helpers(threads, self.start)

    def __call__(self, batch: pa.Table) -> pa.Table:
        numbers = batch["number"].to_pylist()
        entries = [
            Entry(Path(os.fsdecode(row["path"])), os.fsdecode(row["name"]), tuple(row["also"]))
            for row in batch.to_pylist()
        ]
        part = part_path(self.job.spill, self.run, numbers[0])
        try:
            attempts = Attempts(part.with_name(f".{part.stem}.tries"))
            with closing(self._results(list(zip(numbers, entries, strict=True)), attempts)) as results:
                done = write_part(part, results, self.job)
            attempts.done()
        except Exception as error:  # a full disk or a faulty device ends the whole run
            reason = error if isinstance(error, CumelError | OSError) else device_fault(error, self.job.device)
            if reason is None:
                raise
            number = LACKING if isinstance(reason, UnavailableError) else FAILED
            return pa.Table.from_pylist([{"number": number, "error": str(reason)}], schema=RETURNED)
        rows = [{name: getattr(result, name) for name in RETURNED.names[1:]} for result in done]
        return pa.Table.from_pylist(
            [{"number": number} | row for number, row in zip(numbers, rows, strict=True)], schema=RETURNED
        )

    def _results(self, items: list[tuple[int, Entry]], attempts: Attempts) -> Generator[Result]:
        def take_one(item: tuple[int, Entry], hold: Hold) -> Result:
            number, entry = item
            begun = begin(entry, self.key_of)
            if number in attempts.blamed:
                return failed(begun, CumelError("kills the worker that reads it; leave it out"))
            attempts.taking(number)
            result = take(begun, hold, self.job, self.helpers)
            hold(result.n_bytes)
            return result

        threads = 1 if attempts.careful else self.threads
        read = ordered(items, take_one, threads, HELD_BYTES, self.start)
        return on_device(read, self.job) if self.job.device.type == "cuda" else read
