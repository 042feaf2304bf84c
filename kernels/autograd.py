"""The front end out of torch's own operators: differentiable, on any device, a batch at a time.

It carries the gradients of the functions, on every device, and the forward pass on devices that are neither the CPU
nor CUDA.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from .checks import check_finite
from .config import INT16_SCALE, FeatureConfig
from .precision import exact_products
from .tensors import Padded, cepstra, image, mel_weights, mirrored, product, taper, wanted


def stft(clips: Padded, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """Compute [n_clips, n_bins, n_frames] complex64; zero past a clip's end."""
    return wanted(_each_length(_stft, clips, cfg), out, dtype)


def spectrogram(
    clips: Padded, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Compute [n_clips, n_bins, n_frames] float32, magnitude or power; zero past a clip's end."""
    return wanted(_each_length(lambda y, cfg: strength(_stft(y, cfg), cfg), clips, cfg), out, dtype)


def melspectrogram(
    clips: Padded, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Compute [n_clips, n_mels, n_frames] float32; zero past a clip's end."""
    return wanted(_each_length(_mel, clips, cfg), out, dtype)


def log_mel(clips: Padded, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """Compute `melspectrogram` in dB, at most `top_db` below each clip's maximum.

    Raises
    ------
    InputError
        For a clip with NaN or infinity in it.
    """
    mel = melspectrogram(clips, cfg)
    check_finite(mel.amax(dim=(1, 2)))
    db = cfg.db_per_decade * mel.clamp(min=cfg.least).log10() - cfg.db_of_ref
    db = db if cfg.top_db is None else torch.maximum(db, db.amax(dim=(1, 2), keepdim=True) - cfg.top_db)
    return wanted(db, out, dtype)


def mfcc(clips: Padded, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """Compute [n_clips, n_mfcc, n_frames] float32."""
    return wanted(cepstra(log_mel(clips, cfg), clips.lengths, cfg), out, dtype)


def mel_image(clips: Padded, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """Compute [n_clips, n_mels, n_frames] uint8, without a gradient."""
    db = log_mel(clips._replace(samples=clips.samples.detach()), cfg)
    return wanted(image(db, [cfg.n_frames(n) for n in clips.lengths]), out, dtype)


def _each_length(compute: Callable[[Tensor, FeatureConfig], Tensor], clips: Padded, cfg: FeatureConfig) -> Tensor:
    """Compute clips of one length together, others each alone, and pad what comes of them with zeros."""
    longest = clips.samples.shape[1]
    if all(n == longest for n in clips.lengths):
        return compute(clips.samples, cfg)
    n_frames = cfg.n_frames(longest)
    features = [compute(clip[None, :n], cfg) for clip, n in zip(*clips, strict=True)]
    return torch.cat([F.pad(feature, (0, n_frames - feature.shape[-1])) for feature in features])


def _stft(clips: Tensor, cfg: FeatureConfig) -> Tensor:
    y = clips.float() * INT16_SCALE if clips.dtype == torch.int16 else clips
    if cfg.padding and cfg.pad_mode == "reflect":
        y = y[:, mirrored(y.shape[1], -cfg.padding, y.shape[1] + cfg.padding).to(y.device)]
    elif cfg.padding:
        y = F.pad(y, (cfg.padding, cfg.padding))
    return torch.fft.rfft(y.unfold(1, cfg.n_fft, cfg.hop_length) * taper(cfg, y.device)).transpose(1, 2)


def _mel(clips: Tensor, cfg: FeatureConfig) -> Tensor:
    with exact_products():
        return product(mel_weights(cfg, clips.device), strength(_stft(clips, cfg), cfg))


def strength(spectrum: Tensor, cfg: FeatureConfig) -> Tensor:
    """Magnitude or power of an STFT, after `cfg.power`."""
    return spectrum.abs() if cfg.power == 1 else spectrum.real.square() + spectrum.imag.square()
