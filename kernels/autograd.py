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

from . import normalization
from .config import INT16_SCALE, FeatureConfig
from .interchange import check_finite
from .precision import exact_products
from .tensors import Padded, band_values, cepstra, image, mel_weights, mirrored, product, wanted, window_of


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
    """Compute `melspectrogram` with all that `cfg` does to it, the logarithm among it.

    Raises
    ------
    InputError
        For a clip with NaN or infinity in it.
    """
    mel = melspectrogram(clips, cfg)
    check_finite(mel.amax(dim=(1, 2)))
    levels = lift(_leveled(mel, cfg), cfg)
    if cfg.normalize is not None:
        parts = [_normalized(clip, cfg.n_frames(n), cfg) for clip, n in zip(levels, clips.lengths, strict=True)]
        levels = torch.stack(parts)
    elif cfg.is_per_band:
        mean, std = band_values(cfg, levels.device)
        levels = (levels - mean) / std
    return wanted(levels, out, dtype)


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
    y = preemphasised(clips.float() * INT16_SCALE if clips.dtype == torch.int16 else clips, cfg)
    left, right = cfg.edges
    if _mirrors(cfg):
        y = y[:, mirrored(y.shape[1], -left, y.shape[1] + right, cfg).to(y.device)]
    elif left or right:
        y = _with_zeros(y, cfg)
    return torch.fft.rfft(_frames(y, cfg), n=cfg.n_fft).transpose(1, 2)


def preemphasised(y: Tensor, cfg: FeatureConfig) -> Tensor:
    """Pre-emphasise clips [n_clips, n_samples], where that is of the clip."""
    if not cfg.preemphasis or cfg.preemphasis_of == "frame":
        return y
    changes = y[:, 1:] - cfg.preemphasis * y[:, :-1]
    return changes if cfg.n_dropped else torch.cat((y[:, :1], changes), dim=1)


def _mirrors(cfg: FeatureConfig) -> bool:
    """Tell whether padding takes samples of the clip."""
    return cfg.pad_mode != "constant" and max(cfg.edges) > 0


def _with_zeros(y: Tensor, cfg: FeatureConfig) -> Tensor:
    """Pad clips with zeros; a negative number of them may leave out all of a clip, and zeros before it."""
    left, right = cfg.edges
    return F.pad(y, (left, max(right, 0)))[:, : left + y.shape[1] + right]


def _frames(padded: Tensor, cfg: FeatureConfig) -> Tensor:
    """Cut frames [n_clips, n_frames, frame_length], conditioned and windowed as `cfg` says."""
    frames = conditioned(padded.unfold(1, cfg.frame_length, cfg.hop_length), cfg)
    return frames * window_of(cfg, padded.device)[: cfg.frame_length]


def conditioned(frames: Tensor, cfg: FeatureConfig) -> Tensor:
    """Take the mean from frames [..., frame_length], and pre-emphasise them, where `cfg` says so of frames."""
    if cfg.remove_dc:
        frames = frames - frames.mean(-1, keepdim=True)
    if cfg.preemphasis and cfg.preemphasis_of == "frame":
        frames = frames - cfg.preemphasis * torch.cat((frames[..., :1], frames[..., :-1]), dim=-1)
    return frames


def _mel(clips: Tensor, cfg: FeatureConfig) -> Tensor:
    with exact_products():
        return product(mel_weights(cfg, clips.device), magnitude_or_power(_stft(clips, cfg), cfg))


def magnitude_or_power(spectrum: Tensor, cfg: FeatureConfig) -> Tensor:
    """Magnitude or power of an STFT, after `cfg.power`, with `cfg.bin_offset` in it."""
    if cfg.power == 1 and not cfg.bin_offset:
        return spectrum.abs()
    power = spectrum.real.square() + spectrum.imag.square()
    power = power + cfg.bin_offset if cfg.bin_offset else power
    return power.sqrt() if cfg.power == 1 else power


def _leveled(mel: Tensor, cfg: FeatureConfig) -> Tensor:
    """Take the logarithm of mel values, or what `cfg.levels` says in its place."""
    levels = cfg.levels
    values = (mel + levels.offset if levels.offset else mel).clamp(min=levels.least)
    return levels.gain * (values.log10() if levels.log else values) - levels.shift


def lift(levels: Tensor, cfg: FeatureConfig) -> Tensor:
    """Lift what lies too far below a clip's maximum."""
    span = cfg.levels.span
    return levels if span == math.inf else torch.maximum(levels, levels.amax(dim=(1, 2), keepdim=True) - span)


