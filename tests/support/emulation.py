"""The CUDA path without a GPU: the front end on a launcher that runs its kernels on the CPU."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cumel.kernels import FeatureConfig, plan
from cumel.kernels.cuda import Argument, Clips, Frontend
from cumel.kernels.kinds import FEATURES as FEATURE_OF
from cumel.kernels.plan import Form, Grid, Kernel, Stage

from simt.emulator import Emulator

FEATURES = {
    "stft": (Stage.SPECTRUM, Form.FLOAT),
    "spectrogram": (Stage.STRENGTH, Form.FLOAT),
    "melspectrogram": (Stage.MEL, Form.FLOAT),
    "log_mel": (Stage.DECIBEL, Form.FLOAT),
    "mel_image": (Stage.DECIBEL, Form.IMAGE),
    "mfcc": (Stage.DECIBEL, Form.FLOAT),
    "half": (Stage.DECIBEL, Form.HALF),  # log_mel as float16
}
# One config of `signals` for each plan, and one for those around cuFFT.
PLANS = {"small": 256, "whisper": 400, "sparse": 512, "compact": 1024, "esc50": 2048, "large": 4096, "odd": None}
# What is compiled for int16: all features of two, which read samples each in its own way, and one of the others.
INT16 = [(name, feature) for name in ("esc50", "odd") for feature in FEATURES] + [(name, "log_mel") for name in PLANS]


def kernels(cfg: FeatureConfig, features: Sequence[str] = tuple(FEATURES), *, int16: bool = False) -> Iterator[Kernel]:
    """Yield what these features launch."""
    for stage, form in (FEATURES[feature] for feature in features):
        each, levels_form = cfg.decibels if form == Form.IMAGE else cfg, form
        if stage == Stage.DECIBEL and each.is_per_band:
            yield plan.statistics(each, 1, form)[0]
            levels_form = Form.FLOAT
        fused = plan.fused(each, stage, levels_form, int16=int16)
        if fused is None:
            generic = plan.generic(each, stage, levels_form, int16=int16)
            yield from (generic.cut, generic.features)
        else:
            yield fused.kernel
        if stage == Stage.DECIBEL:
            yield plan.finish(each, 1, 1, levels_form)[0]
    if "mfcc" in features:
        yield plan.mfcc(1, 1)[0]


def together(clips: Sequence[np.ndarray], *, packed: bool) -> tuple[np.ndarray, list[int]]:
    """Return clips as one batch, one right after another or padded with what nobody shall hear, and their lengths."""
    lengths = [len(clip) for clip in clips]
    if packed:
        return np.concatenate(clips), lengths
    batch = np.full((len(clips), max(lengths)), 12345 if clips[0].dtype == np.int16 else np.nan, clips[0].dtype)
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
    return batch, lengths


class EmulatedLauncher(Emulator):
    """Does what `cuda.Launcher` does, in one order of threads."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.launched: list[Kernel] = []

    def launch(self, kernel: Kernel, grid: Grid, arguments: Sequence[Argument]) -> None:
        self.launched.append(kernel)
        super().launch(kernel, grid, arguments)

    def keep(self, *tensors: Tensor) -> None:
        pass

    def workspace(self, n_clips: int) -> tuple[Tensor, Tensor]:
        """Hand out the same memory again, as on a device: every call must have left it zero."""
        for memory in super().workspace(0):
            assert not memory.any(), "a launch did not leave the workspace zero"
        return super().workspace(n_clips)


class Emulated:
    """The public functions, computed by the emulated front end: NumPy in, NumPy out."""

    def __init__(self, **options: Any) -> None:
        self.launcher = EmulatedLauncher(**options)
        self.frontend = Frontend(self.launcher)

    def __call__(
        self,
        feature: str,
        y: np.ndarray,
        cfg: FeatureConfig,
        lengths: list[int] | None = None,
        dtype: torch.dtype | None = None,
    ) -> np.ndarray:
        """Compute `feature` of one clip [n_samples], or of a batch [n_clips, n_samples] or, packed, [n]."""
        if feature == "half":
            return self("log_mel", y, cfg, lengths, torch.float16)
        single = y.ndim == 1 and lengths is None
        samples = torch.from_numpy(np.ascontiguousarray(y[None] if single else y))
        out = FEATURE_OF[feature].on(self.frontend)(Clips.of(samples, lengths, cfg), cfg, dtype=dtype).numpy()
        return out[0] if single else out
