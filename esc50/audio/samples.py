"""Samples in memory: mix down, refuse NaN and infinity, resample with soxr, fit to a length. librosa's numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from ...kernels import InputError

Samples = NDArray[np.float32]
Pcm = NDArray[np.int16] | Samples


def to_mono(y: NDArray) -> NDArray:
    """Return the mean of the channels of ``y`` [n_samples, n_channels]."""
    with np.errstate(over="ignore", invalid="ignore"):  # `check_finite` reports what overflows
        return np.mean(y, axis=1) if y.shape[1] > 1 else y[:, 0]


def check_finite(path: Path | str, y: NDArray, first: int = 0) -> None:
    """Raise an `InputError` for samples that are NaN or infinite.

    Parameters
    ----------
    path : path
        The recording that the error names.
    y : ndarray [n_samples]
    first : int
        Number of ``y[0]`` in the recording.
    """
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        bad = np.flatnonzero(~np.isfinite(y))
        where = first + int(bad[0])
        raise InputError(f"{path}: sample {where} is NaN or infinite ({bad.size} such); repair it, or leave it out")


def resample(y: Samples, sr: int, target: int) -> Samples:
    """Resample to `target` Hz with soxr HQ: ``ceil(n_samples * target / sr)`` samples, as `librosa.resample`."""
    out = soxr.resample(y, sr, target, quality="HQ")
    n_samples = int(np.ceil(len(y) * target / sr))
    return out[:n_samples] if len(out) >= n_samples else np.pad(out, (0, n_samples - len(out)))


def resample_stream(blocks: Iterable[Samples], sr: int, target: int) -> Iterator[Samples]:
    """Resample block by block: together the blocks have the bits of `resample`, whose one call does the same inside."""
    stream = soxr.ResampleStream(sr, target, 1, dtype="float32", quality="HQ")
    n_in = n_out = 0
    for block in blocks:
        n_in += len(block)
        y = stream.resample_chunk(block)
        n_out += len(y)
        yield y
    n_left = ceil(n_in * target / sr) - n_out
    assert n_left >= 0  # soxr holds back more than it rounds up
    last = stream.resample_chunk(np.empty(0, np.float32), last=True)[:n_left]
    yield np.pad(last, (0, n_left - len(last)))


def resampled_length(n_samples: int, sr: int, target: int) -> int:
    """Return how many samples at `target` Hz a recording of `n_samples` at `sr` Hz has."""
    return -(-n_samples * target // sr)


def fit_length(y: Samples, n_samples: int) -> Samples:
    """Return exactly `n_samples`: a long clip is cut at its end, a short one is mirrored at both ends.

    The ESC-50 baseline fits its clips in the same way.
    """
    if len(y) < n_samples:
        y = np.pad(y, own_part(len(y), n_samples)[0], mode="reflect")
    return y[:n_samples]


def own_part(n: int, n_samples: int) -> tuple[int, int]:
    """Return where a clip of `n` samples lies in what `fit_length` makes of it: first sample, and one behind the last.

    Samples before and behind are mirrored.
    """
    first = max(0, -(-(n_samples - n) // 2))
    return first, min(n_samples, first + n)
