"""What PTX computes and NumPy does not, bit for bit. Subnormal numbers become zero by the processor's own mode."""

import ctypes
import ctypes.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from ptx.program import PtxError

Log2 = Callable[[NDArray[np.float32]], NDArray[np.float32]]

DROPPED = 0x1FFFFFFF  # bits of a float64 that a float32 has no room for
HALF_WAY = 0x10000000  # between two float32


@contextmanager
def flushed_subnormals() -> Iterator[None]:
    """Compute as the compiler's -ftz=true wants it.

    Raises
    ------
    PtxError
        This processor, or this build of torch, cannot.
    """
    if not torch.set_flush_denormal(True):
        raise PtxError("this processor does not flush subnormal numbers to zero, as the kernels' -ftz=true does")
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def fma(a: NDArray[np.float32], b: NDArray[np.float32], c: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round a b + c once: a b is exact in float64, and the sum is moved where rounding it twice would show."""
    product = np.multiply(a, b, dtype=np.float64)
    total = product + c
    half_way = (total.view(np.int64) & DROPPED) == HALF_WAY
    if half_way.any():
        added = total - product
        error = (product - (total - added)) + (c - added)
        toward = np.where(error == 0, total, np.where(error > 0, np.inf, -np.inf))
        total = np.where(half_way & np.isfinite(total), np.nextafter(total, toward), total)
    return total.astype(np.float32)


def larger(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the larger value, or the one that is a number; 0 is larger than -0."""
    same = (a.view(np.int32) & b.view(np.int32)).view(np.float32)
    return np.where(a == b, same, np.fmax(a, b)) * np.float32(1)  # A product flushes what is subnormal.


def smaller(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the smaller value, or the one that is a number; -0 is smaller than 0."""
    same = (a.view(np.int32) | b.view(np.int32)).view(np.float32)
    return np.where(a == b, same, np.fmin(a, b)) * np.float32(1)


def bfi(field: NDArray[np.int32], into: NDArray[np.int32], start: np.int32, length: np.int32) -> NDArray[np.int32]:
    """Insert the lowest bits of a field."""
    mask = ((np.int64(1) << length) - 1) << start
    return (into & ~mask | field.astype(np.int64) << start & mask).astype(np.int32)


def prmt(low: NDArray[np.int32], high: NDArray[np.int32], selector: np.int32) -> np.ndarray:
    """Choose four of eight bytes, or copies of their signs."""
    both = low.astype(np.int64) & 0xFFFFFFFF | high.astype(np.int64) << 32
    result = np.zeros_like(both)
    for n in range(4):
        choice = selector >> 4 * n
        byte = both >> 8 * (choice & 7).astype(np.int64) & 0xFF
        result |= np.where(choice & 8, (byte >> 7) * 0xFF, byte) << 8 * n
    return result.astype(np.int32)


def popc(x: NDArray[np.int32]) -> NDArray[np.int32]:
    """Count the bits that are set."""
    return np.bitwise_count(x.view(f"u{x.itemsize}")).astype(np.int32)


def to_integer(x: NDArray[np.float32], rounded: Callable[[np.ndarray], np.ndarray], dtype: str) -> np.ndarray:
    """Round to an integer within its type's limits; a NaN becomes 0."""
    limits = np.iinfo(dtype)
    wide = np.where(np.isnan(x), 0.0, rounded(x.astype(np.float64)))
    inside = np.clip(wide, limits.min, np.nextafter(2.0 ** (limits.bits - (limits.min < 0)), 0))
    return np.where(wide > limits.max, limits.max, inside.astype(dtype)).astype(dtype)


def quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Divide integers, toward zero."""
    rest = remainder(a, b)
    return (a - rest) // b


def remainder(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return what a division toward zero leaves, with the sign of `a`."""
    if not np.all(b):
        raise PtxError("division of an integer by zero")
    return np.fmod(a, b)


def exact_log2(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logarithm rounded to float32."""
    return np.log2(x.astype(np.float64)).astype(np.float32)


def libm_log2(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logarithm by the C library's log2f, with which the emulator computes."""
    return np.asarray(_log2f()(x)).astype(np.float32)


@cache
def _log2f() -> np.ufunc:
    function = ctypes.CDLL(ctypes.util.find_library("m")).log2f
    function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float]
    return np.frompyfunc(function, 1, 1)


OPERATIONS = {f.__name__: f for f in (fma, larger, smaller, bfi, prmt, popc, to_integer, quotient, remainder)}
