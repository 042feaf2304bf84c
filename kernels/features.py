"""The public functions: waveform in, features out, in the caller's own kind of array and on its own device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from . import composite, cpu
from .config import FeatureConfig
from .errors import CumelError

Array = TypeVar("Array", np.ndarray, Tensor)
Lengths = Sequence[int] | np.ndarray | Tensor | None


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
    return _apply(y, cfg, lengths, cpu.stft, composite.stft)


def melspectrogram(y: Array, cfg: FeatureConfig, lengths: Lengths = None) -> Array:
    """Compute the mel spectrogram, as `librosa.feature.melspectrogram`; parameters and errors as for `stft`.

    Returns
    -------
    ndarray or Tensor [..., n_mels, n_frames], float32
        Magnitude or power, after `cfg.power`. Frames past a clip's end are 0.
    """
    return _apply(y, cfg, lengths, cpu.melspectrogram, composite.melspectrogram)


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
    return _apply(y, cfg, lengths, cpu.log_mel, composite.log_mel)


def mfcc(y: Array, cfg: FeatureConfig, lengths: Lengths = None) -> Array:
    """Compute mel-frequency cepstral coefficients, as `librosa.feature.mfcc`: DCT-II, orthonormal, liftered.

    Parameters and errors as for `log_mel`.

    Returns
    -------
    ndarray or Tensor [..., n_mfcc, n_frames], float32
    """

    def on_cpu(clips: Tensor, n_samples: list[int], cfg: FeatureConfig) -> Tensor:
        return cpu.mfcc(cpu.log_mel(clips, n_samples, cfg), cfg)

    def anywhere(clips: Tensor, n_samples: list[int], cfg: FeatureConfig) -> Tensor:
        return cpu.mfcc(composite.log_mel(clips, n_samples, cfg), cfg)

    return _apply(y, cfg, lengths, on_cpu, anywhere)


def mel_image(y: Array, cfg: FeatureConfig, lengths: Lengths = None) -> Array:
    """Stretch each clip's log-mel spectrogram over 0..255 and truncate, as the document's `spec_to_image` does.

    Parameters and errors as for `log_mel`.

    Returns
    -------
    ndarray or Tensor [..., n_mels, n_frames], uint8
        Zeros for a constant clip, and past a clip's end.
    """

    def image(clips: Tensor, n_samples: list[int], cfg: FeatureConfig) -> Tensor:
        db = (cpu.log_mel if clips.device.type == "cpu" else composite.log_mel)(clips, n_samples, cfg)
        out = torch.zeros(db.shape, dtype=torch.uint8, device=db.device)
        for clip, length in enumerate(n_samples):
            part = db[clip, :, : cfg.n_frames(length)]
            low, high = part.aminmax()
            if low < high:
                out[clip, :, : part.shape[1]] = ((part - low) * 255.0 / (high - low)).to(torch.uint8)
        return out

    return _apply(y, cfg, lengths, image, image)


Path = Callable[[Tensor, list[int], FeatureConfig], Tensor]


def _apply(y: Array, cfg: FeatureConfig, lengths: Lengths, on_cpu: Path, anywhere: Path) -> Array:
    """Check `y`, flatten its batch axes, compute on its device, and give back what came in."""
    if isinstance(y, np.ndarray):
        source = y if y.flags.writeable or y.size == 0 else y.copy()  # torch has no read-only tensors
        return _apply(torch.from_numpy(np.ascontiguousarray(source)), cfg, lengths, on_cpu, anywhere).numpy()
    if not isinstance(y, Tensor):
        raise CumelError(f"y: expected a numpy array or a torch tensor, got {type(y).__name__}")
    if y.dtype not in (torch.float32, torch.int16):
        name = str(y.dtype).removeprefix("torch.")
        raise CumelError(f"y has dtype {name}: give float32 in -1..1, or int16 (y.astype('float32') converts)")
    if y.ndim == 0 or y.shape[-1] == 0:
        raise CumelError(f"y has shape {tuple(y.shape)}: the last axis holds the samples, and needs at least one")
    clips = y.reshape(-1, y.shape[-1]).contiguous()
    n_samples = clip_lengths(lengths, y, cfg)
    if clips.device.type != "cpu" or (torch.is_grad_enabled() and y.requires_grad):
        out = anywhere(clips, n_samples, cfg)
    else:
        out = on_cpu(clips.detach(), n_samples, cfg)
    return out.reshape(*y.shape[:-1], *out.shape[1:])


def clip_lengths(lengths: Lengths, y: Tensor, cfg: FeatureConfig) -> list[int]:
    """Check the length of every clip in ``y`` [..., n_samples]; without `lengths` each has all the samples."""
    batch, longest = tuple(y.shape[:-1]), y.shape[-1]
    given = np.full(batch, longest) if lengths is None else np.asarray(torch.as_tensor(lengths).cpu())
    if given.shape != batch or given.dtype.kind not in "iu":
        raise CumelError(
            f"lengths has shape {given.shape} and dtype {given.dtype}: give one whole number per clip, {batch}"
        )
    flat = [int(n) for n in given.reshape(-1)]
    for clip, n in enumerate(flat):
        if not 1 <= n <= longest:
            raise CumelError(f"lengths[{clip}]={n}: must be between 1 and the {longest} samples of y")
        if cfg.n_frames(n) == 0:
            raise CumelError(f"clip {clip} has {n} samples, fewer than n_fft={cfg.n_fft}: use center=True or pad it")
    return flat
