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
from .tensors import Padded, cepstra, chunk_frames, image, mirrored, wanted, window_of

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
        framed = _frames(clips.samples[clip], clips.lengths[clip], start, stop, cfg)
        result[clip, :, start:stop] = torch.fft.rfft(framed * analysis).T

    _run(chunk, clips.lengths, cfg)
    return wanted(result, out, dtype)


def spectrogram(
    clips: Padded, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Compute [n_clips, n_bins, n_frames] float32, magnitude or power; zero past a clip's end."""
    result = _output(clips, cfg.n_bins, cfg, torch.float32, out)
    analysis = window_of(cfg, result.device)

    def chunk(clip: int, start: int, stop: int) -> None:
        framed = _frames(clips.samples[clip], clips.lengths[clip], start, stop, cfg)
        result[clip, :, start:stop] = _magnitude_or_power(torch.fft.rfft(framed * analysis), cfg)

    _run(chunk, clips.lengths, cfg)
    return wanted(result, out, dtype)


def melspectrogram(
    clips: Padded, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Compute [n_clips, n_mels, n_frames] float32; zero past a clip's end."""
    result = _output(clips, cfg.n_mels, cfg, torch.float32, out)
    table, analysis = _tables(cfg), window_of(cfg, result.device)

    def chunk(clip: int, start: int, stop: int) -> None:
        framed = _frames(clips.samples[clip], clips.lengths[clip], start, stop, cfg)
        power = _magnitude_or_power(torch.fft.rfft(framed * analysis)[:, table.first_bin : table.last_bin], cfg)
        # A mel filter is a weighted sum of a few rows of `power`: an embedding bag, torch's fastest operator for that.
        mel = F.embedding_bag(table.bins, power, table.offsets, mode="sum", per_sample_weights=table.weights)
        result[clip].T[start:stop].copy_(mel.T)  # torch transposes block by block where a frame's values lie together

    _run(chunk, clips.lengths, cfg)
    return wanted(result, out, dtype)


def log_mel(clips: Padded, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """Compute `melspectrogram` in dB, at most `top_db` below each clip's maximum.

    Raises
    ------
    InputError
        For a clip with NaN or infinity in it.
    """
    mel = melspectrogram(clips, cfg, out if out is not None and out.dtype == torch.float32 else None)
    peaks = mel.amax(dim=(1, 2), keepdim=True)
    check_finite(peaks)
    floor = torch.full_like(peaks, cfg.db_per_decade * math.log10(cfg.least))
    if cfg.top_db is not None:
        floor = torch.maximum(floor, peaks.clamp(min=cfg.least).log10() * cfg.db_per_decade - cfg.top_db)
    db = torch.maximum(mel.log10_().mul_(cfg.db_per_decade), floor, out=mel)  # lifts -inf, the dB of 0, as well
    return wanted(db.sub_(cfg.db_of_ref) if cfg.db_of_ref else db, out, dtype)


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
    return power.sqrt_() if cfg.power == 1 else power


def _output(clips: Padded, n_rows: int, cfg: FeatureConfig, dtype: torch.dtype, out: Tensor | None) -> Tensor:
    """Return memory for a feature, `out` where it has the dtype; zeros, unless every frame gets written."""
    longest = clips.samples.shape[1]
    every = min(clips.lengths, default=0) == longest
    if out is not None and out.dtype == dtype:
        return out if every else out.zero_()
    make = torch.empty if every else torch.zeros
    return make(len(clips.samples), n_rows, cfg.n_frames(longest), dtype=dtype, device=clips.samples.device)


def _frames(clip: Tensor, n_samples: int, start: int, stop: int, cfg: FeatureConfig) -> Tensor:
    """Frames `start` to `stop` of one clip as a view [stop - start, n_fft] of the samples that they cover."""
    first = start * cfg.hop_length - cfg.edges[0]
    last = (stop - 1) * cfg.hop_length - cfg.edges[0] + cfg.n_fft
    samples = (
        clip[first:last] if first >= 0 and last <= n_samples else _span(clip, n_samples, first, last, cfg.pad_mode)
    )
    if samples.dtype == torch.int16:
        samples = samples.float().mul_(INT16_SCALE)
    return samples.as_strided((stop - start, cfg.n_fft), (cfg.hop_length, 1), samples.storage_offset())


def _span(clip: Tensor, n_samples: int, first: int, last: int, pad_mode: str) -> Tensor:
    """Copy samples `first` to `last`, which reach past an end of the clip, with padding.

    Few operators do it, since a thread has to take Python's lock again after each.
    """
    low, high = max(first, 0), min(last, n_samples)
    inside = clip[low:high]
    if pad_mode == "constant":
        return F.pad(inside, (low - first, last - high))
    left, right = (clip[_mirrored(n_samples, *ends)] for ends in ((first, low), (high, last)))
    return torch.cat((left, inside, right))


_mirrored = lru_cache(maxsize=64)(mirrored)


def _run(chunk: Callable[[int, int, int], None], lengths: list[int], cfg: FeatureConfig) -> None:
    """Call ``chunk(clip, start, stop)`` for every chunk of every clip, on as many threads as torch may use."""
    step = chunk_frames(cfg)
    chunks = [
        (clip, start, min(start + step, n_frames))
        for clip, n_frames in enumerate(map(cfg.n_frames, lengths))
        for start in range(0, n_frames, step)
    ]

    def work(jobs: Iterator[tuple[int, int, int]]) -> None:
        with torch.inference_mode():  # Each thread needs its own; it may then write to tensors of that mode.
            for job in jobs:
                chunk(*job)

    with _lock:  # Making a pool changes torch's number of threads for a moment.
        threads = torch.get_num_threads()
        pool = _pool(threads, os.getpid()) if threads > 1 else None
    jobs = iter(chunks)
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
