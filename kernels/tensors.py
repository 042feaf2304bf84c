"""A config's constants as float32 tensors, made once per device, and the index of mirrored samples."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from .config import FeatureConfig
from .errors import CumelError
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
    return resident(values.astype(np.float32), device)


def resident(values: np.ndarray, device: torch.device) -> Tensor:
    """Copy an array to a device, to stay there: when this returns it is there for every stream.

    Raises
    ------
    CumelError
        While a CUDA graph is being captured, for whose replays alone memory is given out.
    """
    source = torch.from_numpy(np.array(values))  # plans are shared, and read-only
    with torch.inference_mode(False):  # a tensor made in that mode could not serve autograd later
        if device.type != "cuda":
            return source.to(device)
        if torch.cuda.is_current_stream_capturing():
            raise CumelError("a CUDA graph is being captured: compute once before with this config, on any stream")
        stream = torch.cuda.current_stream(device)

        def copy() -> Tensor:
            with torch.cuda.stream(stream):  # whose memory this is, also when it is freed
                return source.to(device)

        # torch.compile's graphs own what the thread that warms them up takes: not this, which outlives them.
        with ThreadPoolExecutor(1) as aside:
            return aside.submit(copy).result()


def mirrored(n_samples: int | Tensor, first: int, last: int, device: torch.device | None = None) -> Tensor:
    """Index of samples `first` to `last` of a clip mirrored at both ends; of several with ``n_samples`` [n_clips, 1].

    Unlike in `torch.nn.functional.pad`, any clip may be mirrored any number of times, as in NumPy.
    """
    period = 2 * (n_samples - 1)
    period = period.clamp(min=1) if isinstance(period, Tensor) else max(1, period)  # of one sample: 1, all multiples
    index = torch.arange(first, last, device=device).remainder(period)
    return torch.minimum(index, period - index)
