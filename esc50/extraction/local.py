"""Extraction on this machine: many recordings into a store; a failed recording becomes a row with its reason."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import soundfile
import torch

from ...kernels import CumelError, FeatureConfig, UnavailableError
from ..audio import resampler_on
from ..inputs import Listing
from ..store import StoreConfig
from ..store.rows import DROPPED
from ..store.shards import INDEX, ROW_SCHEMA, rows_of, sidecars, write_index
from ..store.takeover import take_over
from ..store.writer import SHARD_BYTES, ShardWriter
from ..system import (
    Stop,
    StoppedError,
    ahead,
    bar,
    defaults,
    describe,
    device_fault,
    flat,
    give_back_memory,
    keep_freed_memory,
    locked,
    ordered,
    stoppable,
)
from .counts import Counts
from .gpu import on_device
from .job import KINDS, Job, Result
from .long import Helpers
from .resume.folder import StoreTodo, check_place, plan_store
from .resume.row_arrays import RowArrays
from .short import failed, groups, take_group

HELD_BYTES = 256 << 20  # recordings and features in memory at a time, besides one recording
PACKAGES = ("cumel", "numpy", "soundfile", "soxr", "torch", "torchaudio")


@defaults()
def extract(
    paths: Sequence[Path],
    out: Path,
    cfg: FeatureConfig,
    *,
    kind: str = "logmel",
    dtype: str = "float32",
    device: torch.device,
    workers: int = 2,
    overwrite: bool = False,
    retry_errors: bool = False,
    drop_errors: bool = False,
    repair: bool = False,
    quiet: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> dict[str, Any]:
    """Extract the features of `paths`, in order, into the store `out`; unchanged recordings keep their rows.

    Parameters
    ----------
    paths : sequence of path
        A list, or what `inputs.resolve` found.
    out : Path
        Folder of the store.
    cfg : FeatureConfig
    kind : {"logmel", "mel", "stft", "mfcc", "image"}
    dtype : {"float32", "float16"}
        The shards' dtype; an image is always uint8, an STFT complex64.
    device : torch.device
    workers : int
        Threads that decode; on the CPU they compute as well.
    overwrite : bool
        Start over where `out` holds a store; it is removed when the first new shard is on disk.
    retry_errors : bool
        Where `out` holds a store, also extract again what failed.
    drop_errors : bool
        Remove the rows of all failed recordings, of this run or earlier ones, in `paths` or not.
    repair : bool
        Where `out` holds a store, read all of it and also extract again what is damaged, in `paths` or not.
    quiet : bool
        Show no progress.
    shard_bytes : int
        A shard ends with the recording that reaches this.

    Returns
    -------
    dict
        The report: counts, seconds of audio and of work, and the list of failures (path, error) among `paths`, in this
        run or before.

    Raises
    ------
    CumelError
        For an unknown kind or dtype, a config that no clip could satisfy, or a store that may not be touched.
    StoppedError
        After Ctrl-C or SIGTERM. What was done is kept, and the next call makes of it the bytes of a call that was never
        stopped.
    """
    config = config_of(cfg, kind, dtype, device)
    if not paths:
        raise CumelError("no recordings given; name files or folders")
    check_place(out, overwrite=overwrite, retry_errors=retry_errors, repair=repair)
    with locked(out):
        todo = plan_store(out, config, paths, overwrite=overwrite, retry_errors=retry_errors, repair=repair)
        give_back_memory()
        counts, n_files = Counts(cfg.sr), len(todo.new) + len(todo.again)
        counts.refuse(todo.unusable)
        if n_files and not todo.overwrites:
            (out / INDEX).unlink(missing_ok=True)  # an index says that the store is finished
        job = Job(kind, config.dtype, cfg, device, out)
        with (
            stoppable("the current recording") as stop,
            bar("extracting", n_files, "files", quiet=quiet or not n_files) as advance,
        ):
            run = _Run(job, config, todo, counts, stop, advance)
            writer = partial(
                ShardWriter, out, job.n_rows, job.stored, shard_bytes=shard_bytes, written=job.buffers.give
            )
            run.extract(todo.new, workers, writer(todo.number))
            run.extract(todo.again, workers, writer(todo.number + counts.shards, again=True))
            if drop_errors:
                run.drop(writer(todo.number + counts.shards, again=True))
        if not (out / INDEX).exists():
            run.commit(lambda: write_index(out))
    return counts.report(todo, config, out)


def config_of(cfg: FeatureConfig, kind: str, dtype: str, device: torch.device) -> StoreConfig:
    """Make the config of a store; a `CumelError` for settings that fail for every recording."""
    if kind not in KINDS:
        raise CumelError(f"--features {kind}: must be one of {', '.join(KINDS)}")
    if dtype not in ("float32", "float16"):
        raise CumelError(f"--dtype {dtype}: must be float32 or float16")
    y = np.zeros(max(cfg.n_fft, cfg.least_samples), np.float32)
    KINDS[kind](y, cfg)  # a config that is wrong for every clip fails here, once
    stored = {"image": "uint8", "stft": "complex64"}.get(kind, dtype)
    if dtype == "float16" and stored != "float16":
        raise CumelError(f"--dtype float16: --features {kind} is stored as {stored}; leave --dtype away")
    return StoreConfig(
        kind,
        stored,
        cfg,
        {name: version(name) for name in PACKAGES},
        describe(device),
        decoder=f"libsndfile {soundfile.__libsndfile_version__}",
        resampler=resampler_on(device),
    )


@dataclass
class _Run:
    """One run: threads read (and compute on the CPU), one more computes on a CUDA device, the caller's writes."""

    job: Job
    config: StoreConfig
    todo: StoreTodo
    counts: Counts
    stop: Stop
    advance: Callable[..., None]

    def extract(self, paths: Listing, workers: int, writer: ShardWriter) -> None:
        """Extract `paths` into the writer's shards, up to where the user asks to stop."""
        if not paths:
            return
        keep_freed_memory()
        helpers, threads = Helpers(workers, _one_thread), torch.get_num_threads()
        results = self._results(paths, workers, helpers)
        try:
            if self.todo.opened is not None:
                self.commit(partial(writer.go_on, self.todo.opened))
                self.todo.opened = None
                if writer.is_full:
                    self._finish(writer)
            for result in self.stop.each(results):
                self._write(result, writer)
                if writer.is_full:
                    self._finish(writer)
                if self.stop.asked:
                    raise KeyboardInterrupt
            if writer.rows:
                self._finish(writer)
        except KeyboardInterrupt:
            self._keep(writer)
        except OSError as error:
            self._stop(writer.explain(error))
        except Exception as error:
            fault = error if isinstance(error, UnavailableError) else device_fault(error, self.job.device)
            if fault is None:
                raise
            if writer.rows:
                self._finish(writer, is_open=True)
            self._stop(fault)
        finally:
            results.close()
            writer.drop()
            helpers.close()
            torch.set_num_threads(threads)

    def drop(self, writer: ShardWriter) -> None:
        """Cancel the rows of failed recordings."""
        arrays = RowArrays(rows_of(sidecars(self.job.spill)))
        for _, row in arrays.rows(np.flatnonzero(arrays.failed), ROW_SCHEMA.names):
            if not self.counts.dropped:
                (self.job.spill / INDEX).unlink(missing_ok=True)
            writer.add(row | {"status": DROPPED, "error": None}, ())
            self.counts.dropped += 1
            if writer.is_full:
                self.commit(writer.finish)
        if writer.rows:
            self.commit(writer.finish)
        writer.drop()

    def _results(self, paths: Listing, workers: int, helpers: Helpers) -> Generator[Result]:
        take = partial(take_group, job=self.job, helpers=helpers)
        read = flat(ordered(groups(paths, workers), take, workers, HELD_BYTES, _one_thread))
        if self.job.device.type != "cuda":
            return read
        return ahead(on_device(read, self.job), lambda result: result.n_bytes, HELD_BYTES)

    def _write(self, result: Result, writer: ShardWriter) -> None:
        if result.error is None:
            try:
                writer.add(result.facts(self.job.cfg.sr), self.stop.each(result.parts))
            except CumelError as error:
                result = failed(result, error)
        if result.error is not None:
            writer.add(result.facts(self.job.cfg.sr), ())
        self.counts.add(result)
        self.advance(note=self.counts)

    def _finish(self, writer: ShardWriter, *, is_open: bool = False) -> None:
        finish = partial(writer.finish, is_open=is_open)
        if self.todo.overwrites and not self.counts.shards:
            self.commit(lambda: take_over(self.job.spill, self.config, finish))
        else:
            self.commit(finish)
        self.counts.shards += 1

    def _keep(self, writer: ShardWriter) -> NoReturn:
        """Leave the shard open for the next run, and say how to go on."""
        out, done = self.job.spill, self.counts.files - len(self.todo.unusable)
        if writer.rows:
            self._finish(writer, is_open=True)
        if self.todo.overwrites and not done:
            raise StoppedError(f"interrupted: {out} is as it was; the same call starts over")
        which = " without --overwrite" if self.todo.overwrites else ""
        raise StoppedError(f"interrupted: {out} keeps {self.todo.kept + done} files; the same call{which} goes on")

    def commit(self, write: Callable[[], None]) -> None:
        """Write what makes finished work count; a full disk says what is kept."""
        try:
            write()
        except CumelError as error:
            self._stop(error)

    def _stop(self, error: CumelError) -> NoReturn:
        free = shutil.disk_usage(self.job.spill).free >> 20
        raise type(error)(
            f"{error} (disk: {free} MB free; what was complete before is kept, and the same call goes on from there)"
        ) from None


def _one_thread() -> None:
    torch.set_num_threads(1)  # each of our threads computes with one thread of torch


def parse_shard(text: str) -> tuple[int, int]:
    """Read ``i/n`` as (i, n), with 1 <= i <= n."""
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
        raise CumelError(f"--shard {text}: must be i/n with 1 <= i <= n, as in 2/8")
    return int(i), int(n)


def my_share(paths: Sequence[Path], shard: str | None) -> Sequence[Path]:
    """Keep every n-th of `paths`, from the i-th on, for a shard ``i/n``; all of them without one."""
    if shard is None:
        return paths
    i, n = parse_shard(shard)
    return paths[i - 1 :: n]
