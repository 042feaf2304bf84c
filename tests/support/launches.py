"""Small launches that reach every path of the kernels, for tests that cost much per CUDA thread."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from cumel.kernels import FeatureConfig, Normalize, cuda, plan

from support.emulation import Emulated
from support.signals import signal

GENERIC_FFT, GENERIC_FRAMES = 129, 2  # n_fft, and frames of a block, of the generic kernels


class Launch(NamedTuple):
    """A feature of a batch of clips."""

    feature: str
    cfg: FeatureConfig
    kind: str = "noise"  # kind of `signal`; "nan": noise and one NaN
    half: bool = False
    n_frames: tuple[int, ...] = (18, 14)  # frames of each clip
    n_samples: tuple[int, ...] = ()  # samples of each clip, instead of its frames
    packed: bool = False

    @property
    def lengths(self) -> list[int]:
        """Samples of each clip: an odd number, so that the next clip's are not aligned."""
        return list(self.n_samples) or [(n - 1) * self.cfg.hop_length + 1 for n in self.n_frames]

    def clips(self) -> list[np.ndarray]:
        """Return the samples of each clip."""
        y = signal("noise" if self.kind == "nan" else self.kind, max(self.lengths), self.cfg.sr)
        if self.kind == "nan":
            y[len(y) // 2] = np.nan
        return [y[:n] for n in self.lengths]

    def run(self, emulated: Emulated) -> np.ndarray:
        """Compute the feature [n_clips, n_rows, n_frames]; what lies past a clip's end must not be heard."""
        clips, options = self.clips(), (torch.float16,) if self.half else ()
        if self.packed:
            samples = np.concatenate(clips)
        else:
            loud = np.iinfo(np.int16).max if self.kind == "quiet" else np.nan
            samples = np.full((len(clips), max(self.lengths)), loud, clips[0].dtype)
            for row, clip in zip(samples, clips, strict=True):
                row[: len(clip)] = clip
        return emulated(self.feature, samples, self.cfg, self.lengths, *options)


def small(n_fft: int, **options: Any) -> FeatureConfig:
    """Return a config in which two frames at each end of a clip are padded."""
    return FeatureConfig(**{"sr": 16000, "n_fft": n_fft, "hop_length": n_fft // 4, "n_mels": 13, "n_mfcc": 5} | options)


GENERIC = small(GENERIC_FFT, sr=2000, hop_length=33, n_mels=33, pad_mode="reflect")  # two tiles of rows

FRONT_END: dict[str, Any] = {"remove_dc": True, "preemphasis": 0.97, "window": "hamming", "log": "ln"}
STATISTICS = small(
    400, n_mels=25, align="left", win_length=301, pad_mode="symmetric", normalize=Normalize(), top_db=60.0, **FRONT_END
)
OF_A_CLIP = FRONT_END | {"preemphasis_of": "clip", "normalize": Normalize(per="clip", ddof=1, eps=1e-3)}

# Every plan, stage and form; all bins and some; n_mels that fill the last group of filters, and that do not.
LAUNCHES = {
    "256-power": Launch("spectrogram", small(256), "quiet"),
    "256-mel": Launch("melspectrogram", small(256, n_mels=1)),
    "256-mfcc": Launch("mfcc", small(256)),
    "256-image": Launch("mel_image", small(256, fmax=3000.0, n_mels=8), "quiet"),
    "400-stft": Launch("stft", small(400)),
    "400-image": Launch("mel_image", small(400, pad_mode="reflect", n_mels=25)),
    "512-magnitude": Launch("log_mel", small(512, power=1, fmin=500.0, fmax=4000.0, n_mels=8), "quiet"),
    "1024-half": Launch("log_mel", small(1024, n_mels=40), half=True),
    "2048-image": Launch("mel_image", small(2048, fmax=3000.0, n_mels=32)),
    "4096-image": Launch("mel_image", small(4096, pad_mode="reflect", n_mels=40), "quiet"),
    "400-statistics": Launch("log_mel", STATISTICS),
    "generic-stft": Launch("stft", GENERIC, "quiet", n_frames=(2, 1)),
    "generic-statistics": Launch("log_mel", GENERIC.replace(**OF_A_CLIP), "quiet", n_frames=(3, 2)),
    "generic-image": Launch("mel_image", GENERIC, n_frames=(3, 2)),
}


@contextmanager
def large_blocks() -> Iterator[None]:
    """Give blocks as many frames as in a large batch, and little to each block of what comes around cuFFT."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "FEW_BLOCKS", 1)
        patch.setattr(cuda, "SCRATCH_BYTES", 4 * GENERIC_FFT * GENERIC_FRAMES)
        patch.setattr(plan, "SHARE", 64)
        yield
