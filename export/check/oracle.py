"""Features by the float64 reference, and how far float32 may be from each of them, for any config.

Float32 is off by a share of the loudest amplitude (see `kernels.tolerance`). What is made of the mel values afterwards
grows with them, so the features of values at both ends of their error are the ends of the features' error.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...kernels import FeatureConfig, Normalize, reference
from ...kernels.filterbank import mel_matrix
from ...kernels.tolerance import AMPLITUDE, DB_STEPS, levels_of, signal

Float64 = NDArray[np.float64]
SHARE = 1e-6  # of a feature, for the rounding of what follows the mel filters


class Expected(NamedTuple):
    """What a clip's features are to be."""

    values: Float64  # [n_mels, n_frames]
    tolerance: Float64  # [n_mels, n_frames]
    past: Float64  # [n_mels, 1], past the clip's end

    def compared(self, got: NDArray[np.float32]) -> tuple[float, float]:
        """Return the largest error of [n_mels, n_frames] where one can be told, and the largest share of tolerance."""
        error = np.abs(got - self.values)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(error == 0, 0.0, error / self.tolerance)
        return float(error.max(initial=0.0, where=np.isfinite(self.tolerance))), float(share.max())


def clip_of(kind: str, n_samples: int, sr: int) -> NDArray[np.float32]:
    """Return a clip of `tolerance.signal` as a graph takes it: float32, also where that is int16."""
    y = signal(kind, n_samples, sr)
    return (y / np.float32(32768)).astype(np.float32) if y.dtype == np.int16 else y


def expected(y: NDArray[np.float32], cfg: FeatureConfig) -> Expected:
    """Compute the features of a clip [n_samples], and what float32 may be off by."""
    mel = reference.melspectrogram(y, cfg)
    # What pre-emphasis or the mean takes away has been rounded too: the loudest bin counts as it was before.
    plain = cfg.replace(preemphasis=0.0, remove_dc=False)
    share = AMPLITUDE if plain == cfg else 2 * AMPLITUDE
    loudest = np.abs(reference.stft(y, plain)).max()
    error = share * loudest * mel_matrix(cfg).sum(axis=1, keepdims=True) ** (1 / cfg.power)
    amplitude = mel ** (1 / cfg.power)
    ends = np.maximum(amplitude - error, 0) ** cfg.power, mel, (amplitude + error) ** cfg.power
    low, mid, high = (_levels(end, cfg) for end in ends)
    own = cfg.levels
    steps = DB_STEPS * own.gain / cfg.db_per_decade if own.log else 0.0
    spread = np.maximum(high - mid, mid - low)
    tolerance = spread + steps + SHARE * (np.abs(mid) + abs(own.shift))
    silence = np.full((cfg.n_mels, 1), max(own.silence, mid.max() - own.span))
    mean, std = (np.broadcast_to(value, cfg.n_mels)[:, None] for value in (cfg.mean, cfg.std))
    if cfg.is_per_band:
        if cfg.normalize is not None:
            tolerance = _normalized(tolerance, spread, mid, cfg.normalize) / std
            silence = np.zeros_like(silence)
        else:
            tolerance, silence = tolerance / std, (silence - mean) / std
    values = reference.log_mel(y, cfg)
    if cfg.normalize is not None:  # Even in float64 the mean of equal numbers may be off by a rounding.
        values = np.where(tolerance == 0, -mean / std, values)
    return Expected(values, tolerance, silence)


def _levels(mel: Float64, cfg: FeatureConfig) -> Float64:
    """Do what follows the mel filters, up to the range below the clip's maximum."""
    x = levels_of(mel, cfg)
    return np.maximum(x, x.max() - cfg.levels.span)


def _normalized(tolerance: Float64, spread: Float64, x: Float64, by: Normalize) -> Float64:
    """Return the tolerance of features less their mean, by their deviation."""
    axis = 1 if by.per == "band" else None
    mean = tolerance.mean(axis, keepdims=True)
    if not by.variance:
        return tolerance + mean
    n = x.shape[1] if by.per == "band" else x.size
    centred = x - x.mean(axis, keepdims=True)
    squares, errors = ((value**2).sum(axis, keepdims=True) / max(n - by.ddof, 1) for value in (centred, tolerance))
    deviation = np.sqrt(squares + by.eps) if by.eps_in == "var" else np.sqrt(squares) + by.eps
    constant = (np.ptp(x, axis=axis, keepdims=True) == 0) & (spread.max(axis, keepdims=True) == 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.sqrt(errors) / deviation  # of the deviation that is error; from a tenth on nothing can be said
        result = (tolerance + mean) / deviation + np.abs(centred) / deviation * share
    return np.where(constant | (n == 1), 0.0, np.where(share < 0.1, result, np.inf))
