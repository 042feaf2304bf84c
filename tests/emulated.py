"""The CUDA path without a GPU: the front end on a launcher that runs its kernels on the CPU."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from simt.emulator import Emulator
from torch import Tensor

from cumel.kernels import FeatureConfig
from cumel.kernels.frontend import Argument, Clips, Frontend
from cumel.kernels.plan import Grid, Kernel


class EmulatedLauncher:
    """Does what `cuda.Launcher` does, by an `Emulator` with these options."""

    def __init__(self, **options: Any) -> None:
        self.emulator = Emulator(**options)
        self.launched: list[Kernel] = []
        self.peaks, self.tickets = torch.zeros(0, 2, dtype=torch.int32), torch.zeros(0, dtype=torch.int32)

    def launch(self, kernel: Kernel, grid: Grid, arguments: Sequence[Argument]) -> None:
        self.launched.append(kernel)
        self.emulator.launch(kernel, grid, arguments)

    def rfft(self, frames: Tensor) -> Tensor:
        return self.emulator.rfft(frames)

    def workspace(self, n_clips: int) -> tuple[Tensor, Tensor]:
        """Hand out the same memory again, as on a device: every call must have left it zero."""
        assert not self.peaks.any()
        assert not self.tickets.any()
        if len(self.tickets) < n_clips:
            self.peaks = torch.zeros(n_clips, 2, dtype=torch.int32)
            self.tickets = torch.zeros(n_clips, dtype=torch.int32)
        return self.peaks, self.tickets


class Emulated:
    """The public functions, computed by the emulated front end: NumPy in, NumPy out."""

    def __init__(self, **options: Any) -> None:
        self.launcher = EmulatedLauncher(**options)
        self.frontend = Frontend(self.launcher)

    def __call__(
        self, feature: str, y: np.ndarray, cfg: FeatureConfig, lengths: list[int] | None = None, *options: Any
    ) -> np.ndarray:
        """Compute `feature` of one clip [n_samples], or of a batch [n_clips, n_samples] or, packed, [n]."""
        single = y.ndim == 1 and lengths is None
        samples = torch.from_numpy(np.ascontiguousarray(y[None] if single else y))
        n_samples = lengths if lengths is not None else [samples.shape[1]] * len(samples)
        out = getattr(self.frontend, feature)(Clips.of(samples, n_samples, cfg), cfg, *options).numpy()
        return out[0] if single else out
