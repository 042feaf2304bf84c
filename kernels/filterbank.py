"""Windows, the mel matrix and the DCT: the constants of a config, in float64."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .config import FeatureConfig
from .errors import CumelError
from .rules import WINDOW_POWERS, WINDOWS

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
        """Lowest bin that any filter touches; 0 when all are empty."""
        return int(self.bins.min(initial=self.bins.max(initial=0)))

    @property
    def last_bin(self) -> int:
        """One past the highest bin that any filter touches."""
        return int(self.bins.max(initial=0)) + 1

    @property
    def first(self) -> NDArray[np.int64]:
        """Return the first bin of each filter [n_mels]; of an empty one, some bin."""
        return np.append(self.bins, self.first_bin)[self.offsets[:-1]]


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
    """Analysis window over `win_length` samples, with zeros on both sides up to n_fft, or only after it.

    Returns
    -------
    ndarray [n_fft]
    """
    length = cfg.win_length or cfg.n_fft
    phase = 2.0 * np.pi * np.arange(length) / (length if cfg.periodic else max(1, length - 1))
    values = np.zeros(length)
    for i, a in enumerate(WINDOWS[cfg.window]):
        values += (-1) ** i * a * np.cos(i * phase)
    if cfg.window in WINDOW_POWERS:
        values = np.maximum(values, 0.0) ** WINDOW_POWERS[cfg.window]
    if length == 1:
        values[:] = 1.0
    left = (cfg.n_fft - length) // 2 if cfg.align == "center" else 0
    return _frozen(np.pad(values, (left, cfg.n_fft - length - left)))


@lru_cache(maxsize=64)
def mel_matrix(cfg: FeatureConfig) -> Float64:
    """Triangular mel filters, as `librosa.filters.mel`, or with sides after `cfg.triangles`.

    Returns
    -------
    ndarray [n_mels, n_bins]
        A filter that falls between two bins is empty, and reads silence. The filters of a preset are those of its
        model; for any other config a warning names the n_fft that gives each filter a bin.
    """
    weights = _triangles(cfg)
    empty = np.flatnonzero(weights.max(axis=1) == 0.0)
    if empty.size and not _of_preset(cfg):
        warnings.warn(
            f"n_fft={cfg.n_fft}: {empty.size} of n_mels={cfg.n_mels} filters have no bin in them, filter {empty[0]} "
            f"first, and read silence; {_remedy(cfg)}",
            stacklevel=2,
        )
    if cfg.norm == "slaney":  # unit area: divide by half the width in Hz
        edges = mel_to_hz(_mel_edges(cfg), htk=cfg.htk)
        weights *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    elif cfg.norm is not None:
        norms = np.linalg.norm(weights, ord=float(cfg.norm), axis=1, keepdims=True)
        weights /= np.where(norms == 0.0, 1.0, norms)
    return _frozen(weights)


def _of_preset(cfg: FeatureConfig) -> bool:
    """Tell whether a preset has the same filters."""
    from .presets import PRESETS  # here, since few configs have an empty filter

    names = ("sr", "n_fft", "n_mels", "fmin", "top_frequency", "htk", "triangles")
    return any(all(getattr(cfg, name) == getattr(preset, name) for name in names) for preset in PRESETS.values())


def _mel_edges(cfg: FeatureConfig) -> Float64:
    """Return where filters begin, peak and end [n_mels + 2], in mel."""
    low, high = hz_to_mel(cfg.fmin, htk=cfg.htk), hz_to_mel(cfg.top_frequency, htk=cfg.htk)
    return np.linspace(low, high, cfg.n_mels + 2)


def _triangles(cfg: FeatureConfig) -> Float64:
    edges, bins = _mel_edges(cfg), np.fft.rfftfreq(cfg.n_fft, 1.0 / cfg.sr).astype(np.float64)
    if cfg.triangles == "mel":
        bins = hz_to_mel(bins, htk=cfg.htk)
    else:
        edges = mel_to_hz(edges, htk=cfg.htk)
    width = np.diff(edges)
    ramps = edges[:, None] - bins[None, :]
    rising = -ramps[:-2] / width[:-1, None]
    falling = 2.0 - rising if cfg.triangles == "left" else ramps[2:] / width[1:, None]
    return np.maximum(0.0, np.minimum(rising, falling))


def _remedy(cfg: FeatureConfig) -> str:
    """Name the least n_fft whose bins lie closer together than the narrowest filter is wide."""
    edges = mel_to_hz(_mel_edges(cfg), htk=cfg.htk)
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
        dct *= 1.0 + cfg.lifter / 2.0 * np.sin(np.pi * (k + cfg.lifter_from) / cfg.lifter)
    return _frozen(dct)


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)  # Every caller gets the same array from the cache.
    return array
