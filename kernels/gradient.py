"""The gradient of `log_mel` in the waveform, written out: a custom operator cannot ask autograd for it."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from . import composite
from .config import FeatureConfig
from .tensors import mel_weights, mirrored, taper


def log_mel_gradient(gradient: Tensor, clips: Tensor, n_samples: list[int], cfg: FeatureConfig) -> Tensor:
    """Pull a gradient of the features back to the waveform.

    Parameters
    ----------
    gradient : Tensor [n_clips, n_mels, n_frames]
    clips : Tensor [n_clips, n_samples], float32
    n_samples : list of int
        Samples of each clip.
    cfg : FeatureConfig

    Returns
    -------
    Tensor [n_clips, n_samples], float32
        Zero past a clip's end.
    """
    if all(n == clips.shape[1] for n in n_samples):
        return _waveform(_spectrum(gradient, clips, cfg), clips.shape[1], cfg)
    out = torch.zeros_like(clips)
    for clip, n in enumerate(n_samples):
        out[clip, :n] = _waveform(_spectrum(gradient[clip, None], clips[clip, None, :n], cfg), n, cfg)
    return out


def _spectrum(gradient: Tensor, clips: Tensor, cfg: FeatureConfig) -> Tensor:
    """Pull back to the STFT: G [n_clips, n_bins, n_frames] with dL = Re sum conj(G) dX.

    A gradient of more frames than the clips have reaches into the silence past their end, which reads as the floor.
    """
    spectrum = composite.stft(clips, [clips.shape[1]] * len(clips), cfg)
    matrix = mel_weights(cfg, clips.device)
    n_frames = spectrum.shape[2]
    mel = F.pad(matrix @ composite.strength(spectrum, cfg), (0, gradient.shape[2] - n_frames))
    audible = mel.clamp(min=cfg.least)
    if cfg.top_db is not None:  # what the floor cuts off moves with the maximum; a tie is shared, as in autograd
        db = cfg.db_per_decade * audible.log10()
        peak = db.amax(dim=(1, 2), keepdim=True)
        cut = (db < peak - cfg.top_db).to(db.dtype) + 0.5 * (db == peak - cfg.top_db).to(db.dtype)
        loudest = (db == peak).to(db.dtype)
        moved = (gradient * cut).sum(dim=(1, 2), keepdim=True) / loudest.sum(dim=(1, 2), keepdim=True)
        gradient = gradient * (1.0 - cut) + moved * loudest
    in_mel = gradient * (mel >= cfg.least) * (cfg.db_per_decade / math.log(10.0)) / audible
    in_strength = matrix.T @ in_mel[..., :n_frames]
    return in_strength * (2.0 * spectrum if cfg.power == 2 else spectrum.sgn())


def _waveform(spectrum: Tensor, n_samples: int, cfg: FeatureConfig) -> Tensor:
    """Pull a gradient of the STFT back through the real FFT, the window, the overlap and the padding."""
    paired = slice(1, (cfg.n_fft + 1) // 2)  # bins that irfft counts twice, for their mirror images
    spectrum[:, paired] *= 0.5
    frames = torch.fft.irfft(spectrum, n=cfg.n_fft, dim=1, norm="forward")
    n_padded = n_samples + 2 * cfg.padding
    used = (frames.shape[2] - 1) * cfg.hop_length + cfg.n_fft
    tapered = frames * taper(cfg, frames.device)[:, None]
    summed = F.fold(tapered, (1, used), (1, cfg.n_fft), stride=(1, cfg.hop_length))[:, 0, 0]
    padded = F.pad(summed, (0, n_padded - used))
    if cfg.padding and cfg.pad_mode == "reflect":
        source = mirrored(n_samples, -cfg.padding, n_samples + cfg.padding).to(padded.device)
        return padded.new_zeros(len(padded), n_samples).index_add_(1, source, padded)
    return padded[:, cfg.padding : cfg.padding + n_samples]
