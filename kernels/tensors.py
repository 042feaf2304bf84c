"""A config's constants as float32 tensors, made once per device; mirrored samples; who follows what is computed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._C._functorch import get_unwrapped, is_functorch_wrapped_tensor
from torch.autograd import forward_ad

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
    # A tensor made in inference mode could not serve autograd later, nor one made in a transform outlive it.
    with torch.inference_mode(False), torch._C._DisableFuncTorch():
        source = torch.from_numpy(np.array(values))  # plans are shared, and read-only
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
    index = torch.arange(first, last, device=device or "cpu").remainder(period)
    return torch.minimum(index, period - index)


class _Product(torch.autograd.Function):
    """A constant matrix times features: `backward` may run under autocast, and half precision costs whole decibels."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return matrix @ features

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:  # noqa: ARG004
        ctx.save_for_backward(inputs[0])
        ctx.save_for_forward(inputs[0])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return None, _Product.apply(ctx.saved_tensors[0].mT, gradient)

    @staticmethod
    def jvp(ctx: Any, _: None, tangent: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _Product.apply(ctx.saved_tensors[0], tangent)


def product(matrix: Tensor, features: Tensor) -> Tensor:
    """Return ``matrix @ features`` in float32, and its derivatives too, whatever the mode they are asked for in."""
    return _Product.apply(matrix, features) if followed(features) else matrix @ features


def transformed(y: Tensor) -> bool:
    """Tell whether forward-mode AD or a transform of `torch.func` follows what is done with `y`."""
    return torch._C._are_functorch_transforms_active() or forward_ad.unpack_dual(y).tangent is not None


def followed(y: Tensor) -> bool:
    """Tell whether anything follows what is done with `y`: then only torch's own operators may do it."""
    return (torch.is_grad_enabled() and y.requires_grad) or transformed(y)


@contextmanager
def plain(y: Tensor) -> Iterator[Tensor]:
    """Give the numbers that `y` holds, to be looked at outside of all transforms, with the axes that vmap hides."""
    while is_functorch_wrapped_tensor(y):
        y = get_unwrapped(y)
    with torch._C._DisableFuncTorch():
        yield y.detach()
