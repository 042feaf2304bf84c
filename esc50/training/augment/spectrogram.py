"""Random changes to a batch of log-mel spectrograms ``[batch, 1, n_mels, n_frames]`` in dB.

Each draws from torch's global generator: the same `torch.manual_seed` gives the same batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchaudio.functional import mask_along_axis_iid

FLOOR = 1e-10  # power of silence: the amin of the features
HEARD = 20.0  # dB below a clip's loudest frame; quieter frames count as silent


def roll(log_mel: Tensor) -> Tensor:
    """Turn each clip around in time by a random number of frames; what leaves at the end enters at the start."""
    batch, _, n_mels, n_frames = log_mel.shape
    shift = torch.randint(n_frames, (batch, 1), device=log_mel.device)
    index = (torch.arange(n_frames, device=log_mel.device) + shift) % n_frames
    return log_mel.gather(3, index[:, None, None, :].expand(-1, 1, n_mels, -1))


def shift_bands(log_mel: Tensor, most: int = 2) -> Tensor:
    """Move each clip up or down by at most `most` mel bands; the edge band fills the gap."""
    batch, _, n_mels, n_frames = log_mel.shape
    shift = torch.randint(-most, most + 1, (batch, 1), device=log_mel.device)
    index = (torch.arange(n_mels, device=log_mel.device) + shift).clamp(0, n_mels - 1)
    return log_mel.gather(2, index[:, None, :, None].expand(-1, 1, -1, n_frames))


def gain(log_mel: Tensor, most: float = 6.0) -> Tensor:
    """Make each clip louder or softer by at most `most` dB."""
    return log_mel + (2 * torch.rand(len(log_mel), 1, 1, 1, device=log_mel.device) - 1) * most


def partners(labels: Tensor) -> Tensor:
    """Return a partner clip for mixing with each clip of a batch, of another class if one of three candidates is.

    The candidates are the three clips before it in a random ring.
    """
    order = torch.randperm(len(labels), device=labels.device)
    other = torch.empty_like(order)
    other[order] = order.roll(1)  # no clip is its own partner in a batch of two or more
    for step in (2, 3):
        farther = torch.empty_like(order)
        farther[order] = order.roll(step)
        same = (labels * labels[other]).sum(dim=1) > 0
        other = torch.where(same & (farther != torch.arange(len(order), device=order.device)), farther, other)
    return other


def mix(log_mel: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mix each clip with another one of the batch, in power, at a random ratio of level (their mean power).

    Between-class learning (Tokozume, Ushiku and Harada, ICLR 2018) on spectrograms: for a ratio r the waveform weights
    would be t and 1 - t with t = 1 / (1 + 10^((G1 - G2) / 20) (1 - r) / r), so the powers get t^2 and (1 - t)^2,
    over their sum. (1 - t)^2 / t^2 is `odds` below; written so, a clip 60 dB louder does not cancel in float32.

    Parameters
    ----------
    log_mel : Tensor [batch, 1, n_mels, n_frames], dB
    labels : Tensor [batch, n_classes], float32
        Rows that sum to 1, as the returned ones do.
    """
    other = partners(labels)
    ratio = torch.rand(len(log_mel), 1, device=log_mel.device).clamp(1e-3, 1 - 1e-3)
    power = 10.0 ** (log_mel / 10.0)
    level = 10.0 * power.mean(dim=(1, 2, 3)).clamp(min=FLOOR).log10()[:, None]
    odds = (10.0 ** ((level - level[other]) / 10.0) * ((1.0 - ratio) / ratio).square())[:, :, None, None]
    mixed = 10.0 * ((power + odds * power[other]) / (1.0 + odds)).clamp(min=FLOOR).log10()
    return mixed, ratio * labels + (1.0 - ratio) * labels[other]


def mix_time(log_mel: Tensor, labels: Tensor, share: float = 0.25) -> tuple[Tensor, Tensor]:
    """Let another clip take over at a random frame, in a random `share` of the clips; labels by length."""
    return _take_over(log_mel, labels, share, axis=3)


def mix_bands(log_mel: Tensor, labels: Tensor, share: float = 0.25) -> tuple[Tensor, Tensor]:
    """Take the bands above a random one from another clip, in a random `share` of the clips; labels by bands."""
    return _take_over(log_mel, labels, share, axis=2)


def _take_over(log_mel: Tensor, labels: Tensor, share: float, axis: int) -> tuple[Tensor, Tensor]:
    batch, n, device = len(log_mel), log_mel.shape[axis], log_mel.device
    other = partners(labels)
    edge = torch.randint(1, n, (batch, 1), device=device)
    edge = torch.where(torch.rand(batch, 1, device=device) < share, edge, n)
    shape = [batch, 1, 1, 1]
    shape[axis] = n
    keeps = (torch.arange(n, device=device) < edge).reshape(shape)
    part = edge / n
    return torch.where(keeps, log_mel, log_mel[other]), part * labels + (1.0 - part) * labels[other]


def mask(log_mel: Tensor, n_bands: int = 8, n_frames: int = 24) -> Tensor:
    """Blank one random stripe of at most `n_bands` and one of `n_frames` in each clip (SpecAugment)."""
    blank: Any = log_mel.mean()  # a tensor on the device, so that nothing waits for it
    striped = mask_along_axis_iid(log_mel, n_bands, blank, axis=2)
    return mask_along_axis_iid(striped, n_frames, blank, axis=3)


def crop(log_mel: Tensor, n_frames: int) -> Tensor:
    """Keep a random stretch of `n_frames` of each clip, which may run over its end into its beginning.

    Of two such stretches each clip gets the one with more frames within 20 dB of its loudest: from a clip of a bark
    and four seconds of silence, a window is then rarely all silence under the label "dog".
    """
    batch, _, n_mels, length = log_mel.shape
    if n_frames >= length:
        return roll(log_mel)
    level = log_mel.amax(dim=2)[:, 0]
    heard = (level > level.amax(dim=1, keepdim=True) - HEARD).to(torch.int32)
    before = F.pad(torch.cat([heard, heard], dim=1).cumsum(dim=1), (1, 0))
    starts = torch.randint(length, (batch, 2), device=log_mel.device)
    better = (before.gather(1, starts + n_frames) - before.gather(1, starts)).argmax(dim=1, keepdim=True)
    index = (torch.arange(n_frames, device=log_mel.device) + starts.gather(1, better)) % length
    return log_mel.gather(3, index[:, None, None, :].expand(-1, 1, n_mels, -1))


def rolled_views(log_mel: Tensor, n_views: int) -> list[Tensor]:
    """Return the batch turned around in time by 0, 1/n, 2/n ... of its length, for averaging at test time."""
    return [log_mel.roll(-(view * log_mel.shape[3] // n_views), dims=3) for view in range(n_views)]
