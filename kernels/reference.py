"""The oracle: the same features as plainly as NumPy in float64 can say them, one clip at a time.

Nothing here is fast. Every other backend is tested against it, and it is tested against librosa.
Each function takes one clip ``y`` [n_samples] in -1..1 (int16 is scaled by 1/32768) and a `FeatureConfig`, and returns
[n_rows, n_frames] whatever `time_major` says.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .config import FeatureConfig
from .filterbank import dct_matrix, mel_matrix, window
from .rules import Normalize

# Copies of its own of two constants in config.py: an oracle that shared them could not find them wrong.
INT16_SCALE = 1.0 / 32768.0
FLAT_DB = 1e-3  # A clip that spans less is constant: its differences are rounding, and make no picture.


def samples(y: ArrayLike, cfg: FeatureConfig) -> NDArray[np.float64]:
    """Scale a clip, pre-emphasise it if that is of the clip, and pad it [n_padded]."""
    x = np.asarray(y)
    x = cfg.scale * (x * INT16_SCALE if x.dtype == np.int16 else x.astype(np.float64))
    if cfg.preemphasis and cfg.preemphasis_of != "frame":
        first = x[:1] if cfg.preemphasis_of == "clip" else x[:0]
        x = np.concatenate([first, x[1:] - cfg.preemphasis * x[:-1]])
    left, right = cfg.edges
    return np.pad(x, (left, max(right, 0)), mode=cfg.pad_mode)[: left + x.size + right]


def frames(y: ArrayLike, cfg: FeatureConfig) -> NDArray[np.float64]:
    """Cut a clip into overlapping frames [n_frames, n_fft], less their mean and pre-emphasised as `cfg` says."""
    starts = np.arange(cfg.n_frames(np.size(y))) * cfg.hop_length
    cut = samples(y, cfg)[starts[:, None] + np.arange(cfg.frame_length)]
    if cfg.remove_dc:
        cut = cut - cut.mean(axis=1, keepdims=True)
    if cfg.preemphasis and cfg.preemphasis_of == "frame":
        cut = cut - cfg.preemphasis * np.concatenate([cut[:, :1], cut[:, :-1]], axis=1)
    return np.pad(cut, ((0, 0), (0, cfg.n_fft - cfg.frame_length)))


def stft(y: ArrayLike, cfg: FeatureConfig) -> NDArray[np.complex128]:
    """Complex short-time Fourier transform [n_bins, n_frames]."""
    return np.fft.rfft(frames(y, cfg) * window(cfg)).T


def spectrogram(y: ArrayLike, cfg: FeatureConfig) -> NDArray[np.float64]:
    """Magnitude (power 1) or power (power 2) of the STFT [n_bins, n_frames]."""
    bins = stft(y, cfg)
    return (bins.real**2 + bins.imag**2 + cfg.bin_offset) ** (cfg.power / 2)


def melspectrogram(y: ArrayLike, cfg: FeatureConfig) -> NDArray[np.float64]:
    """Mel spectrogram [n_mels, n_frames] of magnitude (power 1) or power (power 2)."""
    return mel_matrix(cfg) @ spectrogram(y, cfg)


def log_mel(y: ArrayLike, cfg: FeatureConfig) -> NDArray[np.float64]:
    """Mel spectrogram with all that `cfg` does to it, the logarithm among it [n_mels, n_frames].

    In decibels ``librosa.power_to_db`` for power 2, ``librosa.amplitude_to_db`` (with amin squared) for power 1.
    """
    x = np.maximum(melspectrogram(y, cfg) + cfg.offset, cfg.amin ** (cfg.power / 2))
    if cfg.log is not None:
        per_decade = {"db": 20 / cfg.power, "ln": np.log(10), "log10": 1}[cfg.log]
        x = per_decade * np.log10(x)
        if cfg.log == "db":
            x = x - 10.0 * np.log10(max(cfg.amin, cfg.ref))
        if cfg.top_db is not None:
            x = np.maximum(x, x.max() - cfg.top_db * per_decade * cfg.power / 20)
    if cfg.normalize is not None:
        x = normalized(x, cfg.normalize)
    return ((x.T - np.array(cfg.mean)) / np.array(cfg.std)).T


def normalized(x: NDArray[np.float64], by: Normalize) -> NDArray[np.float64]:
    """Take the mean from a clip's features [n_mels, n_frames], and divide by their deviation."""
    axis = 1 if by.per == "band" else None
    centred = x - (x[:, :1] if by.per == "band" else x[0, 0])  # exactly 0 in a band that never changes
    centred = centred - centred.mean(axis, keepdims=True)
    if not by.variance:
        return centred
    n = x.shape[1] if by.per == "band" else x.size
    variance = (centred**2).sum(axis, keepdims=True) / max(n - by.ddof, 1)
    deviation = np.sqrt(variance + by.eps) if by.eps_in == "var" else np.sqrt(variance) + by.eps
    return np.divide(centred, deviation, out=np.zeros_like(x), where=deviation > 0)


def mfcc(y: ArrayLike, cfg: FeatureConfig) -> NDArray[np.float64]:
    """Mel-frequency cepstral coefficients [n_mfcc, n_frames]: orthonormal DCT-II of `log_mel`, liftered."""
    return dct_matrix(cfg) @ log_mel(y, cfg)


def mel_image(y: ArrayLike, cfg: FeatureConfig) -> NDArray[np.uint8]:
    """`log_mel` in dB, stretched over 0..255 and truncated [n_mels, n_frames]; a constant clip is all zeros."""
    return stretch(log_mel(y, cfg.decibels))


def stretch(db: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Stretch decibels over 0..255 and truncate, in their own precision; what is constant becomes all zeros."""
    span = db.max() - db.min()
    return np.zeros(db.shape, np.uint8) if span < FLAT_DB else (255.0 * (db - db.min()) / span).astype(np.uint8)
