"""Compiles the kernels of `plan` from their source text and launches them on a CUDA device, by CuPy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .cuda import Argument, Frontend
from .errors import UnavailableError
from .extras import need
from .plan import SHARED_LIMIT, Grid, Kernel
from .tensors import resident

CARVEOUT = -1  # percent of the L1 cache that becomes shared memory; -1: the driver chooses
OPTIONS = ("-std=c++17", "-fmad=false")  # The sources say where to fuse, so the bits do not depend on the compiler.


@lru_cache(maxsize=16)
def frontend(device: torch.device) -> Frontend:
    """Return the front end on a CUDA device.

    Raises
    ------
    UnavailableError
        Without CuPy, which compiles and starts the kernels.
    """
    return Frontend(Launcher(device))


class Launcher:
    """Starts kernels on torch's current stream of a device."""

    def __init__(self, device: torch.device) -> None:
        self._cupy = _cupy()
        self._device = device
        self._workspaces: dict[int, tuple[Tensor, Tensor]] = {}  # peaks and tickets by stream
        self._captured: list[Tensor] = []

    def launch(self, kernel: Kernel, grid: Grid, arguments: Sequence[Argument]) -> None:
        """Start a kernel. The first launch compiles it; CuPy keeps the result on disk."""
        with self._current():
            _function(kernel, self._device)(
                (grid.blocks,), (grid.threads,), tuple(map(_by_value, arguments)), shared_mem=grid.shared
            )

    def keep(self, *tensors: Tensor) -> None:
        """Hold on to tensors for good while a CUDA graph is being captured, whose replays will read them."""
        if torch.cuda.is_current_stream_capturing():
            self._captured.extend(tensors)

    def workspace(self, n_clips: int) -> tuple[Tensor, Tensor]:
        """Return int32 zeros [n_clips, 2] and [n_clips].

        One buffer per stream. Every kernel resets it to zero before it ends.
        """
        if torch.cuda.is_current_stream_capturing():  # A graph may be replayed beside its stream's other work.
            peaks = torch.zeros(n_clips, 2, dtype=torch.int32, device=self._device)
            return peaks, torch.zeros_like(peaks[:, 0])
        stream = torch.cuda.current_stream(self._device).cuda_stream
        workspace = self._workspaces.get(stream)
        if workspace is None or len(workspace[1]) < n_clips:
            room = 1 << (n_clips - 1).bit_length()
            peaks, tickets = np.zeros((room, 2), np.int32), np.zeros(room, np.int32)
            workspace = self._workspaces[stream] = (resident(peaks, self._device), resident(tickets, self._device))
        return workspace

    @contextmanager
    def _current(self) -> Iterator[None]:
        stream = self._cupy.cuda.Stream.from_external(torch.cuda.current_stream(self._device))
        with self._cupy.cuda.Device(self._device.index), stream:
            yield


def _by_value(argument: Argument) -> np.generic:
    if isinstance(argument, Tensor):
        return np.uint64(argument.data_ptr())
    return np.uint64(0) if argument is None else argument


@lru_cache(maxsize=256)
def _function(kernel: Kernel, device: torch.device) -> Any:  # noqa: ARG001, part of the cache's key
    module = _cupy().RawModule(code=kernel.text(), options=OPTIONS)
    try:
        function = module.get_function(kernel.entry)
    except OSError as error:
        raise _no_cache(error) from None
    function.max_dynamic_shared_size_bytes = SHARED_LIMIT
    function.preferred_shared_memory_carveout = CARVEOUT
    return function


def _cupy() -> Any:
    try:
        return need("cupy", __name__)
    except OSError as error:  # CuPy makes its cache folder when it is imported.
        raise _no_cache(error) from None


def _no_cache(error: OSError) -> UnavailableError:
    folder = error.filename or "its folder for compiled kernels"
    return UnavailableError(
        f"CuPy cannot write {folder} ({error.strerror or error}): set CUPY_CACHE_DIR to a folder that can be written"
    )
