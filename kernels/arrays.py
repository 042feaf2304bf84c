"""What goes in and what comes out: NumPy, torch and CuPy arrays as tensors and back, and checks of samples and lengths.

Every error is one line that names the clip.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

from .config import FeatureConfig
from .conversion import remedy
from .errors import CumelError, InputError
from .tensors import plain

Lengths = Sequence[int] | np.ndarray | Tensor | None
MOST_CHANNELS = 64
LEAST_CLIPS = 256  # So many clips of a few samples each are taken for swapped axes.
WHOLE = ("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32")  # dtypes that torch turns into int64
HINTS: dict[type, str] = {  # by what a user gave in place of an array
    tuple: "; of the samples and rate that libraries read from a file, give the samples",
    list: "; np.asarray(y, 'float32') makes one of numbers",
    str: "; cumel.esc50.audio.load reads a recording",
    os.PathLike: "; cumel.esc50.audio.load reads a recording",
}


def is_cupy(y: object) -> bool:
    """Tell whether `y` is a CuPy array, without importing CuPy."""
    return type(y).__module__.split(".")[0] == "cupy" and hasattr(y, "__dlpack__")


@contextmanager
def as_tensor(y: Any) -> Iterator[Tensor]:
    """Give `y` as a tensor; for a CuPy array, with CuPy's current stream as torch's.

    Raises
    ------
    CumelError
        For anything but a NumPy or CuPy array or a torch tensor, and for what `check_samples` refuses.
    """
    if not isinstance(y, Tensor | np.ndarray) and not is_cupy(y):
        hint = next((hint for kind, hint in HINTS.items() if isinstance(y, kind)), "")
        raise CumelError(f"y: expected a NumPy or CuPy array or a torch tensor, got {type(y).__name__}{hint}")
    if isinstance(y, np.ma.MaskedArray):
        raise CumelError("y: a masked array hides samples; y.filled(0) makes silence of them")
    if isinstance(y, Tensor) and (y.is_meta or y.layout != torch.strided):
        remedy = "the meta device, which holds no numbers" if y.is_meta else f"{y.layout}; y.to_dense() is taken"
        raise CumelError(f"y: the tensor's samples lie in {remedy}")
    check_samples(y)
    if isinstance(y, Tensor):
        yield y
    elif isinstance(y, np.ndarray):
        source = y if y.flags.writeable else y.copy()  # torch has no read-only tensors
        yield torch.from_numpy(np.ascontiguousarray(source))
    else:
        device = torch.device("cuda", y.device.id)
        address = sys.modules["cupy"].cuda.get_current_stream(y.device.id).ptr
        with torch.cuda.stream(_torchs(address, device)):
            yield torch.from_dlpack(y)


def _torchs(address: int, device: torch.device) -> torch.cuda.Stream:
    """Return a CUDA stream as torch's. Address 0, the default stream, needs a case: ExternalStream misreads it."""
    return torch.cuda.ExternalStream(address, device) if address else torch.cuda.default_stream(device)


def like(out: Tensor, y: Any) -> Any:
    """Give a tensor as the kind of array that `y` is."""
    if isinstance(y, np.ndarray):
        return out.numpy()
    return sys.modules["cupy"].from_dlpack(out) if is_cupy(y) else out


