"""Short recordings through a device together: batches by seconds, pinned memory, copies that overlap the work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import cycle

import numpy as np
import torch
from torch import Tensor

from ...kernels import CumelError, UnavailableError, unchecked_image
from ..audio import Waveform, resample_clips, resample_on, resampled_length
from .job import KINDS, Job, Result
from .short import failed, finished, of_samples

BATCH_SECONDS = 600.0  # of audio, were every recording as long as the batch's longest


def on_device(results: Iterable[Result], job: Job, seconds: float = BATCH_SECONDS) -> Generator[Result]:
    """Compute what was only read, in batches; everything else passes through. The order stays.

    Two batches are on their way, on a stream each: one is copied while the other is computed, and both while the one
    before them is handed on.
    """
    on_its_way: deque[Callable[[], list[Result]]] = deque()
    on_gpu = job.device.type == "cuda"
    streams = cycle([torch.cuda.Stream(job.device) if on_gpu else None for _ in range(2)])
    for batch in batches(results, int(seconds * job.cfg.sr), job.cfg.sr):
        with torch.cuda.stream(next(streams)):  # no stream changes nothing
            on_its_way.append(_begin(batch, job))
        if len(on_its_way) > 1:
            yield from on_its_way.popleft()()
    while on_its_way:
        yield from on_its_way.popleft()()


def batches(results: Iterable[Result], most_samples: int, sr: int | None = None) -> Iterator[list[Result]]:
    """Group neighbours: clips of one dtype and rate, at most `most_samples` once each is as long as the longest.

    Samples count as they are at `sr` Hz, or at each clip's own rate. What was not only read ends its batch: it may hold
    a file, and waits for nobody but those before it.
    """
    batch: list[Result] = []
    longest, n_clips, kind = 0, 0, None
    for result in results:
        clip = result.clip
        mine = None if clip is None else (clip.y.dtype, clip.sr)
        n = 0 if clip is None else resampled_length(len(clip.y), clip.sr, sr or clip.sr)
        other = mine is not None and kind is not None and mine != kind
        if batch and (other or max(longest, n) * (n_clips + 1) > most_samples):
            yield batch
            batch, longest, n_clips, kind = [], 0, 0, None
        batch.append(result)
        if mine is None:
            yield batch
            batch, longest, n_clips, kind = [], 0, 0, None
        else:
            longest, n_clips, kind = max(longest, n), n_clips + 1, mine
    if batch:
        yield batch


def _begin(batch: list[Result], job: Job) -> Callable[[], list[Result]]:
    """Send a batch to the device; returns a function that waits for its results."""
    clips = [result.clip for result in batch if result.clip is not None]
    on_gpu = job.device.type == "cuda"
    if not clips:
        return lambda: batch
    try:
        there, lengths = _sent(clips, job)
        frames, whole = _computed(there, lengths, job)
    except UnavailableError:
        raise
    except CumelError:  # one of them is too short, or too loud: which?
        return lambda: [_alone(result, job) for result in batch]
    home = [
        torch.empty(values.shape, dtype=values.dtype, device="cpu", pin_memory=on_gpu) for values in (frames, whole)
    ]
    for target, values in zip(home, (frames, whole), strict=True):
        target.copy_(values, non_blocking=True)
    copied = torch.cuda.Event() if on_gpu else None
    if copied is not None:
        copied.record()

    def wait() -> list[Result]:
        if copied is not None:
            copied.synchronize()
        rows = iter(zip(home[0].numpy(), home[1].tolist(), lengths, strict=True))
        return [result if result.clip is None else _split(result, *next(rows), job) for result in batch]

    return wait


def _computed(there: Tensor, lengths: list[int], job: Job) -> tuple[Tensor, Tensor]:
    """Compute clips' features [n_clips, n_frames, n_rows] as they are stored, and of which [n_clips] all are numbers.

    Nothing waits for a GPU.
    """
    if job.kind == "image" and job.device.type == "cuda":
        features, loudest = unchecked_image(there, job.cfg, lengths)
        return features.transpose(1, 2).contiguous(), loudest.isfinite()
    features = KINDS[job.kind](there, job.cfg, lengths)
    frames = features.transpose(1, 2).contiguous().to(getattr(torch, job.stored))
    return frames, torch.isfinite(frames).flatten(1).all(dim=1)


def _sent(clips: list[Waveform], job: Job) -> tuple[Tensor, list[int]]:
    """Copy clips of one rate to the device, each from where it was decoded to; at the features' rate, and how long.

    One right after another, or padded where they are resampled.
    """
    lengths, sources = [len(clip.y) for clip in clips], [torch.from_numpy(clip.y) for clip in clips]
    if clips[0].sr == job.cfg.sr:
        there = torch.empty(sum(lengths), dtype=sources[0].dtype, device=job.device)
        targets = there.split(lengths)
    else:
        there = torch.zeros(len(clips), max(lengths), dtype=torch.float32, device=job.device)
        targets = [row[:n] for row, n in zip(there, lengths, strict=True)]
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source, non_blocking=True)
    if clips[0].sr == job.cfg.sr:
        return there, lengths
    there = resample_clips(there, clips[0].sr, job.cfg.sr)
    return there, [resampled_length(n, clips[0].sr, job.cfg.sr) for n in lengths]


def _split(result: Result, frames: np.ndarray, whole: bool, n_samples: int, job: Job) -> Result:
    """Take a clip's own frames out of the batch's memory, which goes when all are written."""
    assert result.clip is not None
    if not whole:
        return _alone(result, job)  # its error says what is wrong with it
    return finished(result, result.clip.y, frames[: job.cfg.n_frames(n_samples)], n_samples)


def _alone(result: Result, job: Job) -> Result:
    if result.clip is None:
        return result
    y, sr = result.clip
    try:
        if sr != job.cfg.sr:
            y = resample_on(job.device, np.asarray(y, np.float32), sr, job.cfg.sr)
        return of_samples(result, y, job)
    except UnavailableError:
        raise
    except CumelError as error:
        return failed(result, error)
