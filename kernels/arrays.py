"""NumPy, torch and CuPy arrays as torch tensors and back, without a copy."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .checks import check_samples, is_cupy
from .errors import CumelError

HINTS: dict[type, str] = {  # what is given in place of an array
    tuple: "; of the samples and rate that libraries read from a file, give the samples",
    list: "; np.asarray(y, 'float32') makes one of numbers",
    str: "; cumel.esc50.audio.load reads a recording",
    os.PathLike: "; cumel.esc50.audio.load reads a recording",
}


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
    """Return torch's name of a stream; ExternalStream takes another of its pool for 0, the default one."""
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
    if type(out).__module__.split(".")[0] != type(y).__module__.split(".")[0] or out.device != y.device:
        raise CumelError(f"out: must be an array of the kind of y, {type(y).__name__}, on its device")
    if tuple(out.shape) != shape or name != wanted:
        raise CumelError(f"out has shape {tuple(out.shape)} and dtype {name}: the result has {shape} and {wanted}")
    if isinstance(out, Tensor):
        if out.requires_grad:
            raise CumelError("out: no gradient flows through it; give out.detach()")
        return out
    if isinstance(out, np.ndarray):
        if not out.flags.writeable or min(out.strides, default=0) < 0:
            raise CumelError("out: must be writeable, with strides of 0 or more")
        return torch.from_numpy(out)
    return torch.from_dlpack(out)
