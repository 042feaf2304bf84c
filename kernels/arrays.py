"""What the functions take: checks of samples, layouts and lengths that need NumPy alone.

Every error is one line that names the clip.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .config import FeatureConfig
from .conversion import is_tensor, remedy
from .errors import CumelError, InputError

if TYPE_CHECKING:
    from torch import Tensor

Lengths: TypeAlias = "Sequence[int] | np.ndarray | Tensor | None"
MOST_CHANNELS = 64
LEAST_CLIPS = 256  # So many clips of a few samples each are taken for swapped axes.
HINTS: dict[type, str] = {  # by what a user gave in place of an array
    tuple: "; of the samples and rate that libraries read from a file, give the samples",
    list: "; np.asarray(y, 'float32') makes one of numbers",
    str: "; cumel.esc50.audio.load reads a recording",
    os.PathLike: "; cumel.esc50.audio.load reads a recording",
}


def is_cupy(y: object) -> bool:
    """Tell whether `y` is a CuPy array, without importing CuPy."""
    return type(y).__module__.split(".")[0] == "cupy" and hasattr(y, "__dlpack__")


def check_array(y: Any) -> None:
    """Refuse anything but a NumPy or CuPy array or a torch tensor, and what `check_samples` refuses."""
    if not isinstance(y, np.ndarray) and not is_tensor(y) and not is_cupy(y):
        hint = next((hint for kind, hint in HINTS.items() if isinstance(y, kind)), "")
        raise CumelError(f"y: expected a NumPy or CuPy array or a torch tensor, got {type(y).__name__}{hint}")
    masked = sys.modules.get("numpy.ma")  # NumPy imports it when it is first used, which takes longer than a feature
    if masked is not None and isinstance(y, masked.MaskedArray):
        raise CumelError("y: a masked array hides samples; y.filled(0) makes silence of them")
    check_samples(y)


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


def host_lengths(lengths: Lengths, shape: tuple[int, ...], cfg: FeatureConfig) -> tuple[NDArray[np.int64] | None, bool]:
    """Check the length of every clip of samples in this `shape` [..., n_samples]; without `lengths` each has all.

    Returns
    -------
    lengths : int64 [n_clips], or None
        None when each clip has all the samples.
    packed : bool
        Whether the clips lie in one axis of samples, one right after another.
    """
    batch, longest = shape[:-1], shape[-1]
    if lengths is None:
        if 0 not in shape:
            check_frames(np.array([longest]), cfg)
        return None, False
    numbers = whole_numbers(lengths)
    packed = batch == () and numbers.ndim == 1 and numbers.size > 0
    if (numbers.shape != batch and not packed) or numbers.dtype.kind not in "iu":
        raise CumelError(
            f"lengths has shape {numbers.shape} and dtype {numbers.dtype}: give one whole number per clip, {batch}"
        )
    if numbers.size == 0:
        return None, False
    flat = numbers.reshape(-1)
    low, high = int(flat.min()), int(flat.max())
    if low < 1 or high > longest:
        clip = int(((flat < 1) | (flat > longest)).argmax())
        raise CumelError(f"lengths[{clip}]={flat[clip]}: must be between 1 and the {longest} samples of y")
    check_frames(flat, cfg)
    if packed and (total := int(flat.sum(dtype=np.int64))) != longest:
        raise CumelError(
            f"lengths add up to {total}, but y has {longest} samples: name its clips in order, all of them"
        )
    return (None if low == longest and not packed else flat.astype(np.int64)), packed


def feature_shape(
    shape: tuple[int, ...], lengths: Any, n_rows: int, cfg: FeatureConfig, *, packed: bool
) -> tuple[int, ...]:
    """Return the shape [..., n_rows, n_frames] of a feature of samples in `shape`, by what `host_lengths` gave.

    The last two axes are the other way round with `cfg.time_major`.
    """
    batch = (len(lengths),) if packed else shape[:-1]
    n_frames = cfg.n_frames(int(lengths.max()) if packed else shape[-1])
    return (*batch, n_frames, n_rows) if cfg.time_major else (*batch, n_rows, n_frames)


def rows_first(features: Any, cfg: FeatureConfig) -> Any:
    """Give a view [..., n_rows, n_frames] of a feature in the layout of `cfg`, or the other way round."""
    return features.swapaxes(-1, -2) if cfg.time_major else features


def check_frames(lengths: NDArray, cfg: FeatureConfig) -> None:
    """Refuse a clip that is shorter than a frame."""
    clip = int(lengths.argmin())
    if cfg.n_frames(int(lengths[clip])) == 0:
        remedy = "pad it" if cfg.center else "use center=True or pad it"
        raise CumelError(
            f"clip {clip} has {lengths[clip]} samples, fewer than the {cfg.least_samples} of one frame: {remedy}"
        )


def whole_numbers(lengths: Any) -> np.ndarray:
    """Return lengths in host memory, as an array of whatever dtype they have."""
    try:
        if is_tensor(lengths):
            from .tensors import plain  # imports torch

            with plain(lengths) as numbers:
                return numbers.cpu().numpy()
        values = np.asarray(lengths.get() if is_cupy(lengths) else lengths)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CumelError(f"lengths: give one whole number per clip ({' '.join(str(error).split())})") from None
    return values if values.size else values.astype(np.int64)


def check_output(out: Any, y: Any, shape: tuple[int, ...], dtype: str) -> None:
    """Refuse another kind of array than `y`, another device, shape or dtype, and memory that cannot be written."""
    if not isinstance(out, np.ndarray) and not is_tensor(out) and not is_cupy(out):
        raise CumelError(f"out: expected an array of the kind of y, {type(y).__name__}, got {type(out).__name__}")
    if _library(out) != _library(y) or out.device != y.device:
        raise CumelError(f"out: must be an array of the kind of y, {type(y).__name__}, on its device")
    name = str(out.dtype).removeprefix("torch.")
    if tuple(out.shape) != shape or name != dtype:
        raise CumelError(f"out has shape {tuple(out.shape)} and dtype {name}: the result has {shape} and {dtype}")
    steps: tuple[int, ...]
    if is_tensor(out):
        tensor: Any = out
        if tensor.requires_grad:
            raise CumelError("out: no gradient flows through it; give out.detach()")
        if str(tensor.layout) != "torch.strided":
            raise CumelError(f"out: must be a dense tensor, not {tensor.layout}")
        steps = tensor.stride()
    else:
        steps = out.strides
    if isinstance(out, np.ndarray) and (
        not out.flags.writeable or any(step < 0 or step % out.itemsize for step in out.strides)
    ):
        raise CumelError("out: must be writeable, with strides of 0 or more, in whole values")
    if 0 not in shape and any(n > 1 and step == 0 for n, step in zip(shape, steps, strict=True)):
        raise CumelError("out: an expanded array has one place for many values; give one with a place for each")


def _library(y: Any) -> str:
    """Return the library whose array `y` is, or is derived from."""
    return "numpy" if isinstance(y, np.ndarray) else "torch" if is_tensor(y) else "cupy"


def not_finite(clip: int, n_clips: int) -> InputError:
    """Say which clip of a batch holds NaN or infinity."""
    return InputError(f"clip {clip} of {n_clips} holds NaN or infinity, or overflows float32; mend it or drop it")
