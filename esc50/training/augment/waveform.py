"""Random changes to a batch of waveforms ``[batch, n_samples]``, float32.

Each draws from torch's global generator: the same `torch.manual_seed` gives the same batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .spectrogram import partners

WINDOW = 2048  # samples in which loudness is measured: 46 ms at 44.1 kHz


def speed(y: Tensor, low: float = 0.8, high: float = 1.25) -> Tensor:
    """Play each clip at a random speed, from `low` to `high` as likely as their ratio; pitch moves with it.

    Values between samples are interpolated linearly. A clip that becomes longer is cut; one that becomes shorter is
    followed by zeros.
    """
    batch, n_samples = y.shape
    ratio = low * (high / low) ** torch.rand(batch, 1, device=y.device, dtype=torch.float64)
    place = torch.arange(n_samples, device=y.device) * ratio  # float64, as float32 has no fractions above 2^24
    left = place.floor().long()
    part = (place - left).to(y.dtype)
    inside = left < n_samples - 1
    left = left.clamp(max=n_samples - 2)
    return torch.where(inside, torch.lerp(y.gather(1, left), y.gather(1, left + 1), part), 0.0)


def gain(y: Tensor, most: float = 6.0) -> Tensor:
    """Make each clip louder or softer by at most `most` dB."""
    return y * 10.0 ** ((2 * torch.rand(len(y), 1, device=y.device) - 1) * most / 20.0)


def roll(y: Tensor) -> Tensor:
    """Turn each clip around in time by a random number of samples; what leaves at the end enters at the start."""
    batch, n_samples = y.shape
    shift = torch.randint(n_samples, (batch, 1), device=y.device)
    return y.gather(1, (torch.arange(n_samples, device=y.device) + shift) % n_samples)


def pad_crop(y: Tensor, n_samples: int, pad: int = 0) -> Tensor:
    """Put `pad` zeros on either side of each clip, and keep a random stretch of `n_samples`."""
    batch, length = y.shape
    free = max(0, length + 2 * pad - n_samples)
    start = torch.randint(free + 1, (batch, 1), device=y.device) - pad
    place = torch.arange(n_samples, device=y.device) + start
    inside = (place >= 0) & (place < length)
    return torch.where(inside, y.gather(1, place.clamp(0, length - 1)), 0.0)


def a_weighting(hz: Tensor) -> Tensor:
    """Return how much the ear hears of each frequency, as a factor of amplitude: 1 at 1 kHz (IEC 61672-1)."""
    f2 = hz.double().square()
    low, high = 20.598997**2, 12194.217**2
    response = high * f2.square() / ((f2 + low) * (f2 + high) * ((f2 + 107.65265**2) * (f2 + 737.86223**2)).sqrt())
    return (response * 10 ** (2.0 / 20)).to(hz.dtype)  # the standard's 2.00 dB make it 1 at 1 kHz


def loudness(y: Tensor, sr: int) -> Tensor:
    """Return the A-weighted level of each clip's loudest window [batch], in dB."""
    window = torch.hann_window(WINDOW, device=y.device)
    spectrum = torch.stft(y, WINDOW, WINDOW // 2, window=window, center=True, pad_mode="constant", return_complex=True)
    weight = a_weighting(torch.fft.rfftfreq(WINDOW, 1 / sr, device=y.device)).square()
    energy = (torch.view_as_real(spectrum).square().sum(dim=-1) * weight[:, None]).sum(dim=1).amax(dim=1)
    return 10.0 * energy.clamp(min=1e-20).log10()


def mix(y: Tensor, labels: Tensor, sr: int) -> tuple[Tensor, Tensor]:
    """Mix each clip with one of another class at a random ratio of loudness, keeping the energy.

    Between-class learning (Tokozume, Ushiku and Harada, ICLR 2018): for a ratio r and levels G in dB the weights are
    t = 1 / (1 + 10^((G1 - G2) / 20) (1 - r) / r) and 1 - t, over sqrt(t^2 + (1 - t)^2). Both are divided by t here, so
    that a clip 60 dB louder does not cancel in float32.

    Parameters
    ----------
    y : Tensor [batch, n_samples]
    labels : Tensor [batch, n_classes], float32
        Rows that sum to 1, as the returned ones do.
    sr : int
        Hz.
    """
    other = partners(labels)
    ratio = torch.rand(len(y), 1, device=y.device).clamp(1e-3, 1 - 1e-3)
    level = loudness(y, sr)[:, None]
    odds = 10.0 ** ((level - level[other]).clamp(-80, 80) / 20.0) * (1.0 - ratio) / ratio  # (1 - t) / t
    mixed = (y + odds * y[other]) / (1.0 + odds.square()).sqrt()
    return mixed, ratio * labels + (1.0 - ratio) * labels[other]
