"""What the backends share on tensors: a config's constants, mirrored samples, cepstra and images, autograd's modes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch._C._functorch import get_unwrapped, is_functorch_wrapped_tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

from .config import CHUNK_SAMPLES, FLAT_DB, ROUNDED_UP, FeatureConfig
from .errors import CumelError
from .filterbank import dct_matrix, mel_matrix, window


class Padded(NamedTuple):
    """Clips in one padded tensor, as `cpu` and `autograd` take them."""

    samples: Tensor  # [n_clips, n_samples], float32 or int16
    lengths: list[int]  # samples of each clip


def wanted(result: Tensor, out: Tensor | None, dtype: torch.dtype | None) -> Tensor:
    """Return a backend's result as its caller wants it: in `out`, or else as `dtype`."""
    if out is not None:
        return out if out is result else out.copy_(result)
    return result if dtype is None else result.to(dtype)


@lru_cache(maxsize=32)
def window_of(cfg: FeatureConfig, device: torch.device) -> Tensor:
    """Return `window` [n_fft] times the scale of the samples."""
    return _constant(cfg.scale * window(cfg), device)


@lru_cache(maxsize=32)
def mel_weights(cfg: FeatureConfig, device: torch.device) -> Tensor:
    """Return `mel_matrix` [n_mels, n_bins]."""
    return _constant(mel_matrix(cfg), device)


@lru_cache(maxsize=32)
def dct_weights(cfg: FeatureConfig, device: torch.device) -> Tensor:
    """Return `dct_matrix` [n_mfcc, n_mels]."""
    return _constant(dct_matrix(cfg), device)


@lru_cache(maxsize=32)
def band_values(cfg: FeatureConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return `mean` and `std` of each mel band [n_mels, 1]."""
    each = np.ones((cfg.n_mels, 1))
    mean, std = (_constant(each * np.reshape(values, (-1, 1)), device) for values in (cfg.mean, cfg.std))
    return mean, std


def _constant(values: np.ndarray, device: torch.device) -> Tensor:
    return resident(values.astype(np.float32), device)


def resident(values: np.ndarray, device: torch.device) -> Tensor:
    """Copy an array to a device, to stay there: when this returns, every stream may read it.

    Raises
    ------
    CumelError
        While a CUDA graph is being captured: memory from then belongs to the graph's replays.
    """
    # A tensor made in inference mode could not serve autograd later; one made in a transform could not outlive it.
    with torch.inference_mode(False), torch._C._DisableFuncTorch():
        source = torch.from_numpy(np.array(values))  # copied, since the arrays of plans are read-only
        if device.type != "cuda":
            return source.to(device)
        if torch.cuda.is_current_stream_capturing():
            raise CumelError("a CUDA graph is being captured: compute once before with this config, on any stream")
        stream = torch.cuda.current_stream(device)

        def copy() -> Tensor:
            with torch.cuda.stream(stream):  # The memory belongs to this stream, also when it is freed.
                return source.to(device)

        # torch.compile's graphs own all memory that the thread warming them up takes. This tensor outlives them, so
        # another thread takes its memory.
        with ThreadPoolExecutor(1) as aside:
            return aside.submit(copy).result()


def mirrored(
    n_samples: int | Tensor, first: int, last: int, cfg: FeatureConfig, device: torch.device | None = None
) -> Tensor:
    """Return the index of samples `first` to `last` of a clip mirrored at both ends, with or without its edges.

    With ``n_samples`` [n_clips, 1] there is a row for each clip.

    Unlike in `torch.nn.functional.pad`, any clip may be mirrored any number of times, as in NumPy.
    """
    edge = int(cfg.pad_mode == "symmetric")
    turn = 2 * n_samples - 2 + edge  # Sample i is heard again at turn - i.
    period = turn + edge
    period = period.clamp(min=1) if isinstance(period, Tensor) else max(1, period)  # 1 for one sample
    index = torch.arange(first, last, device=device or "cpu").remainder(period)
    return torch.minimum(index, turn - index)


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
    """Return ``matrix @ features`` in float32, also under autocast; the derivatives are float32 too."""
    return _Product.apply(matrix, features) if followed(features) else matrix @ features


def transformed(y: Tensor) -> bool:
    """Tell whether forward-mode AD or a transform of `torch.func` traces operations on `y`."""
    return torch._C._are_functorch_transforms_active() or forward_ad.unpack_dual(y).tangent is not None


def followed(y: Tensor) -> bool:
    """Tell whether autograd in any form traces operations on `y`: then only torch's own operators may be used."""
    return (torch.is_grad_enabled() and y.requires_grad) or transformed(y)


@contextmanager
def plain(y: Tensor) -> Iterator[Tensor]:
    """Give the numbers of `y` outside of all transforms, with the axes that vmap hides."""
    while is_functorch_wrapped_tensor(y):
        y = get_unwrapped(y)
    with torch._C._DisableFuncTorch():
        yield y.detach()


def cepstra(log_mel: Tensor, lengths: list[int], cfg: FeatureConfig) -> Tensor:
    """Compute [n_clips, n_mfcc, n_frames] of a log-mel spectrogram [n_clips, n_mels, n_frames], on any device."""
    dct = dct_weights(cfg, log_mel.device)
    out, width = [], log_mel.shape[2]
    for clip, n_frames in enumerate(map(cfg.n_frames, lengths)):  # The shape of the clip alone gives its bits.
        parts = [product(dct, log_mel[clip, :, :n_frames].contiguous())]
        if n_frames < width:
            parts.append(product(dct, log_mel[clip, :, n_frames:][:, :1]).expand(-1, width - n_frames))
        out.append(torch.cat(parts, dim=1))
    return torch.stack(out)


def image(log_mel: Tensor, n_frames: list[int]) -> Tensor:
    """Stretch each clip of a log-mel spectrogram [n_clips, n_mels, n_frames] over 0..255: uint8, on any device."""
    parts = [clip[:, :n] for clip, n in zip(log_mel, n_frames, strict=True)]
    stretched = [stretch(part, part.amin(), part.amax()) for part in parts]
    return torch.stack([F.pad(part, (0, log_mel.shape[2] - part.shape[1])) for part in stretched])


def stretch(log_mel: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Stretch decibels between `low` and `high` over 0..255: uint8 of the same shape, 0 where all are the same."""
    # Rounded up, so that the maximum reaches 255; as in epilogue.cuh. A tensor is divided, since torch divides a number
    # by multiplying it with a reciprocal, whose last bit differs.
    scale = torch.full_like(high, 255.0) / (high - low) * ROUNDED_UP
    return ((log_mel - low) * torch.where(high - low < FLAT_DB, 0.0, scale)).to(torch.uint8)


def chunk_frames(cfg: FeatureConfig) -> int:
    """Return the frames of a chunk of the CPU path: frames from a multiple of it on have the bits of the whole clip."""
    return max(1, CHUNK_SAMPLES // max(cfg.n_fft, cfg.hop_length))


def chunk_rows(n_frames: int) -> int:
    """Return the rows of a clip of `n_frames` that are measured together, to normalize them."""
    return max(1, CHUNK_SAMPLES // n_frames)
