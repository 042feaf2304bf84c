"""The blocks in flight: the state of their threads, and which of them go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ptx.access import Access, Threads
from ptx.memory import SharedMemory
from ptx.program import PtxError
from ptx.translation import State, translate

if TYPE_CHECKING:
    from ptx.machine import Grid, Launch

WARP = 32
ALL_LANES = -1
POISON = {"f": np.nan, "i": -12345, "?": False}  # values of a register that a thread has not written


class Wave:
    """Blocks that run at once, to their end. Translated instructions call its methods."""

    def __init__(self, launch: Launch, grid: Grid, blocks: NDArray[np.int64]) -> None:
        n = len(blocks) * grid.threads
        self.launch, self.global_memory, self.lg2 = launch, launch.memory, launch.machine.lg2
        self.shared_memory = SharedMemory(len(blocks), grid.shared, races=launch.machine.races)
        self.block_threads = grid.threads
        self.threads = np.arange(n)
        self.warps = self.threads // WARP
        self.slot = self.threads // grid.threads  # place of a thread's block among those in flight
        self.tid = (self.threads % grid.threads).astype(np.int32)
        self.ctaid = blocks[self.slot].astype(np.int32)
        self.ntid, self.nctaid = np.int32(grid.threads), np.int32(grid.blocks)
        self.warp_epochs, self.block_epochs = np.zeros(n, np.int64), np.zeros(n, np.int64)  # barriers passed
        self.registers: dict[str, np.ndarray] = {}
        self.place = np.zeros(n, np.int64)  # the next instruction
        self.state = np.full(n, State.RUNS, np.int8)
        if launch.order:
            launch.order.begin()

    def run(self) -> None:
        """Let threads go on until all are done: those at the lowest place that can, or any.

        Raises
        ------
        PtxError
            They wait for one another, or broke another rule.
        """
        random = self.launch.machine.random
        while True:
            ready = np.flatnonzero(self.state == State.RUNS)
            if len(ready):
                places = self.place[ready]
                place = places.min() if random is None else random.choice(places)
                some = ready[places == place]
                self._step(int(place), some if random is None else self._torn(some, random))
            elif (self.state == State.DONE).all():
                return
            elif not (self._let_warps_go_on() or self._let_blocks_go_on()):
                waiting = np.flatnonzero(self.state != State.DONE)
                texts = {self.launch.program.code[n].text for n in np.unique(self.place[waiting])}
                raise PtxError(
                    f"deadlock: {len(waiting)} threads wait at {texts}, the first of them {self.name(waiting[0])}; "
                    f"{len(self.state) - len(waiting)} are done"
                )

    def _torn(self, threads: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """Choose some of the threads' warps, or only some of their lanes."""
        warps = self.warps[threads]
        threads = threads[np.isin(warps, random.choice(warps, 1 + random.integers(len(warps))))]
        if random.integers(4):
            return threads
        return np.sort(random.choice(threads, 1 + random.integers(len(threads)), replace=False))

    def _step(self, place: int, threads: NDArray[np.int64]) -> None:
        """Take threads through the block at their place: whole warps if any, else as far as lanes can go alone."""
        full = np.bincount(self.warps[threads], minlength=len(self.state) // WARP) == WARP
        whole_warps = bool(full.any())
        if whole_warps:  # the others' turn comes
            threads = threads[full[self.warps[threads]]]
        at = slice(None) if len(threads) == len(self.state) else threads
        block = translate(self.launch.program, place, whole_warps)
        self.state[at], self.place[at] = block.run(self, at)
        self.launch.machine.executed_blocks[block] += int(full.sum()) if whole_warps else len(set(self.warps[threads]))

    def _let_warps_go_on(self) -> bool:
        """Let warps whose lanes all wait at one instruction do it; return whether there are any."""
        states, places = self.state.reshape(-1, WARP), self.place.reshape(-1, WARP)
        together = np.repeat((states == State.AT_JOIN).all(1) & (places == places[:, :1]).all(1), WARP)
        self.launch.machine.late_meetings += int(together.sum()) // WARP
        for place in np.unique(self.place[together]):  # right now, while they are together
            self._step(int(place), np.flatnonzero(together & (self.place == place)))
        return bool(together.any())

    def _let_blocks_go_on(self) -> bool:
        """Let blocks whose threads all wait at a barrier pass it; return whether there are any."""
        at_barrier = (self.state.reshape(-1, self.block_threads) == State.AT_BARRIER).all(1)
        places = self.place.reshape(-1, self.block_threads)[at_barrier]
        if (places != places[:, :1]).any():
            raise PtxError("threads of one block wait at different barriers")
        passing = np.repeat(at_barrier, self.block_threads)
        self.place[passing] += 1
        self.state[passing] = State.RUNS
        self.warp_epochs[passing] += 1
        self.block_epochs[passing] += 1
        return bool(at_barrier.any())

    def name(self, thread: int) -> str:
        """Return what a message calls a thread."""
        return f"block {self.ctaid[thread]} thread {self.tid[thread]}"

    def get(self, register: str, at: Threads, copied: bool) -> np.ndarray:
        """Return the values of a register, a copy if the block changes it."""
        if register not in self.registers:
            raise PtxError(f"{register} is read before anything wrote it")
        values = self.registers[register][at]
        return values.copy() if copied and isinstance(at, slice) else values

    def put(self, register: str, at: Threads, values: np.ndarray) -> None:
        """Set the values of a register."""
        if register not in self.registers:
            dtype = self.launch.program.register_type(register)
            self.registers[register] = np.full(len(self.state), POISON[dtype[0]], dtype)
        self.registers[register][at] = values

    def parameter(self, name: str, offset: int, dtype: str, width: int) -> list[np.generic]:
        """Return values of a kernel's parameter, from a byte on."""
        return list(np.frombuffer(self.launch.parameters[name], dtype, width, offset))

    def warp_barrier(self, access: Access, mask: np.ndarray) -> None:
        """Tell what the lanes of whole warps do before from what they do behind."""
        if np.any(mask != ALL_LANES):
            raise access.unsupported()
        self.warp_epochs[access.at] += 1

    def shuffle(
        self, access: Access, how: str, values: np.ndarray, lanes: np.ndarray, clamp: np.ndarray, mask: np.ndarray
    ) -> np.ndarray:
        """Return other lanes' values, in whole warps."""
        if np.any(mask != ALL_LANES) or np.any(clamp != WARP - 1):
            raise access.unsupported()
        n = len(access.threads)
        values, lanes = (np.broadcast_to(given, n).reshape(-1, WARP) for given in (values, lanes))
        source = lanes & WARP - 1 if how == "idx" else np.arange(WARP) ^ lanes
        return np.take_along_axis(values, source, 1).reshape(-1)

    def ballot(self, access: Access, votes: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return which lanes voted for it, a bit for each, in whole warps."""
        if np.any(mask != ALL_LANES):
            raise access.unsupported()
        bits = np.packbits(np.broadcast_to(votes, len(access.threads)), bitorder="little").view(np.dtype("<i4"))
        return np.repeat(bits, WARP)

    def fence(self, access: Access) -> None:
        """Order what threads did before, for other blocks."""
        if self.launch.order:
            self.launch.order.fence(access)

    def watch(self, access: Access, size: int, addresses: np.ndarray) -> None:
        """Tell who asked of an access to so many bytes a thread."""
        if self.launch.machine.watch:
            self.launch.machine.watch(access, size, addresses)
