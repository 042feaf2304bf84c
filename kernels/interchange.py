"""NumPy, torch and CuPy arrays as tensors and back, without a copy; and what is checked on tensors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

from .arrays import Lengths, check_array, check_frames, check_output, host_lengths, is_cupy, not_finite
from .config import FeatureConfig
from .errors import CumelError, InputError
from .tensors import plain

WHOLE = ("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32")  # dtypes that torch turns into int64


@contextmanager
def as_tensor(y: Any) -> Iterator[Tensor]:
    """Give `y` as a tensor; for a CuPy array, with CuPy's current stream as torch's.

    Raises
    ------
    CumelError
        For anything but a NumPy or CuPy array or a torch tensor, and for what `check_samples` refuses.
    """
    if isinstance(y, Tensor) and (y.is_meta or y.layout != torch.strided):
        remedy = "the meta device, which holds no numbers" if y.is_meta else f"{y.layout}; y.to_dense() is taken"
        raise CumelError(f"y: the tensor's samples lie in {remedy}")
    check_array(y)
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
    check_output(out, y, shape, str(dtype).removeprefix("torch."))
    if isinstance(out, Tensor):
        return out
    return torch.from_numpy(out) if isinstance(out, np.ndarray) else torch.from_dlpack(out)


def overlap(a: Tensor, b: Tensor) -> bool:
    """Tell whether the memory from the first to the last value of one tensor has a part in common with another's."""
    return a.device == b.device and a.data_ptr() < _end(b) and b.data_ptr() < _end(a)


def _end(values: Tensor) -> int:
    """Return the address past the last value."""
    last = sum((n - 1) * step for n, step in zip(values.shape, values.stride(), strict=True))
    return values.data_ptr() + (last + 1) * values.itemsize


def clip_lengths(lengths: Lengths, y: Tensor, cfg: FeatureConfig) -> tuple[NDArray[np.int64] | Tensor | None, bool]:
    """Check the length of every clip in ``y`` [..., n_samples], as `host_lengths` does.

    Lengths of a padded batch that lie on its own device stay there unread, since reading would wait for the device:
    they are returned as a tensor. The kernels make a clip NaN whose length is out of range.
    """
    on_device = None if lengths is None else lengths_on_device(lengths, y)
    if on_device is None:
        return host_lengths(lengths, tuple(y.shape), cfg)
    check_frames(np.array([y.shape[-1]]), cfg)
    return on_device, False


def listed(lengths: NDArray[np.int64] | Tensor | None, clips: Tensor, cfg: FeatureConfig) -> list[int]:
    """Return the lengths from `clip_lengths` of ``clips`` [n_clips, n_samples] as numbers; waits for a device."""
    if isinstance(lengths, Tensor):
        lengths, _ = clip_lengths(lengths.cpu(), clips, cfg)
    return [clips.shape[1]] * len(clips) if lengths is None else lengths.tolist()


def lengths_on_device(lengths: Any, y: Tensor) -> Tensor | None:
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
        raise not_finite(clip, n_clips)
