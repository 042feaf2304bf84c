"""Resampling on a device: torchaudio's filters at librosa's kaiser_best settings, a piece of a recording at a time."""

from __future__ import annotations

from functools import lru_cache
from math import ceil, gcd

import numpy as np
import torch
from numpy.typing import NDArray
from torchaudio.transforms import Resample

from ..kernels import InputError

# resampy's kaiser_best, which was librosa's default up to 0.9; torchaudio documents the same numbers.
ZERO_CROSSINGS = 64
ROLLOFF = 0.9475937167399596
BETA = 14.769656459379492
PIECE_SAMPLES = 2**22
MOST_TAPS = 2**24  # 64 MB of filters


def resample_on(device: torch.device, y: NDArray[np.float32], sr: int, target: int) -> NDArray[np.float32]:
    """Resample ``y`` [n_samples] to `target` Hz: ``ceil(n_samples * target / sr)`` samples, computed on `device`.

    Raises
    ------
    InputError
        For rates with so small a common divisor that the filters would not fit.
    """
    old, new = sr // gcd(sr, target), target // gcd(sr, target)
    width = ceil(ZERO_CROSSINGS * old / (min(old, new) * ROLLOFF))
    if new * (2 * width + old) > MOST_TAPS:
        raise InputError(
            f"{sr} Hz to {target} Hz: no filter of a practical size; resample it first, or use --device cpu"
        )
    convert = _filter(old, new, device)
    context = (ceil(width / old) + 1) * old  # of neighbouring samples, which the filters see
    step = max(1, PIECE_SAMPLES // old) * old
    out = np.empty(ceil(len(y) * new / old), np.float32)
    for first in range(0, len(y), step):
        low = max(0, first - context)
        piece = torch.from_numpy(y[low : first + step + context]).to(device)
        begin, skipped = first // old * new, (first - low) // old * new
        length = min(step // old * new, len(out) - begin)
        out[begin : begin + length] = convert(piece)[skipped : skipped + length].cpu().numpy()
    return out


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
