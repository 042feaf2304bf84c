"""Statistics of each clip's features on tensors: what `Normalize` says, and its gradient, written out.

Everything is computed in float64, and from a band's first value on: a band that never changes has a deviation of
exactly 0. No value is looked at, so nothing waits for a device and every transform of torch may pass.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .rules import Normalize


class Moments(NamedTuple):
    """Of each band [..., n_rows, 1], or of all bands together [..., 1, 1]."""

    mean: Tensor
    squares: Tensor  # sum of the squared differences from the mean
    n: int | Tensor  # values that it is the mean of


def wide(x: Tensor) -> Tensor:
    """Return float64, or what the device has in its place."""
    return x if x.device.type == "mps" else x.double()


def moments(x: Tensor, by: Normalize, sounds: Tensor | None = None) -> Moments:
    """Measure features.

    Parameters
    ----------
    x : Tensor [..., n_rows, n_frames], float64
    by : Normalize
    sounds : Tensor [..., 1, n_frames], bool, optional
        Which frames a clip has: the first one, and any others. None: all.
    """
    return joined(moments_of_bands(x, sounds), by)


def moments_of_bands(x: Tensor, sounds: Tensor | None = None) -> Moments:
    """Measure each band by itself; parameters as for `moments`."""
    first = x[..., :1]
    count = x.shape[-1] if sounds is None else sounds.sum(-1, keepdim=True)
    apart = _heard(x - first, sounds)
    middle = apart.sum(-1, keepdim=True) / count
    return Moments(first + middle, _heard(apart - middle, sounds).square().sum(-1, keepdim=True), count)


def joined(bands: Moments, by: Normalize) -> Moments:
    """Join the moments of bands when one mean and deviation is wanted for the clip."""
    if by.per == "band":
        return bands
    first = bands.mean[..., :1, :]
    apart = bands.mean - first
    middle = apart.mean(-2, keepdim=True)
    squares = (bands.squares + bands.n * (apart - middle).square()).sum(-2, keepdim=True)
    return Moments(first + middle, squares, bands.n * bands.mean.shape[-2])


def merged(one: Moments, other: Moments) -> Moments:
    """Join the moments of each band over some frames with those over others."""
    n, apart = one.n + other.n, other.mean - one.mean
    squares = one.squares + other.squares + apart.square() * (one.n * other.n / n)
    return Moments(one.mean + apart * (other.n / n), squares, n)


def normalized(x: Tensor, of: Moments, by: Normalize) -> Tensor:
    """Take the mean from features ``x`` [..., n_rows, n_frames], and divide by their deviation."""
    centred = x - of.mean
    return centred * _factor(of, by)[0] if by.variance else centred


def gradient(g: Tensor, x: Tensor, of: Moments, by: Normalize, sounds: Tensor | None = None) -> Tensor:
    """Pull a gradient of `normalized` back to ``x``, through the moments too; `sounds` as for `moments`."""
    axes = (-1,) if by.per == "band" else (-2, -1)
    g = _heard(g, sounds)
    even = g - g.sum(axes, keepdim=True) / of.n
    if by.variance:
        factor, slope = _factor(of, by)
        centred = _heard(x - of.mean, sounds)
        even = even * factor - centred * ((g * centred).sum(axes, keepdim=True) * factor.square() * slope)
    return _heard(even, sounds)


def _factor(of: Moments, by: Normalize) -> tuple[Tensor, Tensor]:
    """Return 1 / deviation, 0 where that is 0; and the slope of the deviation along a centred value, by that value."""
    degrees = of.n - by.ddof
    degrees = degrees.clamp(min=1) if isinstance(degrees, Tensor) else max(degrees, 1)
    variance = of.squares / degrees + (by.eps if by.eps_in == "var" else 0.0)
    moves = variance > 0
    root = torch.where(moves, variance, 1.0).sqrt()  # The slope of a root at 0 would be infinite.
    deviation = torch.where(moves, root, 0.0) + (by.eps if by.eps_in == "std" else 0.0)
    divides = deviation > 0
    factor = torch.where(divides, 1.0 / torch.where(divides, deviation, 1.0), 0.0)
    return factor, torch.where(moves, 1.0 / (degrees * root), 0.0)


def _heard(x: Tensor, sounds: Tensor | None) -> Tensor:
    return x if sounds is None else torch.where(sounds, x, 0.0)
