"""Short recordings through a device together: batches by seconds, pinned memory, copies that overlap the work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import cycle

import numpy as np
import torch
from torch import Tensor

from ...kernels import CumelError
from ..audio.resampling import resample_on
from .compute import failed, finished, of_samples
from .job import KINDS, Job, Result

BATCH_SECONDS = 600.0  # of audio, were every recording as long as the batch's longest


DEVICE_ERRORS = (torch.OutOfMemoryError, torch.AcceleratorError)


def on_device(results: Iterable[Result], job: Job, seconds: float = BATCH_SECONDS) -> Generator[Result]:
    """Compute what was only read, in batches; everything else passes through. The order stays.

    Two batches are on their way, on a stream each: one is copied while the other is computed, and both while the one
    before them is handed on.
    """
    on_its_way: deque[Callable[[], list[Result]]] = deque()
    on_gpu = job.device.type == "cuda"
    streams = cycle([torch.cuda.Stream(job.device) if on_gpu else None for _ in range(2)])
    for batch in batches((_resampled(result, job) for result in results), int(seconds * job.cfg.sr)):
        with torch.cuda.stream(next(streams)):  # no stream changes nothing
            on_its_way.append(_begin(batch, job))
        if len(on_its_way) > 1:
            yield from on_its_way.popleft()()
    while on_its_way:
        yield from on_its_way.popleft()()


def batches(results: Iterable[Result], most_samples: int) -> Iterator[list[Result]]:
    """Group neighbours: clips of one dtype, at most `most_samples` once each is as long as the longest.

    What was not only read ends its batch: it may hold a file, and waits for nobody but those before it.
    """
    batch: list[Result] = []
    longest, n_clips, dtype = 0, 0, None
    for result in results:
        y = None if result.clip is None else result.clip.y
        n = 0 if y is None else len(y)
        other = y is not None and dtype is not None and y.dtype != dtype
        if batch and (other or max(longest, n) * (n_clips + 1) > most_samples):
            yield batch
            batch, longest, n_clips, dtype = [], 0, 0, None
        batch.append(result)
        if y is None:
            yield batch
            batch, longest, n_clips, dtype = [], 0, 0, None
        else:
            longest, n_clips, dtype = max(longest, n), n_clips + 1, y.dtype
    if batch:
        yield batch


def explained(error: RuntimeError, device: torch.device) -> CumelError:
    """Say why a device cannot go on, and what to do."""
    reason = str(error).splitlines()[0]
    remedy = "end what else uses its memory" if "out of memory" in reason else "`cumel doctor` examines it"
    return CumelError(f"{device}: {reason}; {remedy}")


def _resampled(result: Result, job: Job) -> Result:
    if result.clip is None or result.clip.sr == job.cfg.sr:
        return result
    y, sr = result.clip
    try:
        y = resample_on(job.device, np.asarray(y, np.float32), sr, job.cfg.sr)
    except CumelError as error:
        return failed(result, error)
    return result._replace(clip=result.clip._replace(y=y, sr=job.cfg.sr), n_bytes=y.nbytes)


def _begin(batch: list[Result], job: Job) -> Callable[[], list[Result]]:
    """Send a batch to the device; returns a function that waits for its results."""
    clips = [torch.from_numpy(result.clip.y) for result in batch if result.clip is not None]
    on_gpu = job.device.type == "cuda"
    if not clips:
        return lambda: batch
    samples = torch.empty(sum(map(len, clips)), dtype=clips[0].dtype, device="cpu", pin_memory=on_gpu)
    torch.cat(clips, out=samples)
    try:
        there = samples.to(job.device, non_blocking=True)
        features: Tensor = KINDS[job.kind](there, job.cfg, [len(clip) for clip in clips])
    except CumelError:  # one of them is too short, or too loud: which?
        return lambda: [_alone(result, job) for result in batch]
    frames = features.transpose(1, 2).contiguous()
    home = torch.empty(frames.shape, dtype=frames.dtype, device="cpu", pin_memory=on_gpu)
    home.copy_(frames, non_blocking=True)
    copied = torch.cuda.Event() if on_gpu else None
    if copied is not None:
        copied.record()

    def wait() -> list[Result]:
        if copied is not None:
            copied.synchronize()
        rows = iter(home.numpy())
        return [result if result.clip is None else _split(result, next(rows), job) for result in batch]

    return wait


def _split(result: Result, frames: np.ndarray, job: Job) -> Result:
    assert result.clip is not None
    try:
        own = frames[: job.cfg.n_frames(len(result.clip.y))]
        return finished(result, result.clip.y, job.as_stored(own))
    except CumelError as error:
        return failed(result, error)


def _alone(result: Result, job: Job) -> Result:
    if result.clip is None:
        return result
    try:
        return of_samples(result, result.clip.y, job)
    except CumelError as error:
        return failed(result, error)
