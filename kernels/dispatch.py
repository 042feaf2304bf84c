"""Tensors, and arrays that torch has to compute: which backend takes them, and where the result goes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from . import autograd, cpu, host, launcher, native
from .arrays import Lengths, check_layout, feature_shape, rows_first
from .config import FeatureConfig
from .cuda import Clips
from .errors import CumelError, UnavailableError
from .interchange import as_tensor, clip_lengths, like, listed, output, overlap
from .kinds import Feature
from .out_of_core import stream
from .tensors import Padded, followed


def unchecked_image(y: Tensor, cfg: FeatureConfig, lengths: Lengths = None) -> tuple[Tensor, Tensor]:
    """Compute `mel_image` of clips on a CUDA device without waiting to see whether it would refuse one.

    Parameters
    ----------
    y : Tensor [n_clips, n_samples] or [n]
    cfg : FeatureConfig
    lengths : int array, optional
        As for `stft`.

    Returns
    -------
    images : Tensor [n_clips, n_mels, n_frames], uint8
    loudest : Tensor [n_clips], float32
        Largest mel value of each clip. Where it is NaN or infinite, `mel_image` would have refused the clip.
    """
    cfg = cfg.decibels
    n_samples, _ = clip_lengths(lengths, y, cfg)
    return launcher.frontend(y.device).unchecked_image(Clips.of(y.detach().contiguous(), n_samples, cfg), cfg)


def apply(
    feature: Feature,
    y: Any,
    cfg: FeatureConfig,
    lengths: Lengths,
    device: str | torch.device | None,
    out: Any,
    name: str | None = None,
) -> Any:
    """Check `y`, flatten its batch axes, compute, and give back what came in, where it came from."""
    if torch.compiler.is_compiling():  # This call breaks the graph; `LogMel` is an operator in it.
        eager: Any = torch.compiler.disable(apply)
        return eager(feature, y, cfg, lengths, device, out, name)
    dtype = None if name is None else getattr(torch, name)
    with as_tensor(y) as samples:
        if lengths is None:
            check_layout(tuple(samples.shape), cfg)
        n_samples, packed = clip_lengths(lengths, samples, cfg)
        longest = samples.shape[-1]
        clips = samples if packed else samples.reshape(-1, longest)
        shape = feature_shape(tuple(samples.shape), n_samples, feature.n_rows(cfg), cfg, packed=packed)
        place = _place(device, samples.device)
        if out is not None:
            target = output(out, y, shape, dtype or getattr(torch, feature.dtype))
            if followed(samples):
                raise CumelError("out: no gradient flows through it; leave it away, or detach y")
            flat = None  # Written in place, the first frames would change samples that later ones still read.
            if not overlap(target, clips):
                flat = target.flatten(0, -3) if len(shape) > 2 else target[None]  # a copy where the strides are too odd
                flat = rows_first(flat, cfg)
            if clips.numel():
                result = _compute(feature, clips, n_samples, cfg, place, dtype, flat)
                if result.data_ptr() != target.data_ptr():
                    target.copy_(rows_first(result, cfg).reshape(shape))
            return out
        if clips.numel():
            there = None
            if cfg.time_major and place.type == "cpu" and not followed(samples):  # It writes frame by frame anyway.
                n_clips, n_last = shape[0] if packed else len(clips), shape[-2:]
                there = rows_first(clips.new_empty(n_clips, *n_last, dtype=dtype or getattr(torch, feature.dtype)), cfg)
            result = _compute(feature, clips, n_samples, cfg, place, dtype, there)
        else:  # an empty batch: the shape of one clip's features, without the clip
            result = _compute(feature, clips.new_zeros(1, longest), None, cfg, place, dtype)[:0]
        return like(rows_first(result, cfg).reshape(shape), y)


def _compute(
    feature: Feature,
    clips: Tensor,
    lengths: NDArray[np.int64] | Tensor | None,
    cfg: FeatureConfig,
    device: torch.device,
    dtype: torch.dtype | None,
    out: Tensor | None = None,
) -> Tensor:
    """Compute on `device` what the clips ``[n_clips, n_samples]``, or ``[n]`` without padding, then have at home.

    `out` [n_clips, n_rows, n_frames], which lies at home, is used where the backend computes there.
    """
    home, differentiable = clips.device, followed(clips)
    if device.type == "cuda" and not differentiable:
        frontend = launcher.frontend(device)
        if home.type == "cpu":
            result = stream(frontend, device, feature, Clips.of(clips.detach().contiguous(), lengths, cfg), cfg)
        else:
            lengths = lengths.to(device) if isinstance(lengths, Tensor) else lengths
            on_device = Clips.of(clips.detach().contiguous().to(device), lengths, cfg)
            result = feature.on(frontend)(on_device, cfg, dtype=dtype)
        return result.to(home, dtype)
    n_samples = listed(lengths, clips, cfg)
    if device.type == "cpu" and not differentiable and native.computes(cfg):
        samples = clips.detach().cpu().contiguous().resolve_neg().numpy()
        there = out.numpy() if out is not None and home == device else None
        name = None if dtype is None else str(dtype).removeprefix("torch.")
        return torch.from_numpy(host.of_clips(feature, native.Clips.of(samples, n_samples), cfg, there, name)).to(home)
    dense = pad_sequence(list(clips.split(n_samples)), batch_first=True) if clips.dim() == 1 else clips.contiguous()
    padded = Padded((dense if differentiable else dense.detach()).to(device), n_samples)
    with torch.autocast(device.type, enabled=False):  # half precision costs whole decibels
        if device.type == "cpu" and not differentiable:
            return feature.on(cpu)(padded, cfg, out if home == device else None, dtype).to(home)
        return feature.on(autograd)(padded, cfg, dtype=dtype).to(home)


def _place(device: str | torch.device | None, home: torch.device) -> torch.device:
    """Return the device to compute on, with its number."""
    try:
        place = home if device is None else torch.device(device)
    except (RuntimeError, TypeError):
        raise CumelError(f"device={device!r}: must be cpu, cuda or cuda:N") from None
    if place.type not in ("cpu", "cuda", home.type):
        raise CumelError(f"device={place}: must be cpu, cuda or cuda:N")
    if place.type != "cuda":
        return place
    count = torch.cuda.device_count()
    index = torch.cuda.current_device() if place.index is None and count else place.index or 0
    if index >= count:
        raise UnavailableError(f"device={place}: torch sees {count} CUDA devices; `cumel doctor` says why")
    return torch.device("cuda", index)
