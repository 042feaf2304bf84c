"""The NVIDIA driver, asked without torch: which CUDA it supports, and what is wrong with it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

Load = Callable[[str], Any]

MISSING = "there is no NVIDIA driver (libcuda.so.1 cannot be loaded)"
NO_DEVICE = 100  # cuInit's result where there is a driver, but no GPU
FIRST = {11: "450", 12: "525", 13: "580"}  # first driver of each CUDA version, from NVIDIA's table "CUDA compatibility"


def supported_cuda(load: Load = ctypes.CDLL) -> tuple[int, int] | None:
    """Return the CUDA version, major and minor, that the driver supports; None without a driver."""
    try:
        driver = load("libcuda.so.1")
    except OSError:
        return None
    version = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    return version.value // 1000, version.value % 1000 // 10


def driver_fault(needed: str, by: str, load: Load = ctypes.CDLL) -> str | None:
    """Say what is wrong with the driver, in its own words where it has some; None when nothing is.

    Parameters
    ----------
    needed : str
        The CUDA version that is needed, as ``13.0``; empty when nobody knows.
    by : str
        The package that needs it.
    load : callable
        Loads a shared library by name, or raises OSError.
    """
    supported = supported_cuda(load)
    if supported is None:
        return MISSING
    major = int(needed.split(".")[0]) if needed else 0
    if supported[0] < major:
        version = ".".join(map(str, supported))
        return f"the NVIDIA driver is too old (it supports CUDA {version}, {by} needs {needed}; update it)"
    code, words = starts(load)
    return None if code == 0 else f"the NVIDIA driver finds no usable device (cuInit returns {code}: {words})"


def starts(load: Load = ctypes.CDLL) -> tuple[int, str]:
    """Start the driver; returns its code, 0 when all is well, and its words for it."""
    driver = load("libcuda.so.1")
    code = driver.cuInit(0)
    if not code:
        return 0, ""
    words = ctypes.c_char_p()
    driver.cuGetErrorString(code, ctypes.byref(words))
    return code, (words.value or b"no reason given").decode()
