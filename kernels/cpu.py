"""The CPU path: torch.fft over chunks that stay in cache, mel filters that skip their zeros, one thread per chunk.

A chunk never crosses clips and is always computed by one thread in the same shape, so a clip's numbers depend neither
on its batch mates nor on the number of cores. Nothing but the result is larger than a chunk.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import Barrier, Lock
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .config import INT16_SCALE, FeatureConfig
from .filterbank import mel_rows
from .interchange import check_finite
from .normalization import Moments, joined, moments_of_bands, normalized
from .tensors import Padded, band_values, cepstra, chunk_frames, chunk_rows, image, mirrored, wanted, window_of

_lock = Lock()


class Tables(NamedTuple):
    """Float32 constants of a config."""

    first_bin: int
    last_bin: int  # one past the last
    bins: Tensor  # [n_nonzero] bin of each mel weight, counted from first_bin
    weights: Tensor  # [n_nonzero]
    offsets: Tensor  # [n_mels] start of each filter in `bins` and `weights`


@lru_cache(maxsize=32)
def _tables(cfg: FeatureConfig) -> Tables:
    rows = mel_rows(cfg)
    return Tables(
        rows.first_bin,
        rows.last_bin,
        torch.from_numpy(rows.bins - rows.first_bin),
        torch.from_numpy(rows.weights.astype(np.float32)),
        torch.from_numpy(rows.offsets[:-1].copy()),
    )


def stft(clips: Padded, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """Compute [n_clips, n_bins, n_frames] complex64; zero past a clip's end."""
    result = _output(clips, cfg.n_bins, cfg, torch.complex64, out)
    analysis = window_of(cfg, result.device)

    def chunk(clip: int, start: int, stop: int) -> None:
        framed = _frames(clips.samples[clip], clips.lengths[clip], start, stop, cfg, analysis)
        result[clip, :, start:stop] = torch.fft.rfft(framed).T

    _run(chunk, _chunks(clips.lengths, cfg))
    return wanted(result, out, dtype)