def _normalized(levels: Tensor, n_frames: int, cfg: FeatureConfig) -> Tensor:
    """Normalize the first `n_frames` of a clip [n_mels, width]; what follows becomes 0."""
    by, (mean, std) = cfg.normalize, band_values(cfg, levels.device)
    assert by is not None
    own = normalization.wide(levels[:, :n_frames])
    own = normalization.normalized(own, normalization.moments(own, by), by)
    return F.pad(((own - mean) / std).to(levels.dtype), (0, levels.shape[1] - n_frames))


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
        n = stated.clamp(cfg.least_samples, longest)
        last = n - cfg.n_dropped + sum(cfg.edges) - cfg.frame_length  # A clip's frames begin there at the latest.
        begins = torch.arange(cfg.n_frames(longest), device=clips.device) * cfg.hop_length
        sounds, in_range = (begins <= last)[:, None], n == stated
    emphasised = preemphasised(clips, cfg)
    own = n - cfg.n_dropped
    padded, source = _padded(emphasised, own, cfg)
    spectrum = torch.fft.rfft(_frames(padded, cfg), n=cfg.n_fft).transpose(1, 2)
    back = _waveform(_spectrum(gradient, spectrum, sounds, cfg), padded.shape[1], cfg)
    if source is not None:
        out = torch.zeros_like(emphasised).scatter_add_(1, source, back)
    else:
        left, right = cfg.edges
        back = F.pad(back, (0, max(-right, 0)))[:, left : left + emphasised.shape[1]]
        out = torch.where(_inside(own, emphasised), back, 0.0)
    out = _before_emphasis(out, cfg)
    return out if in_range is None else torch.where(in_range, out, torch.nan)


def _inside(n: Tensor, clips: Tensor) -> Tensor:
    return torch.arange(clips.shape[1], device=clips.device) < n


def _padded(clips: Tensor, n: Tensor, cfg: FeatureConfig) -> tuple[Tensor, Tensor | None]:
    """Pad clips of ``n`` [n_clips, 1] samples; when mirrored, also return the index of each padded sample's source."""
    left, right = cfg.edges
    if _mirrors(cfg):
        source = mirrored(n, -left, clips.shape[1] + right, cfg, clips.device).expand(len(clips), -1)
        return clips.gather(1, source), source
    return _with_zeros(torch.where(_inside(n, clips), clips, 0.0), cfg), None


def _before_emphasis(gradient: Tensor, cfg: FeatureConfig) -> Tensor:
    """Pull back through `preemphasised`."""
    if not cfg.preemphasis or cfg.preemphasis_of == "frame":
        return gradient
    if cfg.n_dropped:
        return F.pad(gradient, (1, 0)) - cfg.preemphasis * F.pad(gradient, (0, 1))
    return gradient - cfg.preemphasis * F.pad(gradient[:, 1:], (0, 1))


def _spectrum(gradient: Tensor, spectrum: Tensor, sounds: Tensor | None, cfg: FeatureConfig) -> Tensor:
    """Pull back to the STFT: G [n_clips, n_bins, n_frames] with dL = Re sum conj(G) dX.

    Frames past a clip's end, where `sounds` is false, are silence, at the floor.
    """
    matrix, levels = mel_weights(cfg, spectrum.device), cfg.levels
    strength = magnitude_or_power(spectrum, cfg)
    mel = matrix @ strength
    mel = mel if sounds is None else torch.where(sounds, mel, 0.0)
    if cfg.is_per_band:
        gradient = gradient / band_values(cfg, mel.device)[1]
    unlifted = _leveled(mel, cfg)
    if cfg.normalize is not None:
        lifted = normalization.wide(lift(unlifted, cfg))
        moments = normalization.moments(lifted, cfg.normalize, sounds)
        gradient = normalization.gradient(gradient, lifted, moments, cfg.normalize, sounds).to(mel.dtype)
    if levels.span < math.inf:  # A value at the floor moves with the maximum; equal maxima share, as in autograd.
        peak = unlifted.amax(dim=(1, 2), keepdim=True)
        floor = peak - levels.span
        lifted = (unlifted < floor).to(mel.dtype) + 0.5 * (unlifted == floor).to(mel.dtype)
        loudest = (unlifted == peak).to(mel.dtype)
        moved = (gradient * lifted).sum(dim=(1, 2), keepdim=True) / loudest.sum(dim=(1, 2), keepdim=True)
        gradient = gradient * (1.0 - lifted) + moved * loudest
    audible = mel + levels.offset
    in_mel = gradient * levels.gain * (audible >= levels.least)
    if levels.log:
        in_mel = in_mel / math.log(10.0) / audible.clamp(min=levels.least)
    in_mel = in_mel if sounds is None else torch.where(sounds, in_mel, 0.0)
    in_strength = matrix.T @ in_mel
    if cfg.power == 2:
        return in_strength * (2.0 * spectrum)
    return in_strength * (spectrum / strength if cfg.bin_offset else spectrum.sgn())


def _waveform(spectrum: Tensor, n_padded: int, cfg: FeatureConfig) -> Tensor:
    """Pull a gradient of the STFT back through the real FFT, `_frames` and the overlap: [n_clips, n_padded]."""
    paired = slice(1, (cfg.n_fft + 1) // 2)  # irfft counts these bins twice, for their mirror images
    spectrum[:, paired] *= 0.5
    frames = torch.fft.irfft(spectrum, n=cfg.n_fft, dim=1, norm="forward")[:, : cfg.frame_length]
    frames = frames * window_of(cfg, frames.device)[: cfg.frame_length, None]
    if cfg.preemphasis and cfg.preemphasis_of == "frame":
        before = cfg.preemphasis * frames
        frames = frames - F.pad(before[:, 1:], (0, 0, 0, 1))
        frames[:, 0] -= before[:, 0]
    if cfg.remove_dc:
        frames = frames - frames.mean(1, keepdim=True)
    used = (frames.shape[2] - 1) * cfg.hop_length + cfg.frame_length
    summed = F.fold(frames, (1, used), (1, cfg.frame_length), stride=(1, cfg.hop_length))[:, 0, 0]
    return F.pad(summed, (0, n_padded - used))
