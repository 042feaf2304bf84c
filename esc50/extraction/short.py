"""Features of one recording: whole where it is short, piece by piece where it is long, with the same numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from ...kernels import CumelError, UnavailableError, cpu
from ..audio import BLOCK_BYTES, Pcm, Recording
from ..inputs import Keys, Listing, Recording as Listed, absolute, escaped, name_of
from ..system import Hold, pinned
from .job import KINDS, PIECE_BYTES, Job, Result
from .long import Helpers, of_stream
from .resume.looks import fingerprint, look

WHOLE_BYTES = 64 << 20  # of samples and features; a recording that needs more is taken piece by piece
GROUP_BYTES, GROUP_FILES = 2 << 20, 64  # of neighbouring files that a thread takes at a time
PEEK = 4096  # samples, of which one is mostly not zero
STREAM_BYTES = 2 * BLOCK_BYTES + 4 * PIECE_BYTES  # that such a recording takes
INTO = {"logmel": cpu.log_mel, "mel": cpu.melspectrogram}  # kinds that the CPU path writes where they are wanted


def begin(found: Listed | Path, key_of: Keys) -> Result:
    """Return what is known of a recording before it is read."""
    one = found if isinstance(found, Listed) else Listed(found, name_of(found))
    size, mtime_ns, is_link = look(one.path)
    path, real = escaped(absolute(os.fspath(one.path))), key_of(one.path, is_link)
    name, real = escaped(one.name), None if real == path else real
    return Result(one.path, path, size, mtime_ns, name=name, real=real, also=one.also)


def take(result: Result, hold: Hold, job: Job, helpers: Helpers) -> Result:
    """Read a recording and compute its features; what is wrong with it becomes the result's `error`.

    For a CUDA device a short recording is only read: `batches.on_device` computes it with others.

    Parameters
    ----------
    result : Result
        From `begin`.
    hold : callable
        Is told how many bytes the recording is going to take, and does not return before there is room. In the end it
        takes no more than the result's `n_bytes`.
    job : Job
    helpers : Helpers
        Threads that share a long recording.
    """
    on_gpu = job.device.type == "cuda"
    result = result._replace(fingerprint=fingerprint(result.path))
    try:
        with Recording(result.path) as recording:
            cost, dtype = job.cost(recording.header), recording.header.dtype(job.cfg.sr)
            hold(cost if cost <= WHOLE_BYTES else STREAM_BYTES)
            if cost > WHOLE_BYTES:
                return of_stream(result, recording, job, helpers)
            sr = None if on_gpu else job.cfg.sr
            clip = recording.read(sr, dtype=dtype, memory=pinned if on_gpu else np.empty)
        if on_gpu:
            return result._replace(clip=clip, n_bytes=clip.y.nbytes)
        return of_samples(result, clip.y, job)
    except UnavailableError:  # no fault of the recording
        raise
    except CumelError as error:
        return failed(result, error)


def of_samples(result: Result, y: Pcm, job: Job) -> Result:
    """Compute the features of ``y`` [n_samples] where they are wanted, as they are stored."""
    n_frames = job.cfg.n_frames(len(y))
    if job.device.type == "cpu" and job.kind in INTO and job.stored == "float32" and n_frames:
        frames = job.buffers.take((n_frames, job.n_rows), "float32")
        there = torch.from_numpy(frames).T[None]
        INTO[job.kind](torch.from_numpy(y)[None], [len(y)], job.cfg, there)
        return finished(result, y, job.checked(frames))
    features = KINDS[job.kind](y, job.cfg, device=job.device)
    return finished(result, y, job.as_stored(features.T))


def finished(result: Result, y: Pcm, frames: np.ndarray, n_samples: int | None = None) -> Result:
    """Put a short recording's ``frames`` [n_frames, n_rows] into its result.

    `n_samples` are those at the features' rate, where ``y`` has another.
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
    """Return the result of a recording with which something is wrong, named in the text."""
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

    with torch.inference_mode():  # entered once: in it torch's operators cost less, 3 % of a short recording
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
    for one in paths.recordings() if isinstance(paths, Listing) else paths:
        group.append(begin(one, key_of))
        n_bytes += max(0, group[-1].size)
        if n_bytes >= GROUP_BYTES or len(group) >= most:
            yield group
            group, n_bytes = [], 0
    if group:
        yield group
