"""What float32 may be off by, in one place, and the signals on which it is tried. NumPy alone.

Float32 is off by a share of the loudest amplitude: in dB, by the more the deeper a value lies below its filter's
ceiling, which is what the filter would read if all its bins were as loud as the clip's loudest one.

Each bound is followed by the largest error that was seen, and where.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .config import FeatureConfig
from .filterbank import mel_matrix

Float64 = NDArray[np.float64]

# Against the oracle, down to DEPTH_DB below a filter's ceiling.
DB_STEPS = 4e-5  # dB; 2.4e-5: in ONNX; float32 counts in steps of 0.8e-5 at -100 dB, and 1.5e-5 at -130 dB
AMPLITUDE = 2e-7  # share of the ceiling's amplitude; 0.7e-7: in ONNX, esc50, chirp
DEPTH_DB = 80.0  # deeper values are rounding noise of the loudest bin

# Against librosa in float64, whatever the depth.
NOISY_DB = 1e-4  # a few windows of NOISY; 2.7e-5: whisper, noise, in a low filter of one bin, 37 dB below the maximum
NOISE_DB = 1e-3  # seconds of noise, which reach deeper in such a filter
TONAL_DB = 1e-2  # any clip; 6.4e-3: tonal recordings, near the -80 dB floor
MEAN_DB = 1e-4  # mean over any clip; 3.7e-5: whisper, chirp

NOISY = ("noise", "quiet", "clicks", "silence")
TONAL = ("tone", "chirp")
KINDS = NOISY + TONAL


def signal(kind: str, n_samples: int, sr: int) -> NDArray:
    """Make a seeded clip that is hard in its own way.

    Parameters
    ----------
    kind : str
        One of KINDS.
    n_samples : int
    sr : int
        Hz

    Returns
    -------
    ndarray [n_samples], float32; int16 when "quiet"
    """
    rng, t = np.random.default_rng(5), np.arange(n_samples) / sr
    if kind == "quiet":  # 80 dB below full scale
        return rng.integers(-3, 4, n_samples).astype(np.int16)
    if kind == "noise":
        y = 0.3 * rng.standard_normal(n_samples)
    elif kind == "chirp":  # 50 Hz to 0.45 sr
        y = 0.5 * np.sin(2 * np.pi * (50 * t + (0.45 * sr - 50) * sr / (2 * n_samples) * t**2))
    elif kind == "tone":
        y = 0.8 * np.sin(2 * np.pi * 440 * t)
    else:
        y = np.zeros(n_samples)
        if kind == "clicks":
            y[::997], y[::1511] = 1.0, -0.7
    return y.astype(np.float32)


def mel_ceiling(stft: NDArray, cfg: FeatureConfig) -> Float64:
    """Return what each mel filter would read if all its bins were as loud as the loudest of `stft` [n_mels, 1]."""
    return np.abs(stft).max() ** cfg.power * mel_matrix(cfg).sum(axis=1, keepdims=True)


def db_floor(ceiling: Float64, cfg: FeatureConfig) -> Float64:
    """Return the dB [n_mels, 1] below which a filter holds rounding noise: DEPTH_DB below its `mel_ceiling`."""
    return _db(ceiling ** (2 / cfg.power) * 10 ** (-DEPTH_DB / 10), cfg)


def db_tolerance(log_mel: Float64, ceiling: Float64, cfg: FeatureConfig, slack: float = 1.0) -> Float64:
    """Return how far float32 may be from each value of the oracle's `log_mel`.

    Parameters
    ----------
    log_mel : ndarray [n_mels, n_frames], float64, dB
    ceiling : ndarray [n_mels, 1], float64
        From `mel_ceiling`.
    cfg : FeatureConfig
    slack : float
        Factor on the error of an amplitude, for an FFT that is less exact than most.

    Returns
    -------
    ndarray [n_mels, n_frames], dB
        For values above `db_floor`; what lies deeper is taken as if it lay there.
    """
    depth = _db(ceiling ** (2 / cfg.power), cfg) - np.maximum(log_mel, db_floor(ceiling, cfg))
    return DB_STEPS + 20 / np.log(10) * slack * AMPLITUDE * 10 ** (depth / 20)


def _db(power: Float64, cfg: FeatureConfig) -> Float64:
    return 10 * np.log10(np.maximum(cfg.amin, power)) - cfg.db_of_ref
