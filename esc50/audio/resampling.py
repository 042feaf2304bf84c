"""Resampling on a device, piece by piece: torchaudio's filters at librosa's kaiser_best settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain
from math import ceil, gcd

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchaudio.transforms import Resample

from ...kernels import InputError
from ...kernels.precision import exact_products

# resampy's kaiser_best, librosa's default up to 0.9; torchaudio documents the same numbers.
ZERO_CROSSINGS = 64
ROLLOFF = 0.9475937167399596
BETA = 14.769656459379492
PIECE_SAMPLES = 2**22  # samples per call of the filter
MOST_TAPS = 2**24  # limit of a filter's size: 64 MB

Samples = NDArray[np.float32]


def resampler_on(device: torch.device) -> str:
    """Name the resampler of recordings for features on `device`."""
    return "torchaudio, kaiser_best" if device.type == "cuda" else "soxr, HQ"


def resample_on(device: torch.device, y: Samples, sr: int, target: int) -> Samples:
    """Resample ``y`` [n_samples] to `target` Hz: ``ceil(n_samples * target / sr)`` samples, computed on `device`.

    Raises
    ------
    InputError
        For rates with so small a common divisor that the filters would not fit.
    """
    return np.concatenate(list(resample_blocks(device, [y], sr, target)))


def resample_blocks(device: torch.device, blocks: Iterable[NDArray], sr: int, target: int) -> Iterator[Samples]:
    """Resample a recording that comes in blocks of any length; the numbers are those of `resample_on`."""
    old, new, width = _design(sr, target)
    convert = _filter(old, new, device)
    context = (ceil(width / old) + 1) * old  # neighbouring samples that the filters need
    step = max(1, PIECE_SAMPLES // old) * old
    buffer, low, first = np.empty(0, np.float32), 0, 0  # `buffer` begins at sample `low`; `first` is converted next

    for block in chain(blocks, [None]):
        buffer = buffer if block is None else np.concatenate([buffer, block])
        while first < low + len(buffer) and (block is None or first + step + context <= low + len(buffer)):
            inside = torch.from_numpy(buffer[: first + step + context - low]).to(device)
            skipped, n = (first - low) // old * new, min(step, low + len(buffer) - first)
            with exact_products():
                converted = convert(inside)
            yield converted[skipped : skipped + ceil(n * new / old)].cpu().numpy()
            first += step
            buffer, low = buffer[max(0, first - context) - low :], max(0, first - context)


def resample_clips(clips: Tensor, sr: int, target: int) -> Tensor:
    """Resample ``clips`` [n_clips, n_samples] to `target` Hz on their device, in one call.

    Each clip's numbers are those of `resample_on` but for the order of sums. A clip may be padded with zeros; the
    output from its ``resampled_length`` on is the filter's echo, and must be cut off.

    Raises
    ------
    InputError
        As `resample_on`.
    """
    old, new, _ = _design(sr, target)
    with exact_products():
        return _filter(old, new, clips.device)(clips)


def _design(sr: int, target: int) -> tuple[int, int, int]:
    """Return both rates divided by their greatest common divisor, and the half-width of the filters in samples."""
    old, new = sr // gcd(sr, target), target // gcd(sr, target)
    width = ceil(ZERO_CROSSINGS * old / (min(old, new) * ROLLOFF))
    if new * (2 * width + old) > MOST_TAPS:
        raise InputError(
            f"{sr} Hz to {target} Hz: no filter of a practical size; resample it first, or use --device cpu"
        )
    return old, new, width


@lru_cache(maxsize=8)
def _filter(old: int, new: int, device: torch.device) -> Resample:
    return Resample(
        old,
        new,
        resampling_method="sinc_interp_kaiser",
        lowpass_filter_width=ZERO_CROSSINGS,
        rolloff=ROLLOFF,
        beta=BETA,
    ).to(device)
