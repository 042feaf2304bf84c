"""What the checks know of an instruction while threads do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ptx.program import Instruction, PtxError

if TYPE_CHECKING:
    from ptx.wave import Wave

Threads = slice | NDArray[np.int64]  # threads in flight: all, or some in ascending order


@dataclass(frozen=True)
class Access:
    """An instruction, and the threads that do it."""

    wave: Wave
    at: Threads
    instruction: Instruction

    @property
    def threads(self) -> NDArray[np.int64]:
        """Their numbers."""
        return self.wave.threads if isinstance(self.at, slice) else self.at

    @property
    def blocks(self) -> NDArray[np.int32]:
        """Their blocks' numbers."""
        return self.wave.ctaid[self.at]

    @property
    def block_epochs(self) -> NDArray[np.int64]:
        """Barriers that their blocks have passed."""
        return self.wave.block_epochs[self.at]

    @property
    def warp_epochs(self) -> NDArray[np.int64]:
        """Barriers that their warps have passed, those of the block included."""
        return self.wave.warp_epochs[self.at]

    def error(self, what: str, where: NDArray[np.bool_], addresses: np.ndarray | None = None) -> PtxError:
        """Return what is wrong with some of the threads."""
        some = self.threads[where]
        address = "" if addresses is None else f", address {addresses[where][0]:#x}"
        who = f"{len(some)} threads; {self.wave.name(some[0])}{address}"
        return PtxError(f"{what}: {self.instruction.text} ({who})")

    def unsupported(self) -> PtxError:
        """Return that this has no meaning here."""
        return PtxError(f"not supported: {self.instruction.text}")
