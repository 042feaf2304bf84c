"""The expression that converts samples of another dtype to float32 or int16, for error messages."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

INT16 = np.iinfo(np.int16)
INT32_BITS = 32


def is_tensor(y: object) -> bool:
    """Tell whether `y` is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(y, torch.Tensor)


def remedy(y: Any) -> str:
    """Return the end of the error message for samples `y` of another dtype: how to convert them, if they can be.

    Integers are taken at full scale: signed around 0, unsigned around the middle of their range, as WAV files and
    libraries that read them have them. Wide integers whose values fit in 16 or 32 bits are scaled as such.
    """
    name = str(y.dtype).removeprefix("torch.")
    if name == "bool":
        return "; true and false are no samples"
    if getattr(y, "is_quantized", False):
        return " (y.dequantize() converts)"
    if name == "object":
        return "; clips of different length go one right after another, with their lengths"
    kind = _kind(y)
    if kind == "c":
        return f" ({_real(y, 'y.real')} takes the real part of a signal; a spectrum is no signal)"
    if kind == "f":
        return f" ({_real(y, 'y')} converts)"
    if kind not in ("i", "u"):
        return ""
    bits = 8 * y.dtype.itemsize
    if kind == "u":
        return f" ({_scaled(y, bits, middle=True)} converts, its middle being silence)"
    low, high = (int(y.min()), int(y.max())) if min(y.shape, default=1) else (0, 0)
    if INT16.min <= low and high <= INT16.max and bits >= INT16.bits:
        whole = "y.to(torch.int16)" if is_tensor(y) else "y.astype('int16')"
        return f" ({whole} converts, as all values are within 16 bits)"
    if bits > INT32_BITS and low >= -(2**31) and high < 2**31:
        bits = INT32_BITS
    return f" ({_scaled(y, bits)} converts, full scale being 2**{bits - 1})"


def _kind(y: Any) -> str:
    """Return NumPy's letter for what the samples are."""
    if not is_tensor(y):
        return y.dtype.kind
    if y.is_complex() or y.is_floating_point():
        return "c" if y.is_complex() else "f"
    return "i" if y.dtype.is_signed else "u"


def _real(y: Any, what: str) -> str:
    return f"{what}.float()" if is_tensor(y) else f"{what}.astype('float32')"


def _scaled(y: Any, bits: int, *, middle: bool = False) -> str:
    shift = " - 1" if middle else ""
    if is_tensor(y):
        return f"(y.double() / 2.0**{bits - 1}{shift}).float()"
    return f"(y / 2.0**{bits - 1}{shift}).astype('float32')"
