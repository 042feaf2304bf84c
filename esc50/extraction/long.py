"""Recordings too long for memory: features piece by piece; what depends on all of them takes a second pass."""

from __future__ import annotations

import tempfile
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import reduce
from threading import Semaphore

import numpy as np
import torch
from numpy.typing import NDArray

from ...kernels import FeatureConfig, log_mel
from ...kernels.normalization import joined, merged, moments_of_bands, normalized
from ...kernels.tensors import band_values, cepstra, stretch
from ..audio import Pcm, Recording, Span, spans
from ..system import write_all
from .job import KINDS, PIECE_BYTES, Job, Result


class Helpers:
    """Threads that compute pieces for the readers of long recordings; a reader computes itself if none is free."""

    def __init__(self, n: int, start: Callable[[], None]) -> None:
        self.n = n
        self._free = Semaphore(n)
        self._pool = ThreadPoolExecutor(n, "cumel-piece", start)

    def map(self, compute: Callable[[Span], NDArray], pieces: Iterable[Span]) -> Iterator[NDArray]:
        """Yield ``compute(piece)`` of each piece, in order; all callers together have at most `n` in the threads."""
        pending: deque[Future[NDArray] | NDArray] = deque()

        def first() -> NDArray:
            done = pending.popleft()
            if not isinstance(done, Future):
                return done
            try:
                return done.result()
            finally:
                self._free.release()

        try:
            for piece in pieces:
                shared = self._free.acquire(blocking=False)
                pending.append(self._pool.submit(compute, piece) if shared else compute(piece))
                while len(pending) > (self.n if shared else 1):
                    yield first()
            while pending:
                yield first()
        finally:
            for job in pending:
                if isinstance(job, Future):
                    job.cancel()
                    self._free.release()

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)


class Spill:
    """Frames ``[n, n_rows]`` in a nameless file in `job.spill`, which is removed together with this object."""

    def __init__(self, job: Job, n_rows: int, dtype: str) -> None:
        self.n_rows, self.dtype, self._buffers = n_rows, np.dtype(dtype), job.buffers
        self._file = tempfile.TemporaryFile(dir=job.spill, buffering=0)  # noqa: SIM115
        weakref.finalize(self, self._file.close)

    def add(self, frames: NDArray) -> None:
        """Append frames."""
        write_all(self._file.fileno(), [frames])

    def __iter__(self) -> Iterator[NDArray]:
        """Yield all frames, from the first on."""
        row_bytes = self.n_rows * self.dtype.itemsize
        self._file.seek(0)
        while True:
            block = self._buffers.take((max(1, PIECE_BYTES // row_bytes), self.n_rows), self.dtype)
            n = self._file.readinto(block.data.cast("B")) // row_bytes
            if not n:
                return
            yield block[:n]


def _nothing() -> None: ...


def of_stream(
    result: Result, recording: Recording, job: Job, helpers: Helpers, go_on: Callable[[], None] = _nothing
) -> Result:
    """Compute the features of an opened recording that is never held whole; `result` names it.

    The numbers are those of the whole recording at once. Only MFCC, made by a matrix product, and what is normalized,
    or has a mean of each band, may have their last bit rounded differently. Between the passes the frames lie in a
    nameless file in `job.spill`. `go_on` is called before each block; what it raises ends the work.

    Raises
    ------
    InputError
        As `audio.Recording`, and as the feature's function.
    OSError
        When there is no room for that file.
    """
    cfg = job.cfg.decibels if job.kind == "image" else job.cfg
    limited = cfg.levels.span < np.inf or cfg.normalize is not None or job.kind == "image"
    two_passes = KINDS[job.kind].of_maximum and limited
    bare = cfg.replace(top_db=None, normalize=None) if two_passes else cfg  # what a frame becomes by itself
    bare = bare.replace(mean=0.0, std=1.0) if two_passes and cfg.is_per_band else bare
    feature = log_mel if two_passes else KINDS[job.kind]

    def compute(span: Span) -> NDArray:
        frames = feature(span.y, span.cfg, device=job.device).T
        return np.ascontiguousarray(frames) if two_passes else job.as_stored(frames)

    n_samples, silent = 0, True

    def counted(blocks: Iterable[Pcm]) -> Iterator[Pcm]:
        nonlocal n_samples, silent
        for block in blocks:
            go_on()
            n_samples += len(block)
            silent = silent and not block.any()
            yield block

    on_gpu = job.device if job.device.type == "cuda" else None
    blocks = recording.blocks(job.cfg.sr, dtype=recording.header.dtype(job.cfg.sr), device=on_gpu)
    pieces = spans(counted(blocks), bare, job.piece_frames)
    n_frames, low, high = 0, np.float32(np.inf), np.float32(-np.inf)
    spill = Spill(job, *((job.cfg.n_mels, "float32") if two_passes else (job.n_rows, job.stored)))
    for frames in helpers.map(compute, pieces):
        n_frames += len(frames)
        if two_passes:
            low, high = min(low, frames.min()), max(high, frames.max())
        spill.add(frames)
    parts = _second(spill, job.kind, cfg, low, high, job.as_stored) if two_passes else spill
    return result._replace(n_samples=n_samples, n_frames=n_frames, silent=silent, parts=parts, n_bytes=4 * PIECE_BYTES)


def _second(
    spill: Spill,
    kind: str,
    cfg: FeatureConfig,
    low: np.float32,
    high: np.float32,
    as_stored: Callable[[NDArray], NDArray],
) -> Iterator[NDArray]:
    """Yield the second pass: what the recording's maximum limits and its statistics normalize, or MFCC or an image."""
    floor = high - np.float32(cfg.levels.span)
    ends = torch.tensor([max(low, floor), high], dtype=torch.float32, device="cpu")
    finish = _finisher(cfg, _limited(spill, floor)) if cfg.is_per_band else None
    for values in _limited(spill, floor):
        frames = values if finish is None else finish(values)
        if kind == "mfcc":
            whole = cfg.replace(center=True, padding=(0, 0), preemphasis_of="frame")
            n = (len(frames) - 1) * cfg.hop_length + cfg.frame_length
            frames = cepstra(torch.from_numpy(frames.T)[None], [n], whole)[0].numpy().T
        elif kind == "image":
            frames = stretch(torch.from_numpy(frames), *ends).numpy()
        yield as_stored(frames)


def _limited(spill: Spill, floor: np.float32) -> Iterator[NDArray]:
    for values in spill:
        yield np.maximum(values, floor, out=values)


def _finisher(cfg: FeatureConfig, blocks: Iterable[NDArray]) -> Callable[[NDArray], NDArray]:
    """Return what normalizes frames by the statistics of all `blocks`, and takes each band's mean and std."""
    by, (mean, std) = cfg.normalize, band_values(cfg, torch.device("cpu"))
    moments = (moments_of_bands(_bands(block)) for block in blocks)
    statistics = None if by is None else (joined(reduce(merged, moments), by), by)

    def finish(values: NDArray) -> NDArray:
        x = _bands(values) if statistics is None else normalized(_bands(values), *statistics)
        return x.sub_(mean).div_(std).float().numpy().T

    return finish


def _bands(frames: NDArray) -> torch.Tensor:
    return torch.from_numpy(frames).T.double()
