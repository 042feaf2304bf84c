"""A kernel's arguments as launch.hpp has them."""

import ctypes
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from simt.compiler import EmulatorError

Argument = Tensor | np.generic | None  # a buffer, a number of exactly that width, a null pointer


class CArgument(ctypes.Structure):
    """One simt::Argument."""

    _fields_ = (("kind", ctypes.c_uint64), ("n_bytes", ctypes.c_uint64), ("value", ctypes.c_void_p))


class Arguments:
    """All arguments of a launch, and what they point to."""

    def __init__(self, values: Sequence[Argument]):
        self.buffers: dict[int, Tensor] = {}  # by their place among the arguments; each once
        self.c_array = (CArgument * len(values))()
        self._numbers: list[np.ndarray] = []
        for place, value in enumerate(values):
            if isinstance(value, Tensor):
                described = self._buffer(place, value)
            elif isinstance(value, np.generic):
                self._numbers.append(np.array(value))
                described = ("f" if value.dtype.kind == "f" else "i", value.nbytes, self._numbers[-1].ctypes.data)
            elif value is None:
                described = ("p", 0, None)
            else:
                raise TypeError(f"{value!r} has no exact width: pass np.int32, np.int64 or np.float32, or a tensor")
            self.c_array[place] = CArgument(ord(described[0]), *described[1:])

    def _buffer(self, place: int, tensor: Tensor) -> tuple[str, int, int]:
        if tensor.device.type != "cpu" or not tensor.is_contiguous():
            raise TypeError(f"a tensor on {tensor.device} of stride {tensor.stride()}: make it contiguous, on the CPU")
        first, end = _span(tensor)
        for other_place, other in self.buffers.items():
            other_first, other_end = _span(other)
            if (first, end) == (other_first, other_end):
                return "=", other_place, first
            if first < other_end and other_first < end:
                raise EmulatorError(f"arguments {other_place} and {place} overlap, but are not the same: copy one")
        if tensor.nbytes:
            self.buffers[place] = tensor
        return "p", tensor.nbytes, first

    def contents(self) -> bytes:
        """Return the bytes that the arguments point to, one after the other."""
        pointers = (a for a in self.c_array if a.kind != ord("=") and a.value)
        return b"".join(ctypes.string_at(a.value, a.n_bytes) for a in pointers)


def _span(tensor: Tensor) -> tuple[int, int]:
    return tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes
