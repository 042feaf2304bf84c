"""What the backends refuse, each with one line that names the clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from .config import FeatureConfig
from .conversion import remedy
from .errors import CumelError, InputError
from .tensors import plain

Lengths = Sequence[int] | np.ndarray | Tensor | None
MOST_CHANNELS = 64
LEAST_CLIPS = 256  # of a few samples each that are no batch


def is_cupy(y: object) -> bool:
    """Tell whether `y` is a CuPy array, without importing CuPy."""
    return type(y).__module__.split(".")[0] == "cupy" and hasattr(y, "__dlpack__")


def check_samples(y: Any) -> None:
    """Refuse an array that is neither float32 nor int16, and clips without a sample."""
    name, shape = str(y.dtype).removeprefix("torch."), tuple(y.shape)
    if name not in ("float32", "int16"):
        raise CumelError(f"y has dtype {name}: give float32 in -1..1, or int16{remedy(y)}")
    if not shape or shape[-1] == 0:
        raise CumelError(f"y has shape {shape}: the last axis holds the samples, and needs at least one")


def check_layout(shape: tuple[int, ...], cfg: FeatureConfig) -> None:
    """Refuse channels on the last axis, as soundfile returns them: they read as thousands of tiny clips."""
    if len(shape) < 2:
        return
    n, many = shape[-1], shape[-2]
    if n < cfg.n_fft and n <= MOST_CHANNELS and many >= max(LEAST_CLIPS, 8 * n):
        raise CumelError(
            f"y has shape {shape}: the last axis holds the samples, and {many} clips of {n} are hardly meant; "
            "swap the last two axes when y has channels there, as soundfile.read returns it (y.T), or give lengths"
        )


def clip_lengths(lengths: Lengths, y: Tensor, cfg: FeatureConfig) -> tuple[list[int], bool]:
    """Check the length of every clip in ``y`` [..., n_samples]; without `lengths` each has all the samples.

    Returns
    -------
    lengths : list of int
    packed : bool
        Whether the clips lie in one axis of samples, one right after another.
    """
    batch, longest = tuple(y.shape[:-1]), y.shape[-1]
    given = np.full(batch, longest) if lengths is None else whole_numbers(lengths)
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


def whole_numbers(lengths: Any) -> np.ndarray:
    """Return lengths in host memory, as an array whose dtype tells whether they are whole numbers."""
    try:
        if isinstance(lengths, Tensor):
            with plain(lengths) as numbers:
                return numbers.cpu().numpy()
        values = np.asarray(lengths.get() if is_cupy(lengths) else lengths)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CumelError(f"lengths: give one whole number per clip ({' '.join(str(error).split())})") from None
    return values if values.size else values.astype(np.int64)


def check_finite(peaks: Tensor, first: int = 0, of_clips: int | None = None) -> None:
    """Refuse a clip whose loudest mel value ``peaks`` [n_clips, ...] is no number: it had NaN or infinity in it.

    The clips may be some of a batch of `of_clips`, from its clip `first` on.
    """
    with plain(peaks) as values:
        bad = (~values.isfinite()).flatten().nonzero()
    if len(bad) and values.numel() != peaks.numel():
        raise InputError("a clip under torch.func.vmap holds NaN or infinity, or overflows float32; mend it or drop it")
    if len(bad):
        clip, n_clips = first + int(bad[0]), len(peaks) if of_clips is None else of_clips
        raise InputError(f"clip {clip} of {n_clips} holds NaN or infinity, or overflows float32; mend it or drop it")
