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
from .config import FeatureConfig
from .cpu import cepstra, image
from .precision import exact_products
from .reference import INT16_SCALE
from .tensors import mel_weights, mirrored, product, taper


def stft(clips: Tensor, n_samples: list[int], cfg: FeatureConfig) -> Tensor:
    """Complex STFT of ``clips`` [n_clips, n_samples]: [n_clips, n_bins, n_frames], zero past a clip's end."""
    return _each_length(_stft, clips, n_samples, cfg)


def spectrogram(clips: Tensor, n_samples: list[int], cfg: FeatureConfig) -> Tensor:
    """Magnitude or power of ``clips`` [n_clips, n_samples]: [n_clips, n_bins, n_frames], zero past a clip's end."""
    return _each_length(lambda clips, cfg: strength(_stft(clips, cfg), cfg), clips, n_samples, cfg)


def melspectrogram(clips: Tensor, n_samples: list[int], cfg: FeatureConfig) -> Tensor:
    """Mel spectrogram of ``clips`` [n_clips, n_samples]: [n_clips, n_mels, n_frames], zero past a clip's end."""
    return _each_length(_mel, clips, n_samples, cfg)


def log_mel(clips: Tensor, n_samples: list[int], cfg: FeatureConfig) -> Tensor:
    """Log-mel spectrogram in dB of ``clips`` [n_clips, n_samples]: [n_clips, n_mels, n_frames]."""
    mel = melspectrogram(clips, n_samples, cfg)
    check_finite(mel.amax(dim=(1, 2)))
    db = cfg.db_per_decade * mel.clamp(min=cfg.least).log10() - cfg.db_of_ref
    return db if cfg.top_db is None else torch.maximum(db, db.amax(dim=(1, 2), keepdim=True) - cfg.top_db)


def mfcc(clips: Tensor, n_samples: list[int], cfg: FeatureConfig) -> Tensor:
    """Compute MFCC of ``clips`` [n_clips, n_samples]: [n_clips, n_mfcc, n_frames]."""
    return cepstra(log_mel(clips, n_samples, cfg), n_samples, cfg)


def mel_image(clips: Tensor, n_samples: list[int], cfg: FeatureConfig) -> Tensor:
    """Image of ``clips`` [n_clips, n_samples]: uint8 [n_clips, n_mels, n_frames], without a gradient."""
    return image(log_mel(clips.detach(), n_samples, cfg), [cfg.n_frames(n) for n in n_samples])


def _each_length(
    compute: Callable[[Tensor, FeatureConfig], Tensor], clips: Tensor, n_samples: list[int], cfg: FeatureConfig
) -> Tensor:
    longest = clips.shape[1]
    if all(n == longest for n in n_samples):
        return compute(clips, cfg)
    n_frames = cfg.n_frames(longest)
    alone = [compute(clip[None, :n], cfg) for clip, n in zip(clips, n_samples, strict=True)]
    return torch.cat([F.pad(one, (0, n_frames - one.shape[-1])) for one in alone])


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
