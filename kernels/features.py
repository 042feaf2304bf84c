"""The public functions: waveform in, features out, in the caller's own kind of array and on its own device."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from . import autograd, cpu, launcher
from .arrays import Lengths, as_tensor, check_layout, clip_lengths, like, listed, output, overlap
from .config import FeatureConfig
from .cuda import Clips
from .errors import CumelError, UnavailableError
from .kinds import FEATURES, Feature
from .out_of_core import stream
from .tensors import Padded, followed

Array = TypeVar("Array")  # numpy.ndarray, torch.Tensor or cupy.ndarray
Device = str | torch.device | None


def stft(
    y: Array, cfg: FeatureConfig, lengths: Lengths = None, *, device: Device = None, out: Array | None = None
) -> Array:
    """Compute the complex short-time Fourier transform, as `librosa.stft`.

    Parameters
    ----------
    y : ndarray or Tensor [..., n_samples], float32 in -1..1 or int16
        Clips, of NumPy, torch or CuPy; int16 is scaled by 1/32768 while it is read.
    cfg : FeatureConfig
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
        The kind of array that came in, on its device.

    Raises
    ------
    CumelError
        For another dtype, an empty clip, a length out of range, or a clip shorter than n_fft when not `cfg.center`.
    UnavailableError
        For a CUDA device that is not there, or without CuPy, which the kernels need.
    """
    return _apply(FEATURES["stft"], y, cfg, lengths, device, out)


def spectrogram(
    y: Array, cfg: FeatureConfig, lengths: Lengths = None, *, device: Device = None, out: Array | None = None
) -> Array:
    """Compute magnitude or power of the STFT, after `cfg.power`; parameters and errors as for `stft`.

    Returns
    -------
    ndarray or Tensor [..., n_bins, n_frames], float32
        Frames past a clip's end are 0.
    """
    return _apply(FEATURES["spectrogram"], y, cfg, lengths, device, out)


def melspectrogram(
    y: Array, cfg: FeatureConfig, lengths: Lengths = None, *, device: Device = None, out: Array | None = None
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
    cfg: FeatureConfig,
    lengths: Lengths = None,
    *,
    dtype: Any = "float32",
    device: Device = None,
    out: Array | None = None,
) -> Array:
    """Compute the mel spectrogram in dB, as `librosa.power_to_db` (`amplitude_to_db` when power is 1) of it.

    Parameters and errors as for `stft`; besides, `InputError` for a clip with NaN or infinity in it. On CUDA no error
    is raised, as that would wait for the device: the clip is NaN (only the affected frames without `top_db`).

    Parameters
    ----------
    dtype : {"float32", "float16"}
        dtype of the result.

    Returns
    -------
    ndarray or Tensor [..., n_mels, n_frames]
        dB, at most `cfg.top_db` below each clip's own maximum. Frames past a clip's end read as silence there.

    Examples
    --------
    >>> y = np.zeros(44100, np.float32)
    >>> log_mel(y, FeatureConfig(sr=44100)).max().item()
    -100.0
    """
    name = str(dtype).removeprefix("torch.")
    if dtype is not None and not isinstance(dtype, torch.dtype):
        with suppress(TypeError):  # The message below shows a value that is no dtype as it is.
            name = np.dtype(dtype).name
    if name not in ("float32", "float16"):
        raise CumelError(f"dtype={name}: must be float32 or float16")
    return _apply(FEATURES["log_mel"], y, cfg, lengths, device, out, getattr(torch, name))


def mfcc(
    y: Array, cfg: FeatureConfig, lengths: Lengths = None, *, device: Device = None, out: Array | None = None
) -> Array:
    """Compute mel-frequency cepstral coefficients, as `librosa.feature.mfcc`: DCT-II, orthonormal, liftered.

    Parameters and errors as for `log_mel`.

    Returns
    -------
    ndarray or Tensor [..., n_mfcc, n_frames], float32
    """
    return _apply(FEATURES["mfcc"], y, cfg, lengths, device, out)


def mel_image(
    y: Array, cfg: FeatureConfig, lengths: Lengths = None, *, device: Device = None, out: Array | None = None
) -> Array:
    """Stretch each clip's log-mel spectrogram over 0..255 and truncate, as the student report's `spec_to_image` does.

    Parameters as for `log_mel`; a clip with NaN or infinity in it is an `InputError` everywhere.

    Returns
    -------
    ndarray or Tensor [..., n_mels, n_frames], uint8
        Zeros for a constant clip, and past a clip's end.
    """
    return _apply(FEATURES["mel_image"], y, cfg, lengths, device, out)


def unchecked_image(y: Tensor, cfg: FeatureConfig, lengths: Lengths = None) -> tuple[Tensor, Tensor]:
    """Compute `mel_image` of clips on a CUDA device without waiting to see whether it would refuse one.

    Parameters
    ----------
    y : Tensor [n_clips, n_samples] or [n]
    cfg : FeatureConfig
    lengths : int array, optional
        As for `stft`.

    Returns
    -------
    images : Tensor [n_clips, n_mels, n_frames], uint8
    loudest : Tensor [n_clips], float32
        Largest mel value of each clip. Where it is NaN or infinite, `mel_image` would have refused the clip.
    """
    n_samples, _ = clip_lengths(lengths, y, cfg)
    return launcher.frontend(y.device).unchecked_image(Clips.of(y.detach().contiguous(), n_samples, cfg), cfg)


def _apply(
    feature: Feature,
    y: Array,
    cfg: FeatureConfig,
    lengths: Lengths,
    device: Device,
    out: Array | None,
    dtype: torch.dtype | None = None,
) -> Array:
    """Check `y`, flatten its batch axes, compute, and give back what came in, where it came from."""
    if torch.compiler.is_compiling():  # This call breaks the graph; `LogMel` is an operator in it.
        eager: Any = torch.compiler.disable(_apply)
        return eager(feature, y, cfg, lengths, device, out, dtype)
    if not isinstance(cfg, FeatureConfig):
        hint = {str: 'PRESETS["esc50"]', dict: "FeatureConfig.from_dict(...)"}.get(type(cfg), "FeatureConfig(sr=...)")
        raise CumelError(f"cfg: expected a FeatureConfig, such as {hint}, got {type(cfg).__name__}")
    with as_tensor(y) as samples:
        if lengths is None:
            check_layout(tuple(samples.shape), cfg)
        n_samples, packed = clip_lengths(lengths, samples, cfg)
        longest = samples.shape[-1]
        clips = samples if packed else samples.reshape(-1, longest)
        batch = (len(n_samples),) if packed and n_samples is not None else samples.shape[:-1]
        place = _place(device, samples.device)
        if out is not None:
            width = int(n_samples.max()) if packed and n_samples is not None else longest
            shape = (*batch, feature.n_rows(cfg), cfg.n_frames(width))
            target = output(out, y, shape, dtype or getattr(torch, feature.dtype))
            if followed(samples):
                raise CumelError("out: no gradient flows through it; leave it away, or detach y")
            flat = None  # Written in place, the first frames would change samples that later ones still read.
            if not overlap(target, clips):
                flat = target.flatten(0, -3) if batch else target[None]  # a copy where the strides are too odd
            if clips.numel():
                result = _compute(feature, clips, n_samples, cfg, place, dtype, flat)
                if result.data_ptr() != target.data_ptr():
                    target.copy_(result.reshape(shape))
            return out
        if clips.numel():
            result = _compute(feature, clips, n_samples, cfg, place, dtype)
        else:  # an empty batch: the shape of one clip's features, without the clip
            result = _compute(feature, clips.new_zeros(1, longest), None, cfg, place, dtype)[:0]
        return like(result.reshape(*batch, *result.shape[1:]), y)


def _compute(
    feature: Feature,
    clips: Tensor,
    lengths: NDArray[np.int64] | Tensor | None,
    cfg: FeatureConfig,
    device: torch.device,
    dtype: torch.dtype | None,
    out: Tensor | None = None,
) -> Tensor:
    """Compute on `device` what the clips ``[n_clips, n_samples]``, or ``[n]`` without padding, then have at home.

    `out` [n_clips, n_rows, n_frames], which lies at home, is used where the backend computes there.
    """
    home, differentiable = clips.device, followed(clips)
    if device.type == "cuda" and not differentiable:
        frontend = launcher.frontend(device)
        if home.type == "cpu":
            result = stream(frontend, device, feature, Clips.of(clips.detach().contiguous(), lengths, cfg), cfg)
        else:
            lengths = lengths.to(device) if isinstance(lengths, Tensor) else lengths
            on_device = Clips.of(clips.detach().contiguous().to(device), lengths, cfg)
            result = feature.on(frontend)(on_device, cfg, dtype=dtype)
        return result.to(home, dtype)
    n_samples = listed(lengths, clips, cfg)
    dense = pad_sequence(list(clips.split(n_samples)), batch_first=True) if clips.dim() == 1 else clips.contiguous()
    padded = Padded((dense if differentiable else dense.detach()).to(device), n_samples)
    with torch.autocast(device.type, enabled=False):  # half precision costs whole decibels
        if device.type == "cpu" and not differentiable:
            return feature.on(cpu)(padded, cfg, out if home == device else None, dtype).to(home)
        return feature.on(autograd)(padded, cfg, dtype=dtype).to(home)


def _place(device: Device, home: torch.device) -> torch.device:
    """Return the device to compute on, with its number."""
    try:
        place = home if device is None else torch.device(device)
    except (RuntimeError, TypeError):
        raise CumelError(f"device={device!r}: must be cpu, cuda or cuda:N") from None
    if place.type not in ("cpu", "cuda", home.type):
        raise CumelError(f"device={place}: must be cpu, cuda or cuda:N")
    if place.type != "cuda":
        return place
    count = torch.cuda.device_count()
    index = torch.cuda.current_device() if place.index is None and count else place.index or 0
    if index >= count:
        raise UnavailableError(f"device={place}: torch sees {count} CUDA devices; `cumel doctor` says why")
    return torch.device("cuda", index)
