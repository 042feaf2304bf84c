"""Launches CUDA kernels on the CPU: a backend for tests, which finds what a GPU would let pass most of the time."""

import ctypes
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor

from simt.arguments import Argument, Arguments, CArgument
from simt.compiler import EmulatorError, Kernel, Sanitizer, compile_kernel, compile_many
from simt.driver import SanitizerError, run_driver

__all__ = ["Emulator", "EmulatorError", "SanitizerError", "compile_many"]

ORDERS = ("forward", "backward", "random")
MAX_THREADS = 1024  # per block; CUDA's limit
LINE = re.compile(r"line (\d+)")

_in_process = threading.Lock()  # signal handlers and the emulator's state belong to the process


class Grid(Protocol):
    """Sizes of a launch."""

    blocks: int
    threads: int  # per block
    shared: int  # bytes of dynamic shared memory per block


class _Launch(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("blocks", "threads", "shared", "order", "seed", "resident")),
        ("n_arguments", ctypes.c_uint64),
        ("arguments", ctypes.POINTER(CArgument)),
    )


class Emulator:
    """Runs kernels in one order of their threads, which (order, seed, resident) make reproducible.

    Parameters
    ----------
    order
        Which thread runs next: the first or the last that can, or any of all `resident` blocks.
    seed
        Of the random order.
    resident
        Blocks in flight at once; in forward and backward order, they run one after the other.
    sanitizer
        "thread" finds accesses that no barrier and no fence orders, in about 0.6 ms per CUDA thread; "address" finds
        undefined behaviour, misaligned accesses, and any outside of arrays. Without one, only the ends of buffers
        and of shared memory are guarded.
    edit
        Changes a kernel's source before it is compiled: a test of the tests.
    """

    def __init__(
        self,
        order: Literal["forward", "backward", "random"] = "forward",
        seed: int = 0,
        resident: int = 1,
        sanitizer: Sanitizer = None,
        edit: Callable[[str], str] | None = None,
    ):
        if order not in ORDERS or resident < 1:
            raise ValueError(f"order={order!r}, resident={resident}: use one of {ORDERS}, and at least 1")
        self.order, self.seed, self.resident = order, seed, resident
        self.sanitizer, self.edit = sanitizer, edit
        self._compiled: dict[Kernel, Path] = {}
        self._workspace = torch.zeros(0, 2, dtype=torch.int32), torch.zeros(0, dtype=torch.int32)

    def launch(self, kernel: Kernel, grid: Grid, arguments: Sequence[Argument]) -> None:
        """Run a kernel; tensors are changed in place, but stay as they were if it fails.

        Raises
        ------
        EmulatorError
            The kernel does not compile, or broke a rule of CUDA.
        SanitizerError
            The sanitizer found something; says where.
        """
        if not (grid.blocks >= 1 and 1 <= grid.threads <= MAX_THREADS and grid.shared >= 0):
            raise EmulatorError(
                f"kernel {kernel.entry}: blocks={grid.blocks}, threads={grid.threads}, shared={grid.shared}: "
                f"CUDA wants at least 1 block of 1 to {MAX_THREADS} threads, and no negative size"
            )
        order, given = ORDERS.index(self.order), Arguments(arguments)
        launch = _Launch(grid.blocks, grid.threads, grid.shared, order, self.seed, self.resident, len(arguments))
        launch.arguments = given.c_array
        if kernel not in self._compiled:
            self._compiled[kernel] = compile_kernel(kernel, sanitizer=self.sanitizer, edit=self.edit)
        compiled = self._compiled[kernel]
        if self.sanitizer:
            failure = run_driver(compiled, bytes(launch)[: _Launch.arguments.offset], given)
        else:
            failure = _run_library(compiled, launch)
        if failure:
            raise EmulatorError(self._with_lines(failure, kernel))

    def workspace(self, n_clips: int) -> tuple[Tensor, Tensor]:
        """Return int32 zeros [n_clips, 2] and [n_clips], or more: the same again, as every launch leaves them zero."""
        if len(self._workspace[1]) < n_clips:
            self._workspace = torch.zeros(n_clips, 2, dtype=torch.int32), torch.zeros(n_clips, dtype=torch.int32)
        return self._workspace

    def _with_lines(self, failure: str, kernel: Kernel) -> str:
        text = kernel.text()
        lines = (self.edit(text) if self.edit else text).splitlines()
        numbers = dict.fromkeys(int(number) for number in LINE.findall(failure))
        return "\n".join([failure, *(f"{n:5} | {lines[n - 1]}" for n in numbers)])


def _run_library(library: Path, launch: _Launch) -> str | None:
    function = ctypes.CDLL(str(library)).simt_launch
    function.restype = ctypes.c_char_p
    with _in_process:
        failure = function(ctypes.byref(launch))
    return failure.decode() if failure else None
