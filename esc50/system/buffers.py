"""Arrays whose memory is used again: fresh pages from the kernel cost a fifth of the work on a short recording."""

from __future__ import annotations

import ctypes
from collections import defaultdict
from threading import Lock

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import DTypeLike, NDArray

MOST_BYTES = 64 << 20  # most memory of the arrays that lie ready
GLIBC_MOST = 32 << 20  # glibc's DEFAULT_MMAP_THRESHOLD_MAX; see mallopt(3)
LEAST_BYTES = 1 << 14  # smallest array that is kept


class Buffers:
    """Arrays to take and give back, from any thread. An array that is not given back is freed like any other."""

    def __init__(self) -> None:
        self._ready: defaultdict[int, list[NDArray]] = defaultdict(
            list
        )  # arrays by size in bytes, the last used one last
        self._n_bytes = 0
        self._lock = Lock()

    def take(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray:
        """Return an array of any content."""
        kind = np.dtype(dtype)
        n_bytes = int(np.prod(shape)) * kind.itemsize
        size = _rounded(n_bytes)
        with self._lock:
            ready = self._ready[size]
            memory = ready.pop() if ready else None
            self._n_bytes -= size if memory is not None else 0
        if memory is None:
            memory = np.empty(size, np.uint8)
        return memory[:n_bytes].view(kind).reshape(shape)

    def give(self, array: NDArray) -> None:
        """Give back an array that `take` returned, and that nobody reads any more."""
        memory = array.base
        if memory is None or memory.ndim != 1 or memory.size != _rounded(array.nbytes):
            return  # the array is not from `take`
        with self._lock:
            if memory.size >= LEAST_BYTES and self._n_bytes + memory.size <= MOST_BYTES:
                self._ready[memory.size].append(memory)
                self._n_bytes += memory.size


def pinned(n: int, dtype: DTypeLike) -> NDArray:
    """Return a page-locked array of any content, from which a device copies by itself; torch keeps freed ones."""
    return torch.empty(n, dtype=getattr(torch, np.dtype(dtype).name), pin_memory=True).numpy()


def keep_freed_memory() -> None:
    """Let glibc keep what is freed for the next recording.

    Its allocator gives blocks back to the kernel from a size on that grows to the largest block freed so far, up to
    32 MB; without this, a chunk's temporaries would come and go as 700 fresh pages a recording.
    """
    np.empty(
        GLIBC_MOST - (1 << 16), np.uint8
    )  # the array is freed at once, and from then on glibc keeps blocks of its size


def give_back_memory() -> None:
    """Return freed memory to the kernel: after millions of names, glibc and Arrow would keep hundreds of megabytes."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # malloc_trim is glibc's alone
    if trim is not None:
        trim(0)


def _rounded(n_bytes: int) -> int:
    """Round up by at most a quarter, so that recordings of about the same length share their memory."""
    step = 1 << max(0, n_bytes.bit_length() - 3)
    return -(-n_bytes // step) * step
