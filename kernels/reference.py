"""The oracle: the same features as plainly as NumPy in float64 can say them, one clip at a time.

Nothing here is fast. Every other backend is tested against it, and it is tested against librosa.
Each function takes one clip ``y`` [n_samples] in -1..1 (int16 is scaled by 1/32768) and a `FeatureConfig`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .config import FeatureConfig
from .filterbank import dct_matrix, mel_matrix, window

# Copies of its own of two constants in config.py: an oracle that shared them could not find them wrong.
INT16_SCALE = 1.0 / 32768.0
FLAT_DB = 1e-3  # A clip that spans less is constant: its differences are rounding, and make no picture.


def frames(y: ArrayLike, cfg: FeatureConfig) -> NDArray[np.float64]:
    """Cut a clip into overlapping frames [n_frames, n_fft], padded at both ends when `cfg.center`."""
    samples = np.asarray(y)
    samples = samples * INT16_SCALE if samples.dtype == np.int16 else samples.astype(np.float64)
    padded = np.pad(samples, cfg.padding, mode=cfg.pad_mode) if cfg.center else samples
    starts = np.arange(cfg.n_frames(samples.size)) * cfg.hop_length
    return padded[starts[:, None] + np.arange(cfg.n_fft)]


def stft(y: ArrayLike, cfg: FeatureConfig) -> NDArray[np.complex128]:
    """Complex short-time Fourier transform [n_bins, n_frames]."""
    return np.fft.rfft(frames(y, cfg) * window(cfg)).T


def melspectrogram(y: ArrayLike, cfg: FeatureConfig) -> NDArray[np.float64]:
    """Mel spectrogram [n_mels, n_frames] of magnitude (power 1) or power (power 2)."""
    return mel_matrix(cfg) @ np.abs(stft(y, cfg)) ** cfg.power


def log_mel(y: ArrayLike, cfg: FeatureConfig) -> NDArray[np.float64]:
    """Mel spectrogram in dB [n_mels, n_frames], at most `top_db` below the clip's maximum.

    ``librosa.power_to_db`` for power 2, ``librosa.amplitude_to_db`` (with amin squared) for power 1.
    """
    power = melspectrogram(y, cfg) ** (2.0 / cfg.power)
    db = 10.0 * np.log10(np.maximum(cfg.amin, power)) - 10.0 * np.log10(max(cfg.amin, cfg.ref))
    return db if cfg.top_db is None else np.maximum(db, db.max() - cfg.top_db)


def mfcc(y: ArrayLike, cfg: FeatureConfig) -> NDArray[np.float64]:
    """Mel-frequency cepstral coefficients [n_mfcc, n_frames]: orthonormal DCT-II of `log_mel`, liftered."""
    return dct_matrix(cfg) @ log_mel(y, cfg)


def mel_image(y: ArrayLike, cfg: FeatureConfig) -> NDArray[np.uint8]:
    """`log_mel` stretched over 0..255 and truncated [n_mels, n_frames]; a constant clip is all zeros."""
    return stretch(log_mel(y, cfg))


def stretch(db: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Stretch decibels over 0..255 and truncate, in their own precision; what is constant becomes all zeros."""
    span = db.max() - db.min()
    return np.zeros(db.shape, np.uint8) if span < FLAT_DB else (255.0 * (db - db.min()) / span).astype(np.uint8)
