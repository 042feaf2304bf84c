"""A config's constants as float32 tensors, made once per device, and the index of mirrored samples."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from .config import FeatureConfig
from .filterbank import dct_matrix, mel_matrix, window


@lru_cache(maxsize=32)
def taper(cfg: FeatureConfig, device: torch.device) -> Tensor:
    """Return `window` [n_fft]."""
    return _constant(window(cfg), device)


@lru_cache(maxsize=32)
def mel_weights(cfg: FeatureConfig, device: torch.device) -> Tensor:
    """Return `mel_matrix` [n_mels, n_bins]."""
    return _constant(mel_matrix(cfg), device)


@lru_cache(maxsize=32)
def dct_weights(cfg: FeatureConfig, device: torch.device) -> Tensor:
    """Return `dct_matrix` [n_mfcc, n_mels]."""
    return _constant(dct_matrix(cfg), device)


def _constant(values: np.ndarray, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # a tensor made in that mode could not serve autograd later
        return torch.from_numpy(values.astype(np.float32)).to(device)


def mirrored(n_samples: int, first: int, last: int) -> Tensor:
    """Index of samples `first` to `last` of a clip mirrored at both ends.

    Unlike in `torch.nn.functional.pad`, any clip may be mirrored any number of times, as in NumPy.
    """
    if n_samples == 1:
        return torch.zeros(last - first, dtype=torch.long)
    period = 2 * (n_samples - 1)
    index = torch.arange(first, last).remainder_(period)
    return torch.minimum(index, period - index)
