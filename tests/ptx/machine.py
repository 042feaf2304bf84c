"""Runs PTX on the CPU: every thread of many blocks at once in NumPy, every access checked.

Branches part threads, and those at the lowest instruction go on first, so that they meet again where they can. What a
warp does together waits for all its lanes and a barrier for all threads of the block, as on every device since Volta.
Memory is sequentially consistent; that fences are where a device needs them is checked by rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import numpy as np

from ptx.access import Access
from ptx.arithmetic import Log2, exact_log2, flushed_subnormals
from ptx.memory import GlobalMemory
from ptx.program import Parameter, Program, PtxError
from ptx.races import BlockOrder
from ptx.translation import Block
from ptx.wave import WARP, Wave

Watch = Callable[[Access, int, np.ndarray], None]
Given = np.ndarray | np.generic | None  # the bytes of a buffer, a number or a struct, a null pointer


class Grid(Protocol):
    """Sizes of a launch."""

    blocks: int
    threads: int  # threads of a block
    shared: int  # bytes of dynamic shared memory of a block


class Machine:
    """Launches programs, and counts what they execute.

    Parameters
    ----------
    order
        Which threads go on: "forward", in lock-step where they can; "backward" likewise, but block after block, the
        last one first; "random": any warps or lanes, torn apart.
    seed
        Of the random order.
    resident
        Threads in flight at once, about.
    races
        Whether to look for accesses that nothing orders, which takes most of the time.
    lg2
        What lg2.approx computes.
    watch
        Called with (access, bytes of a thread, addresses) of every access to memory.
    """

    def __init__(
        self,
        order: Literal["forward", "backward", "random"] = "forward",
        *,
        seed: int = 0,
        resident: int = 8192,
        races: bool = True,
        lg2: Log2 = exact_log2,
        watch: Watch | None = None,
    ) -> None:
        self.backward = order == "backward"
        self.random = np.random.default_rng(seed) if order == "random" else None
        self.resident, self.races, self.lg2, self.watch = resident, races, lg2, watch
        self.executed_blocks: Counter[Block] = Counter()  # by warps
        self.late_meetings = 0  # meetings of warps whose lanes had waited for one another

    def executed(self) -> Counter[str]:
        """Return how many instructions warps have executed, by name."""
        found: Counter[str] = Counter()
        for block, times in self.executed_blocks.items():
            for one in block.instructions:
                found[one.op] += times
        return found

    def launch(self, program: Program, grid: Grid, arguments: Sequence[Given]) -> None:
        """Run a kernel on buffers, which it changes in place.

        Raises
        ------
        PtxError
            It broke a rule, or uses what is not supported.
        """
        launch = Launch(self, program, arguments)
        blocks = np.arange(grid.blocks)[:: -1 if self.backward else 1]
        at_once = 1 if self.backward else max(1, self.resident // grid.threads)
        if grid.threads % WARP:
            raise PtxError(f"not supported: {grid.threads} threads, no multiple of {WARP}")
        with flushed_subnormals(), np.errstate(all="ignore"):
            for first in range(0, grid.blocks, at_once):
                Wave(launch, grid, blocks[first : first + at_once]).run()
        launch.memory.check_constants()


class Launch:
    """What all blocks of a launch share."""

    def __init__(self, machine: Machine, program: Program, arguments: Sequence[Given]) -> None:
        if len(arguments) != len(program.parameters):
            raise PtxError(f"{program.entry} has {len(program.parameters)} parameters, got {len(arguments)}")
        self.machine, self.program = machine, program
        self.order = BlockOrder() if machine.races else None
        self.memory = GlobalMemory(self.order)
        self.parameters = {
            parameter.name: self._bytes(parameter, given)
            for parameter, given in zip(program.parameters, arguments, strict=True)
        }

    def _bytes(self, parameter: Parameter, given: Given) -> bytes:
        """Return what a kernel finds in a parameter."""
        if given is None:
            value: np.generic = np.uint64(0)
        elif isinstance(given, np.ndarray):
            value = np.uint64(self.memory.add(given))
        else:
            value = given
        wanted = np.dtype(parameter.type).itemsize * (parameter.n_bytes or 1)
        if value.nbytes != wanted or (parameter.type[0] == "f") != (value.dtype.kind == "f"):
            raise PtxError(f"{parameter.name} takes {wanted} bytes of {parameter.type}, got {value.dtype}")
        return value.tobytes()
