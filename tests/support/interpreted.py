"""The CUDA path on the PTX that the compiler makes: the front end on a launcher that interprets it."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cumel.kernels.cuda import Argument, Frontend
from cumel.kernels.launcher import OPTIONS
from cumel.kernels.plan import Grid, Kernel

from ptx.arithmetic import Log2, libm_log2
from ptx.machine import Given, Machine
from ptx.program import Program
from support.compiling import compile_to_ptx
from support.emulation import Emulated, EmulatedLauncher

Edit = Callable[[str], str]


@cache
def program_of(arch: str, text: str, entry: str) -> Program:
    """Compile and parse a kernel, once."""
    return Program(compile_to_ptx(arch, text, OPTIONS), entry)


class PtxLauncher(EmulatedLauncher):
    """Does what `EmulatedLauncher` does, with what NVRTC makes of the sources.

    Parameters
    ----------
    arch
        What NVRTC compiles for.
    edit, edit_ptx
        Change a kernel's source before, or its PTX after it is compiled: tests of the tests.
    lg2
        What lg2.approx computes; by default the bits of the emulator's log2.
    order, seed, options
        As in `Machine`.
    """

    def __init__(
        self,
        arch: str,
        order: Any = "forward",
        seed: int = 0,
        edit: Edit | None = None,
        edit_ptx: Edit | None = None,
        lg2: Log2 = libm_log2,
        **options: Any,
    ) -> None:
        super().__init__(edit=edit)
        self.arch, self.edit_ptx = arch, edit_ptx
        self.machine = Machine(order, seed=seed, lg2=lg2, **options)
        self._edited: dict[Kernel, Program] = {}

    def launch(self, kernel: Kernel, grid: Grid, arguments: Sequence[Argument]) -> None:
        """Run a kernel; tensors are changed in place."""
        self.launched.append(kernel)
        self.machine.launch(self._program(kernel), grid, [_given(argument) for argument in arguments])

    def _program(self, kernel: Kernel) -> Program:
        text = self.edit(kernel.text()) if self.edit else kernel.text()
        if self.edit_ptx is None:
            return program_of(self.arch, text, kernel.entry)
        if kernel not in self._edited:
            self._edited[kernel] = Program(self.edit_ptx(compile_to_ptx(self.arch, text, OPTIONS)), kernel.entry)
        return self._edited[kernel]


def _given(argument: Argument) -> Given:
    """Return a tensor's own bytes; else the argument."""
    if not isinstance(argument, Tensor):
        return argument
    assert argument.is_contiguous()
    real = torch.view_as_real(argument) if argument.is_complex() else argument
    return real.detach().reshape(-1).view(torch.uint8).numpy()


class Interpreted(Emulated):
    """The public functions, computed by the interpreted front end; memory that nothing wrote holds NaN."""

    def __init__(self, arch: str, **options: Any) -> None:
        self.launcher = PtxLauncher(arch, **options)
        self.frontend = Frontend(self.launcher)

    def __call__(self, *arguments: Any) -> np.ndarray:
        """Compute a feature as `Emulated` does; the launches must leave the workspace zero."""
        before = torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(True)  # fills what torch.empty returns
        try:
            out = super().__call__(*arguments)
        finally:
            torch.use_deterministic_algorithms(before)
        self.launcher.workspace(0)
        return out
