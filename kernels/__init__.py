"""Waveform to features: librosa's log-mel spectrogram and its kin, on the CPU and on CUDA devices."""

from typing import TYPE_CHECKING, Any

from .config import PRESETS, FeatureConfig
from .errors import CumelError, InputError, UnavailableError

if TYPE_CHECKING:
    from .features import log_mel, mel_image, melspectrogram, mfcc, spectrogram, stft
    from .layer import LogMel

__all__ = [
    "PRESETS",
    "CumelError",
    "FeatureConfig",
    "InputError",
    "LogMel",
    "UnavailableError",
    "log_mel",
    "mel_image",
    "melspectrogram",
    "mfcc",
    "spectrogram",
    "stft",
]


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is asked for: describing a feature takes no two seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "LogMel":
        from .layer import LogMel

        return LogMel
    from . import features

    return getattr(features, name)
