"""Small launches that reach every path of the kernels, for what costs much per CUDA thread."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from emulated import Emulated
from signals import signal

from cumel.kernels import FeatureConfig, frontend, plan
from cumel.kernels.plan import Form, Stage

STAGES = {
    "stft": Stage.SPECTRUM,
    "spectrogram": Stage.STRENGTH,
    "melspectrogram": Stage.MEL,
    "log_mel": Stage.DECIBEL,
    "mel_image": Stage.DECIBEL,
    "mfcc": Stage.DECIBEL,
}
GENERIC_FFT, GENERIC_FRAMES = 129, 2  # of a block of the generic kernels


class Launch(NamedTuple):
    """A feature of a batch: frames that each clip has room for, and how it is computed."""

    feature: str
    cfg: FeatureConfig
    kind: str = "noise"  # of signal
    half: bool = False
    n_frames: tuple[int, ...] = (18, 14)

    def lengths(self) -> list[int]:
        """Return samples of each clip: the widest is odd, so that the next one's samples are not aligned."""
        return [(n - 1) * self.cfg.hop_length + 1 for n in self.n_frames]

    def clips(self) -> np.ndarray:
        """Return [n_clips, n_samples]; what must not be read past a clip's end is as loud as can be."""
        lengths = self.lengths()
        y = np.stack([signal(self.kind, max(lengths), self.cfg.sr)] * len(lengths))
        for clip, n in zip(y, lengths, strict=True):
            clip[n:] = np.iinfo(np.int16).max if y.dtype == np.int16 else np.nan
        return y

    def run(self, emulated: Emulated) -> np.ndarray:
        """Compute the feature [n_clips, n_rows, n_frames]."""
        options = (torch.float16,) if self.half else ()
        return emulated(self.feature, self.clips(), self.cfg, self.lengths(), *options)

    def fused(self) -> plan.Fused | None:
        """Return the plan of the fused kernel."""
        form = Form.IMAGE if self.feature == "mel_image" else Form.HALF if self.half else Form.FLOAT
        return plan.fused(self.cfg, STAGES[self.feature], form, int16=self.kind == "quiet")


def small(n_fft: int, **options: Any) -> FeatureConfig:
    """Return a config whose frames at both edges of a clip are padded."""
    return FeatureConfig(**{"sr": 16000, "n_fft": n_fft, "hop_length": n_fft // 4, "n_mels": 13, "n_mfcc": 5} | options)


GENERIC = small(GENERIC_FFT, sr=2000, hop_length=33, n_mels=33, pad_mode="reflect")  # two tiles of rows
FEW = (3, 2)  # frames of the clips of the generic kernels, which give each frame a block

# Every plan; every stage and form; all bins and some; n_mels that fill the last group of filters, and that do not.
LAUNCHES = {
    "256-mel": Launch("melspectrogram", small(256, n_mels=1)),
    "256-decibel": Launch("mfcc", small(256)),
    "256-half": Launch("log_mel", small(256), half=True),
    "256-image": Launch("mel_image", small(256, fmax=3000.0, n_mels=8), "quiet"),
    "400-power": Launch("spectrogram", small(400)),
    "400-image": Launch("mel_image", small(400, pad_mode="reflect", n_mels=25)),
    "512-stft": Launch("stft", small(512), "quiet"),
    "512-decibel": Launch("log_mel", small(512, power=1, fmin=500.0, fmax=4000.0, n_mels=8), "quiet"),
    "1024-half": Launch("log_mel", small(1024, n_mels=40), half=True),
    "2048-image": Launch("mel_image", small(2048, fmax=3000.0, n_mels=32)),
    "4096-image": Launch("mel_image", small(4096, pad_mode="reflect", n_mels=40), "quiet"),
    "generic-stft": Launch("stft", GENERIC, n_frames=FEW),
    "generic-magnitude": Launch("spectrogram", GENERIC.replace(power=1), "quiet", n_frames=FEW),
    "generic-mel": Launch("melspectrogram", GENERIC, n_frames=FEW),
    "generic-half": Launch("log_mel", GENERIC, half=True, n_frames=FEW),
    "generic-image": Launch("mel_image", GENERIC, n_frames=FEW),
}


@contextmanager
def large_blocks() -> Iterator[None]:
    """Give blocks as many frames as in a large batch, and the generic kernels little memory for frames that wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "FEW_BLOCKS", 1)
        patch.setattr(frontend, "SCRATCH_BYTES", 4 * GENERIC_FFT * GENERIC_FRAMES)
        yield
