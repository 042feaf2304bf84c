"""The front end out of torch's own operators: differentiable, on any device, a batch at a time.

Used (a) when the input requires a gradient, (b) on devices other than CPU and CUDA. `log_mel_gradient` is the gradient
in the waveform, written out for `LogMel`: a custom operator cannot ask autograd for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .config import INT16_SCALE, FeatureConfig
from .interchange import check_finite
from .precision import exact_products
from .tensors import Padded, cepstra, image, mel_weights, mirrored, product, wanted, window_of


def stft(clips: Padded, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """Compute [n_clips, n_bins, n_frames] complex64; zero past a clip's end."""
    return wanted(_each_length(_stft, clips, cfg), out, dtype)


def spectrogram(
    clips: Padded, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Compute [n_clips, n_bins, n_frames] float32, magnitude or power; zero past a clip's end."""
    return wanted(_each_length(lambda y, cfg: magnitude_or_power(_stft(y, cfg), cfg), clips, cfg), out, dtype)


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
    if cfg.edges[0] and cfg.pad_mode == "reflect":
        y = y[:, mirrored(y.shape[1], -cfg.edges[0], y.shape[1] + cfg.edges[0]).to(y.device)]
    elif cfg.edges[0]:
        y = F.pad(y, (cfg.edges[0], cfg.edges[0]))
    return torch.fft.rfft(y.unfold(1, cfg.n_fft, cfg.hop_length) * window_of(cfg, y.device)).transpose(1, 2)


def _mel(clips: Tensor, cfg: FeatureConfig) -> Tensor:
    with exact_products():
        return product(mel_weights(cfg, clips.device), magnitude_or_power(_stft(clips, cfg), cfg))


def magnitude_or_power(spectrum: Tensor, cfg: FeatureConfig) -> Tensor:
    """Magnitude or power of an STFT, after `cfg.power`."""
    return spectrum.abs() if cfg.power == 1 else spectrum.real.square() + spectrum.imag.square()


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
    n, sounds, in_range = torch.full((1, 1), longest, device=clips.device), None, None
    if lengths is not None:
        stated = torch.as_tensor(lengths, device=clips.device)[:, None]
        n = stated.clamp(max(1, cfg.n_fft - 2 * cfg.edges[0]), longest)
        begins = torch.arange(cfg.n_frames(longest), device=clips.device) * cfg.hop_length
        sounds, in_range = (begins <= n + 2 * cfg.edges[0] - cfg.n_fft)[:, None], n == stated
    padded, source = _padded(clips, n, cfg)
    frames = padded.unfold(1, cfg.n_fft, cfg.hop_length) * window_of(cfg, clips.device)
    spectrum = _spectrum(gradient, torch.fft.rfft(frames).transpose(1, 2), sounds, cfg)
    back = _waveform(spectrum, padded.shape[1], cfg)
    if source is not None:
        out = torch.zeros_like(clips).scatter_add_(1, source, back)
    else:
        out = torch.where(_inside(n, clips), back[:, cfg.edges[0] : cfg.edges[0] + longest], 0.0)
    return out if in_range is None else torch.where(in_range, out, torch.nan)


def _inside(n: Tensor, clips: Tensor) -> Tensor:
    return torch.arange(clips.shape[1], device=clips.device) < n


def _padded(clips: Tensor, n: Tensor, cfg: FeatureConfig) -> tuple[Tensor, Tensor | None]:
    """Pad clips of ``n`` [n_clips, 1] samples; when mirrored, also return the index of each padded sample's source."""
    pad, longest = cfg.edges[0], clips.shape[1]
    if pad and cfg.pad_mode == "reflect":
        source = mirrored(n, -pad, longest + pad, clips.device).expand(len(clips), -1)
        return clips.gather(1, source), source
    return F.pad(torch.where(_inside(n, clips), clips, 0.0), (pad, pad)), None


def _spectrum(gradient: Tensor, spectrum: Tensor, sounds: Tensor | None, cfg: FeatureConfig) -> Tensor:
    """Pull back to the STFT: G [n_clips, n_bins, n_frames] with dL = Re sum conj(G) dX.

    Frames past a clip's end, where `sounds` is false, are silence, at the floor.
    """
    matrix = mel_weights(cfg, spectrum.device)
    mel = matrix @ magnitude_or_power(spectrum, cfg)
    mel = mel if sounds is None else torch.where(sounds, mel, 0.0)
    audible = mel.clamp(min=cfg.least)
    if cfg.top_db is not None:  # A value at the floor moves with the maximum; equal maxima share, as in autograd.
        db = cfg.db_per_decade * audible.log10()
        peak = db.amax(dim=(1, 2), keepdim=True)
        lifted = (db < peak - cfg.top_db).to(db.dtype) + 0.5 * (db == peak - cfg.top_db).to(db.dtype)
        loudest = (db == peak).to(db.dtype)
        moved = (gradient * lifted).sum(dim=(1, 2), keepdim=True) / loudest.sum(dim=(1, 2), keepdim=True)
        gradient = gradient * (1.0 - lifted) + moved * loudest
    in_mel = gradient * (mel >= cfg.least) * (cfg.db_per_decade / math.log(10.0)) / audible
    return (matrix.T @ in_mel) * (2.0 * spectrum if cfg.power == 2 else spectrum.sgn())


def _waveform(spectrum: Tensor, n_padded: int, cfg: FeatureConfig) -> Tensor:
    """Pull a gradient of the STFT back through the real FFT, the window and the overlap: [n_clips, n_padded]."""
    paired = slice(1, (cfg.n_fft + 1) // 2)  # irfft counts these bins twice, for their mirror images
    spectrum[:, paired] *= 0.5
    frames = torch.fft.irfft(spectrum, n=cfg.n_fft, dim=1, norm="forward")
    used = (frames.shape[2] - 1) * cfg.hop_length + cfg.n_fft
    tapered = frames * window_of(cfg, frames.device)[:, None]
    summed = F.fold(tapered, (1, used), (1, cfg.n_fft), stride=(1, cfg.hop_length))[:, 0, 0]
    return F.pad(summed, (0, n_padded - used))
