"""The public functions: waveform in, features out, in the caller's own kind of array and on its own device."""

from __future__ import annotations

import sys
from contextlib import suppress
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import numpy as np

from . import host
from .arrays import Lengths, check_array, is_cupy
from .config import FeatureConfig
from .errors import CumelError
from .extras import explained
from .kinds import FEATURES, Feature
from .values import shown

if TYPE_CHECKING:
    import torch

Array = TypeVar("Array")  # numpy.ndarray, torch.Tensor or cupy.ndarray
Device: TypeAlias = "str | torch.device | None"
Config: TypeAlias = FeatureConfig | str


def stft(y: Array, cfg: Config, lengths: Lengths = None, *, device: Device = None, out: Array | None = None) -> Array:
    """Compute the complex short-time Fourier transform, as `librosa.stft`.

    Parameters
    ----------
    y : ndarray or Tensor [..., n_samples], float32 in -1..1 or int16
        Clips, of NumPy, torch or CuPy; int16 is scaled by 1/32768 while it is read.
    cfg : FeatureConfig or str
        A description, or the name of one in `PRESETS`.
    lengths : int array, optional
        Samples of each clip. With one number for each clip of a padded batch [...], each clip is computed as if alone,
        and its frames past the end are 0. With a list for one axis of samples, clips lie in it one right after
        another, without padding, and come out as a padded batch.
    device : str or torch.device, optional
        Where to compute, if not where `y` lies. Clips in host memory go through a CUDA device piece by piece, so that
        any length fits; the result comes back to where `y` lies.
    out : ndarray or Tensor [..., n_bins, n_frames], optional
        Where to write the result: an array of its kind, shape, dtype and device, with any strides. On the CPU the
        features are computed in it, unless it shares memory with `y`; elsewhere they are copied to it.

    Returns
    -------
    ndarray or Tensor [..., n_bins, n_frames], complex64
        The kind of array that came in, on its device. With `cfg.time_major`, here and below, [..., n_frames, n_bins].

    Raises
    ------
    CumelError
        For another dtype, an empty clip, a length out of range, or a clip too short for a frame.
    UnavailableError
        For a CUDA device that is not there, or without CuPy, which the kernels need.
    """
    return _apply(FEATURES["stft"], y, cfg, lengths, device, out)


def spectrogram(
    y: Array, cfg: Config, lengths: Lengths = None, *, device: Device = None, out: Array | None = None
) -> Array:
    """Compute magnitude or power of the STFT, after `cfg.power`; parameters and errors as for `stft`.

    Returns
    -------
    ndarray or Tensor [..., n_bins, n_frames], float32
        Frames past a clip's end are 0.
    """
    return _apply(FEATURES["spectrogram"], y, cfg, lengths, device, out)


def melspectrogram(
    y: Array, cfg: Config, lengths: Lengths = None, *, device: Device = None, out: Array | None = None
) -> Array:
    """Compute the mel spectrogram, as `librosa.feature.melspectrogram`; parameters and errors as for `stft`.

    Returns
    -------
    ndarray or Tensor [..., n_mels, n_frames], float32
        Magnitude or power, after `cfg.power`. Frames past a clip's end are 0.
    """
    return _apply(FEATURES["melspectrogram"], y, cfg, lengths, device, out)


