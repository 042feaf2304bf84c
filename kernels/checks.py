"""What the backends refuse, each with one line that names the clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .config import FeatureConfig
from .errors import CumelError, InputError

Lengths = Sequence[int] | np.ndarray | Tensor | None


def check_samples(dtype: object, shape: tuple[int, ...]) -> None:
    """Refuse what is neither float32 nor int16, and clips without a sample."""
    name = str(dtype).removeprefix("torch.")
    if name not in ("float32", "int16"):
        raise CumelError(f"y has dtype {name}: give float32 in -1..1, or int16 (y.astype('float32') converts)")
    if not shape or shape[-1] == 0:
        raise CumelError(f"y has shape {shape}: the last axis holds the samples, and needs at least one")


def clip_lengths(lengths: Lengths, y: Tensor, cfg: FeatureConfig) -> tuple[list[int], bool]:
    """Check the length of every clip in ``y`` [..., n_samples]; without `lengths` each has all the samples.

    Returns
    -------
    lengths : list of int
    packed : bool
        Whether the clips lie in one axis of samples, one right after another.
    """
    batch, longest = tuple(y.shape[:-1]), y.shape[-1]
    given = np.full(batch, longest) if lengths is None else np.asarray(torch.as_tensor(lengths).cpu())
    packed = batch == () and given.ndim == 1 and given.size > 0
    if (given.shape != batch and not packed) or given.dtype.kind not in "iu":
        raise CumelError(
            f"lengths has shape {given.shape} and dtype {given.dtype}: give one whole number per clip, {batch}"
        )
    flat = given.reshape(-1).tolist()
    for n in dict.fromkeys(flat):  # most clips of a batch are as long as another
        if not 1 <= n <= longest:
            raise CumelError(f"lengths[{flat.index(n)}]={n}: must be between 1 and the {longest} samples of y")
        if cfg.n_frames(n) == 0:
            clip = flat.index(n)
            raise CumelError(f"clip {clip} has {n} samples, fewer than n_fft={cfg.n_fft}: use center=True or pad it")
    if packed and sum(flat) != longest:
        raise CumelError(
            f"lengths add up to {sum(flat)}, but y has {longest} samples: name its clips in order, all of them"
        )
    return flat, packed


def check_finite(peaks: Tensor, first: int = 0, of_clips: int | None = None) -> None:
    """Refuse a clip whose loudest mel value ``peaks`` [n_clips, ...] is no number: it had NaN or infinity in it.

    The clips may be some of a batch of `of_clips`, from its clip `first` on.
    """
    bad = (~peaks.detach().isfinite()).flatten().nonzero()
    if len(bad):
        clip, n_clips = first + int(bad[0]), len(peaks) if of_clips is None else of_clips
        raise InputError(f"clip {clip} of {n_clips} holds NaN or infinity, or overflows float32; mend it or drop it")
