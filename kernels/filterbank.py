"""Windows, the mel matrix and the DCT: the constants of a config, in float64."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .config import WINDOWS, FeatureConfig
from .errors import CumelError

Float64 = NDArray[np.float64]

# Slaney's mel scale (Auditory Toolbox, 1998): linear to 1 kHz, logarithmic above.
HZ_PER_MEL = 200.0 / 3.0
LOG_START_HZ = 1000.0
LOG_START_MEL = LOG_START_HZ / HZ_PER_MEL
LOG_STEP = np.log(6.4) / 27.0

MAX_REMEDY = 65536  # samples; no larger n_fft is advised


class SparseRows(NamedTuple):
    """The mel matrix without its zeros, row by row."""

    bins: NDArray[np.int64]  # [n_nonzero] STFT bin of each weight
    weights: Float64  # [n_nonzero]
    offsets: NDArray[np.int64]  # [n_mels + 1] row m is bins[offsets[m]:offsets[m + 1]]

    @property
    def first_bin(self) -> int:
        """Lowest bin that any filter touches."""
        return int(self.bins.min())

    @property
    def last_bin(self) -> int:
        """One past the highest bin that any filter touches."""
        return int(self.bins.max()) + 1


def hz_to_mel(hz: Float64 | float, *, htk: bool = False) -> Float64:
    """Convert hertz to mel.

    Examples
    --------
    >>> round(float(hz_to_mel(1000.0)), 3), round(float(hz_to_mel(1000.0, htk=True)), 3)
    (15.0, 999.986)
    """
    hz = np.asarray(hz, dtype=np.float64)
    if htk:
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    log = LOG_START_MEL + np.log(np.maximum(hz, LOG_START_HZ) / LOG_START_HZ) / LOG_STEP
    return np.where(hz >= LOG_START_HZ, log, hz / HZ_PER_MEL)


def mel_to_hz(mel: Float64 | float, *, htk: bool = False) -> Float64:
    """Convert mel to hertz; the inverse of `hz_to_mel`."""
    mel = np.asarray(mel, dtype=np.float64)
    if htk:
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    log = LOG_START_HZ * np.exp(LOG_STEP * (np.maximum(mel, LOG_START_MEL) - LOG_START_MEL))
    return np.where(mel >= LOG_START_MEL, log, mel * HZ_PER_MEL)


@lru_cache(maxsize=64)
def window(cfg: FeatureConfig) -> Float64:
    """Analysis window, periodic over `win_length` and centred in n_fft samples.

    Returns
    -------
    ndarray [n_fft]
    """
    length = cfg.win_length or cfg.n_fft
    phase = 2.0 * np.pi * np.arange(length) / length
    values = np.zeros(length)
    for i, a in enumerate(WINDOWS[cfg.window]):
        values += (-1) ** i * a * np.cos(i * phase)
    if length == 1:
        values[:] = 1.0
    left = (cfg.n_fft - length) // 2
    return _frozen(np.pad(values, (left, cfg.n_fft - length - left)))


@lru_cache(maxsize=64)
def mel_matrix(cfg: FeatureConfig) -> Float64:
    """Triangular mel filters, as `librosa.filters.mel`.

    Returns
    -------
    ndarray [n_mels, n_bins]

    Raises
    ------
    CumelError
        When a filter falls between two bins; the message names the n_fft that gives each filter a bin.
    """
    weights = _triangles(cfg)
    empty = np.flatnonzero(weights.max(axis=1) == 0.0)
    if empty.size:
        raise CumelError(
            f"n_fft={cfg.n_fft}: mel filter {empty[0]} of n_mels={cfg.n_mels} has no bin in it; {_remedy(cfg)}"
        )
    if cfg.norm == "slaney":  # unit area: divide by half the width in Hz
        edges = _mel_edges(cfg)
        weights *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    elif cfg.norm is not None:
        weights /= np.linalg.norm(weights, ord=float(cfg.norm), axis=1, keepdims=True)
    return _frozen(weights)


def _mel_edges(cfg: FeatureConfig) -> Float64:
    low, high = hz_to_mel(cfg.fmin, htk=cfg.htk), hz_to_mel(cfg.top_frequency, htk=cfg.htk)
    return mel_to_hz(np.linspace(low, high, cfg.n_mels + 2), htk=cfg.htk)


def _triangles(cfg: FeatureConfig) -> Float64:
    edges = _mel_edges(cfg)
    width = np.diff(edges)
    ramps = edges[:, None] - np.fft.rfftfreq(cfg.n_fft, 1.0 / cfg.sr)[None, :]
    return np.maximum(0.0, np.minimum(-ramps[:-2] / width[:-1, None], ramps[2:] / width[1:, None]))


def _remedy(cfg: FeatureConfig) -> str:
    """Name the least n_fft whose bins lie closer together than the narrowest filter is wide."""
    edges = _mel_edges(cfg)
    enough = int(cfg.sr / (edges[2:] - edges[:-2]).min()) + 1
    return (
        f"use n_fft >= {enough} or fewer n_mels"
        if enough <= MAX_REMEDY
        else "use fewer n_mels, or a wider fmin to fmax"
    )


@lru_cache(maxsize=64)
def mel_rows(cfg: FeatureConfig) -> SparseRows:
    """Return the non-zero weights of `mel_matrix`: 759 of 131,200 for the esc50 preset."""
    matrix = mel_matrix(cfg)
    rows, bins = np.nonzero(matrix)
    offsets = np.searchsorted(rows, np.arange(cfg.n_mels + 1))
    return SparseRows(_frozen(bins), _frozen(matrix[rows, bins]), _frozen(offsets))


@lru_cache(maxsize=64)
def dct_matrix(cfg: FeatureConfig) -> Float64:
    """Orthonormal DCT-II of the log-mel axis with the lifter folded in, as `librosa.feature.mfcc`.

    Returns
    -------
    ndarray [n_mfcc, n_mels]

    Raises
    ------
    CumelError
        For more coefficients than there are mel bands.
    """
    if cfg.n_mfcc > cfg.n_mels:
        raise CumelError(f"n_mfcc={cfg.n_mfcc}: must be at most n_mels={cfg.n_mels}")
    k = np.arange(cfg.n_mfcc)[:, None]
    n = np.arange(cfg.n_mels)[None, :]
    dct = np.sqrt(2.0 / cfg.n_mels) * np.cos(np.pi * k * (2 * n + 1) / (2 * cfg.n_mels))
    dct[0] *= np.sqrt(0.5)
    if cfg.lifter > 0:
        dct *= 1.0 + cfg.lifter / 2.0 * np.sin(np.pi * (k + 1) / cfg.lifter)
    return _frozen(dct)


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)  # Every caller gets the same array from the cache.
    return array
