"""The Fourier transform of a frame as two small matrix products, which is fast in a graph without an FFT operator.

With n_fft = n1 * n2, sample n = n2 * i + j and bin k = k1 + n1 * k2, the transform splits (Cooley and Tukey, 1965) into
one of length n1 over i, and for each k1 one of length n2 over j, whose matrices include the twiddle factors. A real
input needs k1 = 0..n1 // 2 only: every other bin is the mirror image of one of those, abs(X[n_fft - k]) = abs(X[k]).
Only those k2 are kept that give a bin with a weight in some mel filter, and the rows of the mel matrix follow the order
in which the bins come out. All constants are computed in float64, and cast once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .config import FeatureConfig
from .errors import CumelError
from .filterbank import mel_matrix, window

MAX_BYTES = 64 << 20  # limit of the constants; an n_fft of 32768 takes 34 MB at most, a prime up to 2800 less than 64
COPY = 4  # multiply-adds that a copied sample costs as much as

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Factored:
    """Constants of a transform in two steps, for frames that are laid out as [n1, n2], filled up with zeros."""

    window: Float32  # [n_rows, n2]: without the rows, of n1, that lie behind the frame
    first: Float32  # [n_k1 * 2, n_rows]: for each k1 the real row, then the imaginary one
    second: Float32  # [n_k1, 2 * n2, 2 * n_k2]: rows and columns are real, then imaginary
    mel: Float32  # [n_k1 * n_k2, n_mels]


@dataclass(frozen=True)
class Dense:
    """Constants of a transform in one step, for a prime n_fft."""

    matrix: Float32  # [frame_length, 2 * n_bins], windowed: real columns of the bins in use, then imaginary ones
    mel: Float32  # [n_bins, n_mels]


@lru_cache(maxsize=8)
def transform(cfg: FeatureConfig) -> Factored | Dense:
    """Choose the cheapest split of n_fft, and compute its constants.

    Raises
    ------
    CumelError
        When n_fft, or a factor of it, is so large that the constants would take more than MAX_BYTES.
    """
    used = np.flatnonzero(mel_matrix(cfg).any(axis=0))
    used = used if len(used) else np.array([0])  # All filters are empty.
    splits = [(n1, cfg.n_fft // n1) for n1 in range(2, cfg.n_fft // 2 + 1) if cfg.n_fft % n1 == 0]
    costs = {split: _cost(cfg, used, *split) for split in splits}
    split = min(costs, key=lambda split: costs[split][0], default=None)
    n_bytes = 4 * (2 * cfg.frame_length * len(used) if split is None else costs[split][1])
    if n_bytes > MAX_BYTES:
        raise CumelError(
            f"n_fft={cfg.n_fft}: its transform as matrix products takes {n_bytes >> 20} MiB of constants, "
            f"{MAX_BYTES >> 20} at most; use a smaller one, or a power of two"
        )
    return _dense(cfg, used) if split is None else _factored(cfg, used, *split)


def _cost(cfg: FeatureConfig, used: NDArray[np.int64], n1: int, n2: int) -> tuple[int, int]:
    """Return the cost of a frame in multiply-adds, and the number of constants.

    Multiply-adds of the second step count double: each one reads a constant of its own. Zeros that fill up the rows are
    a copy of the frame.
    """
    n_k1, n_k2, n_rows = n1 // 2 + 1, len({k2 for _, k2 in _places(cfg.n_fft, used, n1).values()}), _rows(cfg, n2)
    first, second, mel = 2 * n_k1 * n_rows, n_k1 * 2 * n2 * 2 * n_k2, n_k1 * n_k2 * cfg.n_mels
    fill = COPY * cfg.frame_length if n_rows * n2 > cfg.frame_length else 0
    return n2 * first + 2 * second + mel + fill, first + second + mel


def _rows(cfg: FeatureConfig, n2: int) -> int:
    """Return the rows of [n1, n2] in which a frame has samples."""
    return -(-cfg.frame_length // n2)


def _dense(cfg: FeatureConfig, used: NDArray[np.int64]) -> Dense:
    n = cfg.frame_length
    waves = cfg.scale * window(cfg)[:n, None] * _waves(np.outer(np.arange(n), used), cfg.n_fft)
    return Dense(_float32(np.hstack([waves.real, waves.imag])), _float32(mel_matrix(cfg)[:, used].T))


def _factored(cfg: FeatureConfig, used: NDArray[np.int64], n1: int, n2: int) -> Factored:
    places = _places(cfg.n_fft, used, n1)
    k1, k2 = np.arange(n1 // 2 + 1), np.array(sorted({column for _, column in places.values()}))
    n_rows = _rows(cfg, n2)
    first = _waves(np.outer(k1, np.arange(n_rows)), n1)
    second = _waves(np.arange(n2)[:, None] * (k1[:, None, None] + n1 * k2), cfg.n_fft)
    mel = np.zeros((len(k1), len(k2), cfg.n_mels))
    for k, (row, column) in places.items():
        mel[row, np.searchsorted(k2, column)] = mel_matrix(cfg)[:, k]
    return Factored(
        window=_float32(cfg.scale * window(cfg)[: n_rows * n2].reshape(n_rows, n2)),
        first=_float32(np.stack([first.real, first.imag], axis=1).reshape(-1, n_rows)),
        second=_float32(np.block([[second.real, second.imag], [-second.imag, second.real]])),
        mel=_float32(mel.reshape(-1, cfg.n_mels)),
    )


def _places(n_fft: int, used: NDArray[np.int64], n1: int) -> dict[int, tuple[int, int]]:
    """Choose for each bin a (k1, k2) that holds it or its mirror image, so that few different k2 occur."""
    choices = {
        k: [(at % n1, at // n1) for at in sorted({k, (n_fft - k) % n_fft}) if at % n1 <= n1 // 2] for k in used.tolist()
    }
    kept = {places[0][1] for places in choices.values() if len(places) == 1}
    for places in choices.values():
        if kept.isdisjoint(k2 for _, k2 in places):
            kept.add(places[0][1])
    return {k: next(place for place in places if place[1] in kept) for k, places in choices.items()}


def _waves(steps: NDArray[np.int64], n: int) -> NDArray[np.complex128]:
    """Return exp(-2 pi i steps / n); the phase is reduced while it is a whole number."""
    return np.exp(-2j * np.pi * (steps % n) / n)


def _float32(x: NDArray[np.float64]) -> Float32:
    return np.ascontiguousarray(x, dtype=np.float32)


def narrowed(cfg: FeatureConfig) -> FeatureConfig:
    """Return a config of the same features whose frames leave out the zeros around a short window.

    Where a frame begins changes its phase alone. A mean or a pre-emphasis of frames is of all their samples.
    """
    length = cfg.win_length or cfg.n_fft
    before = (cfg.n_fft - length) // 2
    left, right = cfg.edges
    of_frame = cfg.remove_dc or (cfg.preemphasis > 0 and cfg.preemphasis_of == "frame")
    if cfg.align == "left" or length == cfg.n_fft or of_frame or left < before:
        return cfg
    padding = (left - before, right - (cfg.n_fft - length - before))
    return cfg.replace(align="left", center=True, padding=padding)
