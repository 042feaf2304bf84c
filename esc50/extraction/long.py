"""Recordings too long for memory: features piece by piece; those relative to the maximum need a second pass."""

from __future__ import annotations

import tempfile
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Semaphore

import numpy as np
import torch
from numpy.typing import NDArray

from ...kernels import log_mel
from ...kernels.tensors import cepstra, stretch
from ..audio import Pcm, Recording, spans
from ..system import write_all
from .job import KINDS, PIECE_BYTES, Job, Result


class Helpers:
    """Threads that compute pieces for the readers of long recordings; a reader computes itself if none is free."""

    def __init__(self, n: int, start: Callable[[], None]) -> None:
        self.n = n
        self._free = Semaphore(n)
        self._pool = ThreadPoolExecutor(n, "cumel-piece", start)

    def map(self, compute: Callable[[Pcm], NDArray], pieces: Iterable[Pcm]) -> Iterator[NDArray]:
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

    The numbers are those of the whole recording at once, but for MFCC, where the matrix product may round the last bit
    differently. Between the passes the frames lie in a nameless file in `job.spill`. `go_on` is called before each
    block; what it raises ends the work.

    Raises
    ------
    InputError
        As `audio.Recording`, and as the feature's function.
    OSError
        When there is no room for that file.
    """
    two_passes = KINDS[job.kind].of_maximum
    bare = job.cfg.replace(center=False)  # the spans are padded already
    bare = bare.replace(top_db=None, ref=1.0) if two_passes else bare
    feature = log_mel if two_passes else KINDS[job.kind]

    def compute(span: Pcm) -> NDArray:
        frames = feature(span, bare, device=job.device).T
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
    pieces = spans(counted(blocks), job.cfg, job.piece_frames)
    n_frames, low, high = 0, np.float32(np.inf), np.float32(-np.inf)
    spill = Spill(job, *((job.cfg.n_mels, "float32") if two_passes else (job.n_rows, job.stored)))
    for frames in helpers.map(compute, pieces):
        n_frames += len(frames)
        if two_passes:
            low, high = min(low, frames.min()), max(high, frames.max())
        spill.add(frames)
    parts = _second(spill, job, low, high) if two_passes else spill
    return result._replace(n_samples=n_samples, n_frames=n_frames, silent=silent, parts=parts, n_bytes=4 * PIECE_BYTES)


def _second(spill: Spill, job: Job, low: np.float32, high: np.float32) -> Iterator[NDArray]:
    """Yield the second pass: dB limited by the recording's maximum, or MFCC or an image made of that."""
    cfg = job.cfg
    floor = np.float32(-np.inf) if cfg.top_db is None else high - np.float32(cfg.top_db)
    ref = np.float32(0.0 if cfg.ref == 1.0 else cfg.db_of_ref)
    ends = torch.tensor([max(low, floor) - ref, high - ref], dtype=torch.float32, device="cpu")
    for db in spill:
        np.maximum(db, floor, out=db)
        db -= ref
        if job.kind == "mfcc":
            n = (len(db) - 1) * cfg.hop_length + cfg.n_fft
            db = cepstra(torch.from_numpy(db.T)[None], [n], cfg.replace(center=False))[0].numpy().T
        elif job.kind == "image":
            db = stretch(torch.from_numpy(db), *ends).numpy()
        yield job.as_stored(db)
