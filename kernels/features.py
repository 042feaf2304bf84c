"""The public functions: waveform in, features out, in the caller's own kind of array and on its own device."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from . import composite, cpu
from .checks import Lengths, check_samples, clip_lengths
from .config import FeatureConfig
from .errors import CumelError
from .reference import FLAT_DB

Array = TypeVar("Array", np.ndarray, Tensor)


def stft(y: Array, cfg: FeatureConfig, lengths: Lengths = None) -> Array:
    """Compute the complex short-time Fourier transform, as `librosa.stft`.

    Parameters
    ----------
    y : ndarray or Tensor [..., n_samples], float32 in -1..1 or int16
        Clips; int16 is scaled by 1/32768 while it is read.
    cfg : FeatureConfig
    lengths : int array [...], optional
        Samples of each clip in a padded batch. Each clip is computed as if alone; its frames past the end are 0.

    Returns
    -------
    ndarray or Tensor [..., n_bins, n_frames], complex64
        The kind of array that came in, on its device.

    Raises
    ------
    CumelError
        For another dtype, an empty clip, a length out of range, or a clip shorter than n_fft when not `cfg.center`.
    """
    return _apply(y, cfg, lengths, lambda backend, clips, n: backend.stft(clips, n, cfg))


def melspectrogram(y: Array, cfg: FeatureConfig, lengths: Lengths = None) -> Array:
    """Compute the mel spectrogram, as `librosa.feature.melspectrogram`; parameters and errors as for `stft`.

    Returns
    -------
    ndarray or Tensor [..., n_mels, n_frames], float32
        Magnitude or power, after `cfg.power`. Frames past a clip's end are 0.
    """
    return _apply(y, cfg, lengths, lambda backend, clips, n: backend.melspectrogram(clips, n, cfg))


def log_mel(y: Array, cfg: FeatureConfig, lengths: Lengths = None) -> Array:
    """Compute the mel spectrogram in dB, as `librosa.power_to_db` (`amplitude_to_db` when power is 1) of it.

    Parameters and errors as for `stft`; besides, `InputError` for a clip with NaN or infinity in it.

    Returns
    -------
    ndarray or Tensor [..., n_mels, n_frames], float32
        dB, at most `cfg.top_db` below each clip's own maximum. Frames past a clip's end read as silence there.

    Examples
    --------
    >>> y = np.zeros(44100, np.float32)
    >>> log_mel(y, FeatureConfig(sr=44100)).max().item()
    -100.0
    """
    return _apply(y, cfg, lengths, lambda backend, clips, n: backend.log_mel(clips, n, cfg))


def mfcc(y: Array, cfg: FeatureConfig, lengths: Lengths = None) -> Array:
    """Compute mel-frequency cepstral coefficients, as `librosa.feature.mfcc`: DCT-II, orthonormal, liftered.

    Parameters and errors as for `log_mel`.

    Returns
    -------
    ndarray or Tensor [..., n_mfcc, n_frames], float32
    """

    def compute(backend: ModuleType, clips: Tensor, n_samples: list[int]) -> Tensor:
        return cpu.mfcc(backend.log_mel(clips, n_samples, cfg), n_samples, cfg)

    return _apply(y, cfg, lengths, compute)


def mel_image(y: Array, cfg: FeatureConfig, lengths: Lengths = None) -> Array:
    """Stretch each clip's log-mel spectrogram over 0..255 and truncate, as the document's `spec_to_image` does.

    Parameters and errors as for `log_mel`.

    Returns
    -------
    ndarray or Tensor [..., n_mels, n_frames], uint8
        Zeros for a constant clip, and past a clip's end.
    """

    def compute(backend: ModuleType, clips: Tensor, n_samples: list[int]) -> Tensor:
        db = backend.log_mel(clips, n_samples, cfg)
        out = torch.zeros(db.shape, dtype=torch.uint8, device=db.device)
        for clip, n_frames in enumerate(map(cfg.n_frames, n_samples)):
            part = db[clip, :, :n_frames]
            low, high = part.aminmax()
            if high - low >= FLAT_DB:
                out[clip, :, :n_frames] = ((part - low) * 255.0 / (high - low)).to(torch.uint8)
        return out

    return _apply(y, cfg, lengths, compute)


Compute = Callable[[ModuleType, Tensor, list[int]], Tensor]


def _apply(y: Array, cfg: FeatureConfig, lengths: Lengths, compute: Compute) -> Array:
    """Check `y`, flatten its batch axes, compute on its device, and give back what came in."""
    if isinstance(y, np.ndarray):
        check_samples(y.dtype, y.shape)
        source = y if y.flags.writeable else y.copy()  # torch has no read-only tensors
        return _apply(torch.from_numpy(np.ascontiguousarray(source)), cfg, lengths, compute).numpy()
    if not isinstance(y, Tensor):
        raise CumelError(f"y: expected a numpy array or a torch tensor, got {type(y).__name__}")
    check_samples(y.dtype, tuple(y.shape))
    n_samples = clip_lengths(lengths, y, cfg)
    clips = y.reshape(-1, y.shape[-1]).contiguous()
    differentiable = torch.is_grad_enabled() and y.requires_grad
    backend = cpu if clips.device.type == "cpu" and not differentiable else composite
    with torch.autocast(y.device.type, enabled=False):  # half precision costs whole decibels
        if n_samples:
            out = compute(backend, clips if differentiable else clips.detach(), n_samples)
        else:  # an empty batch: the shape of one clip's features, without the clip
            out = compute(backend, clips.new_zeros(1, y.shape[-1]), [y.shape[-1]])[:0]
    return out.reshape(*y.shape[:-1], *out.shape[1:])
