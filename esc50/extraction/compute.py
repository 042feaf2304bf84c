"""Features of one recording: whole where it is short, piece by piece where it is long, with the same numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ...kernels import CumelError
from ..audio.reading import BLOCK_BYTES, Header, Pcm, read
from .job import KINDS, PIECE_BYTES, Job, Result
from .long import Helpers, of_stream
from .pipeline import Hold

WHOLE_BYTES = 64 << 20  # of samples and features; a recording that needs more is taken piece by piece
GROUP_BYTES, GROUP_FILES = 2 << 20, 64  # of neighbouring files that a thread takes at a time
PEEK = 4096  # samples, of which one is mostly not zero
STREAM_BYTES = 2 * BLOCK_BYTES + 4 * PIECE_BYTES  # that such a recording takes


def take(path: Path, hold: Hold, job: Job, helpers: Helpers) -> Result:
    """Read a recording and compute its features; what is wrong with it becomes the result's `error`.

    For a CUDA device a short recording is only read: `batches.on_device` computes it with others.

    Parameters
    ----------
    path : Path
    hold : callable
        Is told how many bytes the recording is going to take, and does not return before there is room.
    job : Job
    helpers : Helpers
        Threads that share a long recording.
    """
    on_gpu = job.device.type == "cuda"
    result = Result(path, *stat(path))

    def admit(header: Header) -> bool:
        cost = job.cost(header)
        hold(cost if cost <= WHOLE_BYTES else STREAM_BYTES)
        return cost <= WHOLE_BYTES

    try:
        clip = read(path, job.cfg.sr, admit, resampled=not on_gpu)
        if clip is None:
            result = of_stream(result, job, helpers)
        elif on_gpu:
            result = replace(result, clip=clip, n_bytes=clip.y.nbytes)
        else:
            result = of_samples(result, clip.y, job)
    except CumelError as error:
        result = failed(result, error)
    hold(result.n_bytes)
    return result


def of_samples(result: Result, y: Pcm, job: Job) -> Result:
    """Compute the features of ``y`` [n_samples] where they are wanted, as they are stored."""
    features = KINDS[job.kind](y, job.cfg, device=job.device)
    return finished(result, y, job.as_stored(features.T))


def finished(result: Result, y: Pcm, frames: np.ndarray) -> Result:
    """Put a short recording's ``frames`` [n_frames, n_rows] into its result."""
    silent = not (y[:PEEK].any() or y.any())
    facts = {"n_samples": len(y), "n_frames": len(frames), "silent": silent}
    return replace(result, **facts, parts=(frames,), n_bytes=frames.nbytes, clip=None)


def failed(result: Result, error: CumelError) -> Result:
    """Return the result of a recording with which something is wrong, named in the text."""
    text = str(error)
    named = text if text.startswith(f"{result.path}: ") else f"{result.path}: {text}"
    readable = os.fsencode(named).decode("utf-8", "backslashreplace")
    return replace(result, n_samples=0, n_frames=0, parts=(), n_bytes=0, clip=None, error=readable)


def stat(path: Path) -> tuple[int, int]:
    """Return a file's size and time of change in nanoseconds; (-1, 0) when it is not there."""
    try:
        status = path.stat()
    except OSError:
        return -1, 0
    return status.st_size, status.st_mtime_ns


def taker(job: Job, helpers: Helpers) -> partial[Result]:
    """Return `take` as the pipeline calls it."""
    return partial(take, job=job, helpers=helpers)


def take_group(paths: list[Path], hold: Hold, job: Job, helpers: Helpers) -> list[Result]:
    """`take` some recordings, one after another."""
    results: list[Result] = []
    for path in paths:
        held = sum(result.n_bytes for result in results)
        results.append(take(path, lambda n_bytes, held=held: hold(held + n_bytes), job, helpers))
    return results


def groups(paths: list[Path], workers: int) -> Iterator[list[Path]]:
    """Cut a list of recordings into groups of about the same size on disk, enough of them for all workers."""
    most = min(GROUP_FILES, max(1, len(paths) // (4 * workers)))
    group: list[Path] = []
    n_bytes = 0
    for path in paths:
        group.append(path)
        n_bytes += max(0, stat(path)[0])
        if n_bytes >= GROUP_BYTES or len(group) >= most:
            yield group
            group, n_bytes = [], 0
    if group:
        yield group
