"""What the backends refuse, each with one line that names the clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .config import FeatureConfig
from .errors import CumelError, InputError

Lengths = Sequence[int] | np.ndarray | Tensor | None
WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32)


def check_samples(dtype: object, shape: tuple[int, ...]) -> None:
    """Refuse what is neither float32 nor int16, and clips without a sample."""
    name = str(dtype).removeprefix("torch.")
    if name not in ("float32", "int16"):
        raise CumelError(f"y has dtype {name}: give float32 in -1..1, or int16 (y.astype('float32') converts)")
    if not shape or shape[-1] == 0:
        raise CumelError(f"y has shape {shape}: the last axis holds the samples, and needs at least one")


def clip_lengths(lengths: Lengths, y: Tensor, cfg: FeatureConfig) -> tuple[NDArray[np.int64] | Tensor | None, bool]:
    """Check the length of every clip in ``y`` [..., n_samples]; without `lengths` each has all the samples.

    Lengths of a padded batch that lie on its own device stay there, as only waiting for it would tell their values: a
    kernel makes a clip NaN whose length is out of range.

    Returns
    -------
    lengths : int64 [n_clips], or None
        None when each clip has all the samples; a tensor when they stay on the device.
    packed : bool
        Whether the clips lie in one axis of samples, one right after another.
    """
    batch, longest = tuple(y.shape[:-1]), y.shape[-1]
    if lengths is None:
        if y.numel():
            _check_frames(np.array([longest]), cfg)
        return None, False
    if isinstance(lengths, Tensor) or hasattr(lengths, "__cuda_array_interface__"):
        there = torch.as_tensor(lengths).detach()
        away = there.device.type != "cpu" and there.device == y.device
        if away and tuple(there.shape) == batch and there.dtype in WHOLE:
            _check_frames(np.array([longest]), cfg)
            return there.reshape(-1).long().contiguous(), False
        lengths = there.cpu()
    try:
        given = np.asarray(lengths)
    except ValueError:  # lists of several lengths
        raise CumelError(f"lengths={lengths!r:.60}: give one whole number per clip, {batch}") from None
    packed = batch == () and given.ndim == 1 and given.size > 0
    if (given.shape != batch and not packed) or given.dtype.kind not in "iu":
        raise CumelError(
            f"lengths has shape {given.shape} and dtype {given.dtype}: give one whole number per clip, {batch}"
        )
    if given.size == 0:
        return None, False
    flat = given.reshape(-1)
    low, high = int(flat.min()), int(flat.max())
    if low < 1 or high > longest:
        clip = int(((flat < 1) | (flat > longest)).argmax())
        raise CumelError(f"lengths[{clip}]={flat[clip]}: must be between 1 and the {longest} samples of y")
    _check_frames(flat, cfg)
    if packed and (total := int(flat.sum(dtype=np.int64))) != longest:
        raise CumelError(
            f"lengths add up to {total}, but y has {longest} samples: name its clips in order, all of them"
        )
    return (None if low == longest and not packed else flat.astype(np.int64)), packed


def listed(lengths: NDArray[np.int64] | Tensor | None, clips: Tensor, cfg: FeatureConfig) -> list[int]:
    """Return the lengths of ``clips`` [n_clips, n_samples] as numbers, from `clip_lengths`; waits for a device's."""
    if isinstance(lengths, Tensor):
        lengths, _ = clip_lengths(lengths.cpu(), clips, cfg)
    return [clips.shape[1]] * len(clips) if lengths is None else lengths.tolist()


def _check_frames(lengths: NDArray, cfg: FeatureConfig) -> None:
    clip = int(lengths.argmin())
    if cfg.n_frames(int(lengths[clip])) == 0:
        raise CumelError(
            f"clip {clip} has {lengths[clip]} samples, fewer than n_fft={cfg.n_fft}: use center=True or pad it"
        )


def check_finite(peaks: Tensor, first: int = 0, of_clips: int | None = None) -> None:
    """Refuse a clip whose loudest mel value ``peaks`` [n_clips, ...] is no number: it had NaN or infinity in it.

    The clips may be some of a batch of `of_clips`, from its clip `first` on.
    """
    bad = (~peaks.detach().isfinite()).flatten().nonzero()
    if len(bad):
        clip, n_clips = first + int(bad[0]), len(peaks) if of_clips is None else of_clips
        raise InputError(f"clip {clip} of {n_clips} holds NaN or infinity, or overflows float32; mend it or drop it")