def spectrogram(
    clips: Padded, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Compute [n_clips, n_bins, n_frames] float32, magnitude or power; zero past a clip's end."""
    result = _output(clips, cfg.n_bins, cfg, torch.float32, out)
    analysis = window_of(cfg, result.device)

    def chunk(clip: int, start: int, stop: int) -> None:
        framed = _frames(clips.samples[clip], clips.lengths[clip], start, stop, cfg, analysis)
        result[clip, :, start:stop] = _magnitude_or_power(torch.fft.rfft(framed), cfg)

    _run(chunk, _chunks(clips.lengths, cfg))
    return wanted(result, out, dtype)


def melspectrogram(
    clips: Padded, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Compute [n_clips, n_mels, n_frames] float32; zero past a clip's end."""
    result = _output(clips, cfg.n_mels, cfg, torch.float32, out)
    table, analysis = _tables(cfg), window_of(cfg, result.device)

    def chunk(clip: int, start: int, stop: int) -> None:
        framed = _frames(clips.samples[clip], clips.lengths[clip], start, stop, cfg, analysis)
        power = _magnitude_or_power(torch.fft.rfft(framed)[:, table.first_bin : table.last_bin], cfg)
        # A mel filter is a weighted sum of a few rows of `power`: an embedding bag, torch's fastest operator for that.
        mel = F.embedding_bag(table.bins, power, table.offsets, mode="sum", per_sample_weights=table.weights)
        result[clip].T[start:stop].copy_(mel.T)  # torch transposes block by block where a frame's values lie together

    _run(chunk, _chunks(clips.lengths, cfg))
    return wanted(result, out, dtype)


def log_mel(clips: Padded, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """Compute `melspectrogram` with all that `cfg` does to it, the logarithm among it.

    Raises
    ------
    InputError
        For a clip with NaN or infinity in it.
    """
    mel = melspectrogram(clips, cfg, out if out is not None and out.dtype == torch.float32 else None)
    peaks = mel.amax(dim=(1, 2), keepdim=True)
    check_finite(peaks)
    levels = cfg.levels
    quiet = max(levels.offset, levels.least)
    if levels.offset:
        mel.add_(levels.offset)
    if levels.log:
        floor = torch.full_like(peaks, levels.gain * math.log10(quiet))
        if levels.span < math.inf:
            loudest = (peaks + levels.offset).clamp(min=quiet).log10() * levels.gain
            floor = torch.maximum(floor, loudest - levels.span)
        torch.maximum(mel.log10_().mul_(levels.gain), floor, out=mel)  # lifts -inf, the logarithm of 0, as well
    else:
        mel.clamp_(min=levels.least).mul_(levels.gain)
    if levels.shift:
        mel.sub_(levels.shift)
    if cfg.is_per_band:
        _finish_bands(mel, clips.lengths, cfg)
    return wanted(mel, out, dtype)


def _finish_bands(features: Tensor, lengths: list[int], cfg: FeatureConfig) -> None:
    """Normalize each clip over its own frames, then take each band's `mean` from it and divide by its `std`."""
    by, (mean, std) = cfg.normalize, band_values(cfg, features.device)
    if by is None:
        features.sub_(mean).div_(std)
        return
    n_frames = [cfg.n_frames(n) for n in lengths]
    measured = features.new_empty(2, len(lengths), cfg.n_mels, 1, dtype=torch.float64)
    jobs = [
        (clip, low, min(low + chunk_rows(n), cfg.n_mels))
        for clip, n in enumerate(n_frames)
        for low in range(0, cfg.n_mels, chunk_rows(n))
    ]

    def measure(clip: int, low: int, high: int) -> None:
        part = moments_of_bands(features[clip, low:high, : n_frames[clip]].contiguous().double())
        measured[0, clip, low:high], measured[1, clip, low:high] = part.mean, part.squares

    def finish(clip: int, low: int, high: int) -> None:
        rows = slice(low, high) if by.per == "band" else slice(None)
        part, of = features[clip, low:high], clip_moments[clip]
        part[:, n_frames[clip] :] = 0.0
        part = part[:, : n_frames[clip]]
        of = Moments(of.mean[rows], of.squares[rows], of.n)
        part.copy_(normalized(part.double(), of, by).sub_(mean[low:high]).div_(std[low:high]))

    _run(measure, jobs)
    means, squares = measured
    clip_moments = [joined(Moments(*each), by) for each in zip(means, squares, n_frames, strict=True)]
    _run(finish, jobs)


def mfcc(clips: Padded, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """Compute [n_clips, n_mfcc, n_frames] float32."""
    return wanted(cepstra(log_mel(clips, cfg), clips.lengths, cfg), out, dtype)


def mel_image(clips: Padded, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """Compute [n_clips, n_mels, n_frames] uint8."""
    return wanted(image(log_mel(clips, cfg), [cfg.n_frames(n) for n in clips.lengths]), out, dtype)


def _magnitude_or_power(bins: Tensor, cfg: FeatureConfig) -> Tensor:
    """Magnitude or power [n_bins, n_frames] of a spectrum [n_frames, n_bins], which it overwrites."""
    squares = torch.view_as_real(bins)
    squares.mul_(squares)
    power = torch.add(squares[..., 0].T, squares[..., 1].T, out=squares.new_empty(bins.shape[1], bins.shape[0]))
    if cfg.bin_offset:
        power.add_(cfg.bin_offset)
    return power.sqrt_() if cfg.power == 1 else power


def _output(clips: Padded, n_rows: int, cfg: FeatureConfig, dtype: torch.dtype, out: Tensor | None) -> Tensor:
    """Return memory for a feature, `out` where it has the dtype; zeros, unless every frame gets written."""
    longest = clips.samples.shape[1]
    every = min(clips.lengths, default=0) == longest
    if out is not None and out.dtype == dtype:
        return out if every else out.zero_()
    make = torch.empty if every else torch.zeros
    return make(len(clips.samples), n_rows, cfg.n_frames(longest), dtype=dtype, device=clips.samples.device)


def _frames(clip: Tensor, n_samples: int, start: int, stop: int, cfg: FeatureConfig, analysis: Tensor) -> Tensor:
    """Compute frames `start` to `stop` of one clip, windowed by `analysis` [n_fft]: [stop - start, n_fft]."""
    first = start * cfg.hop_length - cfg.edges[0]
    last = (stop - 1) * cfg.hop_length - cfg.edges[0] + cfg.frame_length
    samples = _span(clip, n_samples - cfg.n_dropped, first, last, cfg)
    shape, steps = (stop - start, cfg.frame_length), (cfg.hop_length, 1)
    raw = samples.as_strided(shape, steps, samples.storage_offset())
    a = cfg.preemphasis if cfg.preemphasis_of == "frame" else 0.0
    if not a and not cfg.remove_dc and cfg.frame_length == cfg.n_fft:
        return raw * analysis
    framed = raw.new_empty(stop - start, cfg.n_fft)
    framed[:, cfg.frame_length :] = 0.0
    inside, taper = framed[:, : cfg.frame_length], analysis[: cfg.frame_length]
    if a:  # Neighbouring frames have their samples' differences in common, but for each frame's first one.
        differences = torch.empty_like(samples)
        torch.sub(samples[1:], samples[:-1], out=differences[1:])
        differences[1:].add_(samples[:-1], alpha=1.0 - a)  # A large mean is rounded less than by a times a sample.
        torch.mul(differences.as_strided(shape, steps), taper, out=inside)
        torch.mul(raw[:, :1], (1.0 - a) * taper[:1], out=inside[:, :1])
    else:
        torch.mul(raw, taper, out=inside)
    if cfg.remove_dc:  # All that pre-emphasis leaves of a mean is 1 - a of it.
        inside.addr_(raw.mean(1), taper, alpha=a - 1.0)
    return framed


def _span(clip: Tensor, n_samples: int, first: int, last: int, cfg: FeatureConfig) -> Tensor:
    """Return samples `first` to `last` of a clip of `n_samples`, those that reach past its ends by padding.

    Few operators do it, since a thread has to take Python's lock again after each.
    """
    if first >= 0 and last <= n_samples:
        return _emphasised(clip, first, last, cfg)
    begin = min(max(first, 0), last)
    end = max(min(last, n_samples), begin)
    inside = _emphasised(clip, begin, end, cfg)
    if cfg.pad_mode == "constant":
        return F.pad(inside, (begin - first, last - end))
    ends = (_mirrored(n_samples, *ends, cfg) for ends in ((first, begin), (end, last)))
    left, right = (_emphasised(clip, low, high, cfg)[index] for low, high, index in ends)
    return torch.cat((left, inside, right))


@lru_cache(maxsize=64)
def _mirrored(n_samples: int, first: int, last: int, cfg: FeatureConfig) -> tuple[int, int, Tensor]:
    """Return the range that samples `first` to `last` of a mirrored clip come from, and their index in it."""
    index = mirrored(n_samples, first, last, cfg)
    low, high = (int(index.min()), int(index.max()) + 1) if first < last else (0, 0)
    return low, high, index - low


def _emphasised(clip: Tensor, low: int, high: int, cfg: FeatureConfig) -> Tensor:
    """Return float32 samples `low` to `high`, which the clip has, pre-emphasised where that is of the clip."""
    a = 0.0 if cfg.preemphasis_of == "frame" or low >= high else cfg.preemphasis
    before = low + cfg.n_dropped - bool(a)  # -1: the first sample has none before it
    samples = clip[max(before, 0) : max(high + cfg.n_dropped, 0)]
    if samples.dtype == torch.int16:
        samples = samples.float().mul_(INT16_SCALE)
    if not a:
        return samples
    if before < 0:
        samples = F.pad(samples, (1, 0))
    return torch.sub(samples[1:], samples[:-1], alpha=a)


def _chunks(lengths: list[int], cfg: FeatureConfig) -> list[tuple[int, int, int]]:
    """Return every chunk of every clip: the clip's number, its first frame, and the one past its last."""
    step = chunk_frames(cfg)
    return [
        (clip, start, min(start + step, n_frames))
        for clip, n_frames in enumerate(map(cfg.n_frames, lengths))
        for start in range(0, n_frames, step)
    ]


def _run(job: Callable[[int, int, int], None], arguments: list[tuple[int, int, int]]) -> None:
    """Call `job` with each of the arguments, on as many threads as torch may use."""

    def work(jobs: Iterator[tuple[int, int, int]]) -> None:
        with torch.inference_mode():  # Each thread needs its own; it may then write to tensors of that mode.
            for each in jobs:
                job(*each)

    with _lock:  # Making a pool changes torch's number of threads for a moment.
        threads = torch.get_num_threads()
        pool = _pool(threads, os.getpid()) if threads > 1 else None
    jobs = iter(arguments)
    if pool is None:
        work(jobs)
    else:  # Each thread takes the next chunk when it is free: one task per chunk would cost a tenth of its time.
        list(pool.map(work, [jobs] * threads))


@lru_cache(maxsize=4)
def _pool(threads: int, _pid: int) -> Any:
    """Make worker threads in each of which torch uses one core; keyed by process, as threads do not survive a fork."""
    pool = ThreadPoolExecutor(threads, "cumel", torch.set_num_threads, (1,))
    barrier = Barrier(threads + 1, timeout=60)
    for _ in range(threads):
        pool.submit(barrier.wait)
    barrier.wait()  # Every worker has started by now, and set its own number.
    torch.set_num_threads(threads)  # The number set last is also the default of threads to come.
    return pool
