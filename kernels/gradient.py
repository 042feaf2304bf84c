"""The gradient of `log_mel` in the waveform, written out: a custom operator cannot ask autograd for it."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from . import autograd
from .config import FeatureConfig
from .tensors import mel_weights, mirrored, taper


def log_mel_gradient(
    gradient: Tensor, clips: Tensor, lengths: NDArray[np.int64] | Tensor | None, cfg: FeatureConfig
) -> Tensor:
    """Pull a gradient of the features back to the waveform. Nothing waits for a device.

    Parameters
    ----------
    gradient : Tensor [n_clips, n_mels, n_frames]
    clips : Tensor [n_clips, n_samples], float32
    lengths : int64 [n_clips], optional
        Samples of each clip, in host memory or unchecked on the device; None: all.
    cfg : FeatureConfig

    Returns
    -------
    Tensor [n_clips, n_samples], float32
        Zero past a clip's end; NaN for a clip whose length is out of range.
    """
    longest = clips.shape[1]
    n, sounds, known = torch.full((1, 1), longest, device=clips.device), None, None
    if lengths is not None:
        given = torch.as_tensor(lengths, device=clips.device)[:, None]
        n = given.clamp(max(1, cfg.n_fft - 2 * cfg.padding), longest)
        begins = torch.arange(cfg.n_frames(longest), device=clips.device) * cfg.hop_length
        sounds, known = (begins <= n + 2 * cfg.padding - cfg.n_fft)[:, None], n == given
    padded, source = _padded(clips, n, cfg)
    frames = padded.unfold(1, cfg.n_fft, cfg.hop_length) * taper(cfg, clips.device)
    spectrum = _spectrum(gradient, torch.fft.rfft(frames).transpose(1, 2), sounds, cfg)
    back = _waveform(spectrum, padded.shape[1], cfg)
    if source is not None:
        out = torch.zeros_like(clips).scatter_add_(1, source, back)
    else:
        out = torch.where(_inside(n, clips), back[:, cfg.padding : cfg.padding + longest], 0.0)
    return out if known is None else torch.where(known, out, torch.nan)


def _inside(n: Tensor, clips: Tensor) -> Tensor:
    return torch.arange(clips.shape[1], device=clips.device) < n


def _padded(clips: Tensor, n: Tensor, cfg: FeatureConfig) -> tuple[Tensor, Tensor | None]:
    """Pad clips of ``n`` [n_clips, 1] samples; when mirrored, also tell where each padded sample comes from."""
    pad, longest = cfg.padding, clips.shape[1]
    if pad and cfg.pad_mode == "reflect":
        source = mirrored(n, -pad, longest + pad, clips.device).expand(len(clips), -1)
        return clips.gather(1, source), source
    return F.pad(torch.where(_inside(n, clips), clips, 0.0), (pad, pad)), None


def _spectrum(gradient: Tensor, spectrum: Tensor, sounds: Tensor | None, cfg: FeatureConfig) -> Tensor:
    """Pull back to the STFT: G [n_clips, n_bins, n_frames] with dL = Re sum conj(G) dX.

    Frames past a clip's end, where `sounds` is false, are silence, which reads as the floor.
    """
    matrix = mel_weights(cfg, spectrum.device)
    mel = matrix @ autograd.strength(spectrum, cfg)
    mel = mel if sounds is None else torch.where(sounds, mel, 0.0)
    audible = mel.clamp(min=cfg.least)
    if cfg.top_db is not None:  # what the floor cuts off moves with the maximum; a tie is shared, as in autograd
        db = cfg.db_per_decade * audible.log10()
        peak = db.amax(dim=(1, 2), keepdim=True)
        cut = (db < peak - cfg.top_db).to(db.dtype) + 0.5 * (db == peak - cfg.top_db).to(db.dtype)
        loudest = (db == peak).to(db.dtype)
        moved = (gradient * cut).sum(dim=(1, 2), keepdim=True) / loudest.sum(dim=(1, 2), keepdim=True)
        gradient = gradient * (1.0 - cut) + moved * loudest
    in_mel = gradient * (mel >= cfg.least) * (cfg.db_per_decade / math.log(10.0)) / audible
    return (matrix.T @ in_mel) * (2.0 * spectrum if cfg.power == 2 else spectrum.sgn())


def _waveform(spectrum: Tensor, n_padded: int, cfg: FeatureConfig) -> Tensor:
    """Pull a gradient of the STFT back through the real FFT, the window and the overlap: [n_clips, n_padded]."""
    paired = slice(1, (cfg.n_fft + 1) // 2)  # bins that irfft counts twice, for their mirror images
    spectrum[:, paired] *= 0.5
    frames = torch.fft.irfft(spectrum, n=cfg.n_fft, dim=1, norm="forward")
    used = (frames.shape[2] - 1) * cfg.hop_length + cfg.n_fft
    tapered = frames * taper(cfg, frames.device)[:, None]
    summed = F.fold(tapered, (1, used), (1, cfg.n_fft), stride=(1, cfg.hop_length))[:, 0, 0]
    return F.pad(summed, (0, n_padded - used))
