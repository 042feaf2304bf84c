"""Short recordings computed on a device in batches; copies through pinned memory overlap the computation."""

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

BATCH_SECONDS = 600.0  # seconds of audio in a batch, counting each recording as long as the longest


def on_device(results: Iterable[Result], job: Job, seconds: float = BATCH_SECONDS) -> Generator[Result]:
    """Compute the recordings that were only read, in batches; other results pass through. The order stays.

    Two batches are on their way, on a stream each: one is copied while the other is computed, and both while the one
    before them is handed on.
    """
    on_its_way: deque[Callable[[], list[Result]]] = deque()
    on_gpu = job.device.type == "cuda"
    streams = cycle([torch.cuda.Stream(job.device) if on_gpu else None for _ in range(2)])
    for batch in batches(results, int(seconds * job.cfg.sr), job.cfg.sr):
        with torch.cuda.stream(next(streams)):  # None stands for the current stream
            on_its_way.append(_begin(batch, job))
        if len(on_its_way) > 1:
            yield from on_its_way.popleft()()
    while on_its_way:
        yield from on_its_way.popleft()()


def batches(results: Iterable[Result], most_samples: int, sr: int | None = None) -> Iterator[list[Result]]:
    """Group neighbours: clips of one dtype and rate, at most `most_samples` once each is as long as the longest.

    Samples count as they are at `sr` Hz, or at each clip's own rate. A result that is already computed closes the
    batch at once, so that its spill file is not kept open.
    """
    batch: list[Result] = []
    longest, n_clips, kind = 0, 0, None
    for result in results:
        clip = result.clip
        form = None if clip is None else (clip.y.dtype, clip.sr)
        n = 0 if clip is None else resampled_length(len(clip.y), clip.sr, sr or clip.sr)
        differs = form is not None and kind is not None and form != kind
        if batch and (differs or max(longest, n) * (n_clips + 1) > most_samples):
            yield batch
            batch, longest, n_clips, kind = [], 0, 0, None
        batch.append(result)
        if form is None:
            yield batch
            batch, longest, n_clips, kind = [], 0, 0, None
        else:
            longest, n_clips, kind = max(longest, n), n_clips + 1, form
    if batch:
        yield batch


def _begin(batch: list[Result], job: Job) -> Callable[[], list[Result]]:
    """Send a batch to the device; returns a function that waits for its results."""
    clips = [result.clip for result in batch if result.clip is not None]
    on_gpu = job.device.type == "cuda"
    if not clips:
        return lambda: batch
    try:
        samples, lengths = _sent(clips, job)
        frames, whole = _computed(samples, lengths, job)
    except UnavailableError:
        raise
    except CumelError:  # a clip is too short or too loud; computing each alone shows which
        return lambda: [_alone(result, job) for result in batch]
    on_host = [
        torch.empty(values.shape, dtype=values.dtype, device="cpu", pin_memory=on_gpu) for values in (frames, whole)
    ]
    for target, values in zip(on_host, (frames, whole), strict=True):
        target.copy_(values, non_blocking=True)
    copied = torch.cuda.Event() if on_gpu else None
    if copied is not None:
        copied.record()

    def wait() -> list[Result]:
        if copied is not None:
            copied.synchronize()
        rows = iter(zip(on_host[0].numpy(), on_host[1].tolist(), lengths, strict=True))
        return [result if result.clip is None else _split(result, *next(rows), job) for result in batch]

    return wait


def _computed(samples: Tensor, lengths: list[int], job: Job) -> tuple[Tensor, Tensor]:
    """Compute clips' features [n_clips, n_frames, n_rows] as stored, and whether a clip's are all finite [n_clips].

    Nothing waits for a GPU.
    """
    if job.kind == "image" and job.device.type == "cuda":
        features, loudest = unchecked_image(samples, job.cfg, lengths)
        return features.transpose(1, 2).contiguous(), loudest.isfinite()
    features = KINDS[job.kind](samples, job.cfg, lengths)
    frames = features.transpose(1, 2).contiguous().to(getattr(torch, job.stored))
    return frames, torch.isfinite(frames).flatten(1).all(dim=1)


def _sent(clips: list[Waveform], job: Job) -> tuple[Tensor, list[int]]:
    """Copy clips of one rate to the device, each from where it was decoded to; at the features' rate, and how long.

    The clips lie one right after another; clips that had to be resampled are padded to one length.
    """
    lengths, sources = [len(clip.y) for clip in clips], [torch.from_numpy(clip.y) for clip in clips]
    if clips[0].sr == job.cfg.sr:
        samples = torch.empty(sum(lengths), dtype=sources[0].dtype, device=job.device)
        targets = samples.split(lengths)
    else:
        samples = torch.zeros(len(clips), max(lengths), dtype=torch.float32, device=job.device)
        targets = [row[:n] for row, n in zip(samples, lengths, strict=True)]
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source, non_blocking=True)
    if clips[0].sr == job.cfg.sr:
        return samples, lengths
    samples = resample_clips(samples, clips[0].sr, job.cfg.sr)
    return samples, [resampled_length(n, clips[0].sr, job.cfg.sr) for n in lengths]


def _split(result: Result, frames: np.ndarray, whole: bool, n_samples: int, job: Job) -> Result:
    """Return a clip's result; its frames are a view of the batch's memory, which lives until all are written."""
    assert result.clip is not None
    if not whole:
        return _alone(result, job)  # computing it alone raises the error that names the fault
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
