"""Features of one recording: whole where it is short, piece by piece where it is long, with the same numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ...kernels import CumelError, UnavailableError
from ..audio import BLOCK_BYTES, Pcm, Recording
from ..inputs import Entry, Keys, Listing, absolute, escaped, name_of
from ..system import Hold, pinned
from .job import KINDS, PIECE_BYTES, Job, Result
from .long import Helpers, of_stream
from .resume.fingerprint import fingerprint, look

WHOLE_BYTES = 64 << 20  # samples and features; a recording that needs more is computed piece by piece
GROUP_BYTES, GROUP_FILES = 2 << 20, 64  # size and number of neighbouring files that a thread takes at a time
PEEK = 4096  # samples at the beginning that mostly suffice to see that a clip is not silent
STREAM_BYTES = 2 * BLOCK_BYTES + 4 * PIECE_BYTES  # memory of a recording that is computed piece by piece


def begin(recording: Entry | Path, key_of: Keys) -> Result:
    """Return the result of a recording that has not been read yet."""
    entry = recording if isinstance(recording, Entry) else Entry(recording, name_of(recording))
    size, mtime_ns, is_link = look(entry.path)
    path, real = escaped(absolute(os.fspath(entry.path))), key_of(entry.path, is_link)
    name, real = escaped(entry.name), None if real == path else real
    return Result(entry.path, path, size, mtime_ns, name=name, real=real, also=entry.also)


def take(result: Result, hold: Hold, job: Job, helpers: Helpers) -> Result:
    """Read a recording and compute its features; what is wrong with it becomes the result's `error`.

    For a CUDA device a short recording is only read: `gpu.on_device` computes it with others.

    Parameters
    ----------
    result : Result
        From `begin`.
    hold : callable
        Called with the bytes that the recording will take; returns once there is room for them. Afterwards the
        recording takes the result's `n_bytes`.
    job : Job
    helpers : Helpers
        Threads that share a long recording.
    """
    on_gpu = job.device.type == "cuda"
    result = result._replace(fingerprint=fingerprint(result.path))
    try:
        with Recording(result.path) as recording:
            result = result._replace(source_sr=recording.header.sr)
            cost, dtype = job.cost(recording.header), recording.header.dtype(job.cfg.sr)
            hold(cost if cost <= WHOLE_BYTES else STREAM_BYTES)
            if cost > WHOLE_BYTES:
                return of_stream(result, recording, job, helpers, partial(hold, STREAM_BYTES))
            sr = None if on_gpu else job.cfg.sr
            clip = recording.read(sr, dtype=dtype, memory=pinned if on_gpu else np.empty)
        if on_gpu:
            return result._replace(clip=clip, n_bytes=clip.y.nbytes)
        return of_samples(result, clip.y, job)
    except UnavailableError:  # this is not the recording's fault
        raise
    except CumelError as error:
        return failed(result, error)


def of_samples(result: Result, y: Pcm, job: Job) -> Result:
    """Compute the features of ``y`` [n_samples] in the dtype on disk."""
    feature, n_frames = KINDS[job.kind], job.cfg.n_frames(len(y))
    if job.device.type == "cpu" and feature.dtype == job.stored == "float32" and n_frames:
        frames = job.buffers.take((n_frames, job.n_rows), "float32")
        feature(y, job.cfg, out=frames.T)
        return finished(result, y, job.checked(frames))
    return finished(result, y, job.as_stored(feature(y, job.cfg, device=job.device).T))


def finished(result: Result, y: Pcm, frames: np.ndarray, n_samples: int | None = None) -> Result:
    """Put a short recording's ``frames`` [n_frames, n_rows] into its result.

    `n_samples` is the length at the features' rate, if ``y`` has another rate.
    """
    silent = not (y[:PEEK].any() or y.any())
    return result._replace(
        n_samples=len(y) if n_samples is None else n_samples,
        n_frames=len(frames),
        silent=silent,
        parts=(frames,),
        n_bytes=frames.nbytes,
        clip=None,
    )


def failed(result: Result, error: CumelError) -> Result:
    """Return the result of a recording that failed; its error text begins with the path."""
    text = str(error)
    named = text if text.startswith(f"{result.path}: ") else f"{result.path}: {text}"
    readable = os.fsencode(named).decode("utf-8", "backslashreplace")
    return result._replace(n_samples=0, n_frames=0, parts=(), n_bytes=0, clip=None, error=readable)


def take_group(group: list[Result], hold: Hold, job: Job, helpers: Helpers) -> list[Result]:
    """`take` some recordings, one after another."""
    results: list[Result] = []
    held = 0

    def hold_more(n_bytes: int) -> None:
        hold(held + n_bytes)

    with torch.inference_mode():  # torch's operators cost less in it: 3 % of a short recording
        for begun in group:
            results.append(take(begun, hold_more, job, helpers))
            held += results[-1].n_bytes
    hold(held)
    return results


def groups(paths: Sequence[Path], workers: int) -> Iterator[list[Result]]:
    """Cut a list of recordings into groups of about the same size on disk, enough of them for all workers."""
    most = min(GROUP_FILES, max(1, len(paths) // (4 * workers)))
    group: list[Result] = []
    n_bytes, key_of = 0, Keys()
    for recording in paths.entries() if isinstance(paths, Listing) else paths:
        group.append(begin(recording, key_of))
        n_bytes += max(0, group[-1].size)
        if n_bytes >= GROUP_BYTES or len(group) >= most:
            yield group
            group, n_bytes = [], 0
    if group:
        yield group