def output(out: Any, y: Any, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Give the array that a result of this shape and dtype is to be written to as a tensor.

    Raises
    ------
    CumelError
        For another kind of array than `y`, another device, shape or dtype, or memory that cannot be written.
    """
    if not isinstance(out, Tensor | np.ndarray) and not is_cupy(out):
        raise CumelError(f"out: expected an array of the kind of y, {type(y).__name__}, got {type(out).__name__}")
    name, wanted = (str(kind).removeprefix("torch.") for kind in (out.dtype, dtype))
    if _kind(out) is not _kind(y) or out.device != y.device:
        raise CumelError(f"out: must be an array of the kind of y, {type(y).__name__}, on its device")
    if tuple(out.shape) != shape or name != wanted:
        raise CumelError(f"out has shape {tuple(out.shape)} and dtype {name}: the result has {shape} and {wanted}")
    if isinstance(out, np.ndarray) and (
        not out.flags.writeable or any(step < 0 or step % out.itemsize for step in out.strides)
    ):
        raise CumelError("out: must be writeable, with strides of 0 or more, in whole values")
    if isinstance(out, Tensor) and out.requires_grad:
        raise CumelError("out: no gradient flows through it; give out.detach()")
    if isinstance(out, Tensor) and out.layout != torch.strided:
        raise CumelError(f"out: must be a dense tensor, not {out.layout}")
    if isinstance(out, Tensor):
        target = out
    else:
        target = torch.from_numpy(out) if isinstance(out, np.ndarray) else torch.from_dlpack(out)
    if target.numel() and any(n > 1 and step == 0 for n, step in zip(target.shape, target.stride(), strict=True)):
        raise CumelError("out: an expanded array has one place for many values; give one with a place for each")
    return target


def _kind(y: Any) -> type:
    """Return the library's array type that `y` is, or is derived from."""
    return next((kind for kind in (Tensor, np.ndarray) if isinstance(y, kind)), type(y))


def overlap(a: Tensor, b: Tensor) -> bool:
    """Tell whether the memory from the first to the last value of one tensor has a part in common with another's."""
    return a.device == b.device and a.data_ptr() < _end(b) and b.data_ptr() < _end(a)


def _end(values: Tensor) -> int:
    """Return the address past the last value."""
    last = sum((n - 1) * step for n, step in zip(values.shape, values.stride(), strict=True))
    return values.data_ptr() + (last + 1) * values.itemsize


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


def clip_lengths(lengths: Lengths, y: Tensor, cfg: FeatureConfig) -> tuple[NDArray[np.int64] | Tensor | None, bool]:
    """Check the length of every clip in ``y`` [..., n_samples]; without `lengths` each has all the samples.

    Lengths of a padded batch that lie on its own device stay there unread, since reading would wait for the device. The
    kernels make a clip NaN whose length is out of range.

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
    on_device = _on_device(lengths, y)
    if on_device is not None:
        _check_frames(np.array([longest]), cfg)
        return on_device, False
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
    _check_frames(flat, cfg)
    if packed and (total := int(flat.sum(dtype=np.int64))) != longest:
        raise CumelError(
            f"lengths add up to {total}, but y has {longest} samples: name its clips in order, all of them"
        )
    return (None if low == longest and not packed else flat.astype(np.int64)), packed


def listed(lengths: NDArray[np.int64] | Tensor | None, clips: Tensor, cfg: FeatureConfig) -> list[int]:
    """Return the lengths from `clip_lengths` of ``clips`` [n_clips, n_samples] as numbers; waits for a device."""
    if isinstance(lengths, Tensor):
        lengths, _ = clip_lengths(lengths.cpu(), clips, cfg)
    return [clips.shape[1]] * len(clips) if lengths is None else lengths.tolist()


def _check_frames(lengths: NDArray, cfg: FeatureConfig) -> None:
    clip = int(lengths.argmin())
    if cfg.n_frames(int(lengths[clip])) == 0:
        raise CumelError(
            f"clip {clip} has {lengths[clip]} samples, fewer than n_fft={cfg.n_fft}: use center=True or pad it"
        )


def _on_device(lengths: Any, y: Tensor) -> Tensor | None:
    """Return lengths of a padded batch that lie on the device of `y`, int64 [n_clips]; None: the host has to read them.

    Lengths of another shape or dtype are None too: what is wrong with them is said on the host.
    """
    if y.device.type == "cpu" or not (isinstance(lengths, Tensor) or is_cupy(lengths)):
        return None
    if str(lengths.dtype).removeprefix("torch.") not in WHOLE or tuple(lengths.shape) != tuple(y.shape[:-1]):
        return None
    numbers = lengths.detach() if isinstance(lengths, Tensor) else torch.from_dlpack(lengths)
    if numbers.device != y.device or is_functorch_wrapped_tensor(numbers):
        return None
    return numbers.reshape(-1).long().contiguous()


def whole_numbers(lengths: Any) -> np.ndarray:
    """Return lengths in host memory, as an array of whatever dtype they have."""
    try:
        if isinstance(lengths, Tensor):
            with plain(lengths) as numbers:
                return numbers.cpu().numpy()
        values = np.asarray(lengths.get() if is_cupy(lengths) else lengths)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CumelError(f"lengths: give one whole number per clip ({' '.join(str(error).split())})") from None
    return values if values.size else values.astype(np.int64)


def check_finite(peaks: Tensor, first: int = 0, of_clips: int | None = None) -> None:
    """Refuse clips with NaN or infinity in them.

    Parameters
    ----------
    peaks : Tensor [n_clips, ...]
        Loudest mel value of each clip; not finite where its samples were not.
    first, of_clips : int
        Number of the first of these clips in the user's batch, and the clips of that batch, for the message.
    """
    with plain(peaks) as values:
        bad = (~values.isfinite()).flatten().nonzero()
    if len(bad) and values.numel() != peaks.numel():
        raise InputError("a clip under torch.func.vmap holds NaN or infinity, or overflows float32; mend it or drop it")
    if len(bad):
        clip, n_clips = first + int(bad[0]), len(peaks) if of_clips is None else of_clips
        raise InputError(f"clip {clip} of {n_clips} holds NaN or infinity, or overflows float32; mend it or drop it")