def log_mel(
    y: Array,
    cfg: Config,
    lengths: Lengths = None,
    *,
    dtype: Any = "float32",
    device: Device = None,
    out: Array | None = None,
) -> Array:
    """Compute the logarithm of the mel spectrogram, and all that `cfg` does to it afterwards.

    In decibels as `librosa.power_to_db` (`amplitude_to_db` when power is 1); of a preset as the model that it is of.
    Parameters and errors as for `stft`; besides, `InputError` for a clip with NaN or infinity in it. On CUDA no error
    is raised, as that would wait for the device: the clip is NaN (only the affected frames without `top_db`).

    Parameters
    ----------
    dtype : {"float32", "float16"}
        dtype of the result.

    Returns
    -------
    ndarray or Tensor [..., n_mels, n_frames]
        At most `cfg.top_db` dB below each clip's own maximum. Frames past a clip's end read as silence there, or 0 with
        `cfg.normalize`.

    Examples
    --------
    >>> y = np.zeros(44100, np.float32)
    >>> log_mel(y, "parakeet").shape
    (275, 80)
    >>> log_mel(y, FeatureConfig(sr=44100)).max().item()
    -100.0
    """
    name = str(dtype).removeprefix("torch.")
    if dtype is not None:
        with suppress(TypeError):  # torch's dtypes have their names already; the message below shows what is no dtype.
            name = np.dtype(dtype).name
    if name not in ("float32", "float16"):
        raise CumelError(f"dtype={name}: must be float32 or float16")
    return _apply(FEATURES["log_mel"], y, cfg, lengths, device, out, name)


def mfcc(y: Array, cfg: Config, lengths: Lengths = None, *, device: Device = None, out: Array | None = None) -> Array:
    """Compute mel-frequency cepstral coefficients, as `librosa.feature.mfcc`: DCT-II, orthonormal, liftered.

    Parameters and errors as for `log_mel`.

    Returns
    -------
    ndarray or Tensor [..., n_mfcc, n_frames], float32
    """
    return _apply(FEATURES["mfcc"], y, cfg, lengths, device, out)


def mel_image(
    y: Array, cfg: Config, lengths: Lengths = None, *, device: Device = None, out: Array | None = None
) -> Array:
    """Stretch each clip's mel spectrogram in dB over 0..255 and truncate, as the student report's `spec_to_image` does.

    Parameters as for `log_mel`; a clip with NaN or infinity in it is an `InputError` everywhere.

    Returns
    -------
    ndarray or Tensor [..., n_mels, n_frames], uint8
        Zeros for a constant clip, and past a clip's end.
    """
    return _apply(FEATURES["mel_image"], y, cfg, lengths, device, out)


def _apply(
    feature: Feature,
    y: Array,
    cfg: Config,
    lengths: Lengths,
    device: Device,
    out: Array | None,
    dtype: str | None = None,
) -> Array:
    """Compute NumPy arrays in host memory without torch where that can be, and everything else with it."""
    cfg = config_of(cfg)
    if feature.function == "mel_image":
        cfg = cfg.decibels.replace(time_major=cfg.time_major)
    if isinstance(y, np.ndarray) and str(device) in ("None", "cpu") and not _traced() and host.computes(cfg):
        return host.compute(feature, y, cfg, lengths, cast(Any, out), dtype)
    try:
        from .dispatch import apply
    except ImportError as error:
        check_array(y)  # a list, say, would not do with torch either
        raise explained(error, f"{__package__}.{'launcher' if _on_gpu(y, device) else 'dispatch'}") from None
    return apply(feature, y, cfg, lengths, device, out, dtype)


def config_of(cfg: Config) -> FeatureConfig:
    """Return a config, or the preset of that name.

    Raises
    ------
    CumelError
        For anything else.
    """
    if isinstance(cfg, FeatureConfig):
        return cfg
    if isinstance(cfg, str):
        from .presets import PRESETS  # here, since checking them all takes longer than a feature

        if cfg not in PRESETS:
            near = get_close_matches(cfg, PRESETS, 1)
            meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(PRESETS)}"
            raise CumelError(f"cfg={shown(cfg)}: no preset has this name; {meant}")
        return PRESETS[cfg]
    hint = "FeatureConfig.from_dict(...)" if isinstance(cfg, dict) else 'FeatureConfig(sr=...) or "esc50"'
    raise CumelError(f"cfg: expected a FeatureConfig, such as {hint}, got {type(cfg).__name__}")


def _on_gpu(y: Any, device: Device) -> bool:
    """Tell whether CUDA is asked for, or a CuPy array."""
    return str(device).startswith("cuda") or is_cupy(y)


def _traced() -> bool:
    """Tell whether torch.compile is tracing this call."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.compiler.is_compiling()
