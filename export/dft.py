"""The discrete Fourier transform as two small matrix products: what a graph without an FFT operator can do fast.

With n_fft = n1 * n2, sample n = n2 * i + j and bin k = k1 + n1 * k2, the transform splits into one of length n1 over i,
a twiddle exp(-2 pi i k1 j / n_fft), and one of length n2 over j (Cooley and Tukey, 1965). The input is real, so that
k1 needs 0..n1 // 2 only, every other bin being the mirror image of one of those: abs(X[n_fft - k]) = abs(X[k]). Of the
second transform only the columns are kept that reach a bin which a mel filter weighs, and the order in which bins come
out is folded into the mel matrix. All constants are computed in float64, and cast once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..kernels import CumelError, FeatureConfig
from ..kernels.filterbank import mel_matrix, window

MAX_BYTES = 256 << 20  # of constants; a power of two stays far below

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Factored:
    """Constants of a transform in two steps, for frames that are laid out as [n1, n2]."""

    n1: int
    n2: int
    window: Float32  # [n1, n2]
    first: Float32  # [2 * n_k1, n1]: real parts, then imaginary ones
    twiddle: tuple[Float32, Float32]  # cosine and sine [n_k1, n2]
    second: Float32  # [2 * n2, 2 * n_k2]: from (real, imaginary) to (real, imaginary)
    mel: Float32  # [n_k1 * n_k2, n_mels]

    @property
    def n_k1(self) -> int:
        """Bins of the first transform."""
        return len(self.first) // 2

    @property
    def n_k2(self) -> int:
        """Bins of the second transform that are kept."""
        return self.second.shape[1] // 2


@dataclass(frozen=True)
class Dense:
    """Constants of a transform in one step, for an n_fft that is a prime."""

    matrix: Float32  # [n_fft, 2 * n_bins]: the windowed real parts, then the imaginary ones, of the bins that are used
    mel: Float32  # [n_bins, n_mels]


@lru_cache(maxsize=8)
def transform(cfg: FeatureConfig) -> Factored | Dense:
    """Choose the cheapest split of n_fft, and compute its constants.

    Raises
    ------
    CumelError
        When n_fft has so large a prime factor that the matrices would take more than MAX_BYTES.
    """
    used = np.flatnonzero(mel_matrix(cfg).any(axis=0))
    splits = [(n1, cfg.n_fft // n1) for n1 in range(2, cfg.n_fft // 2 + 1) if cfg.n_fft % n1 == 0]
    split = min(splits, key=lambda split: sum(split), default=None)
    largest = cfg.n_fft * len(used) if split is None else max(split) ** 2
    if 8 * largest > MAX_BYTES:
        raise CumelError(
            f"n_fft={cfg.n_fft}: its prime factors are so large that a graph without an FFT would hold "
            f"{8 * largest >> 20} MiB of constants; use a power of two"
        )
    return _dense(cfg, used) if split is None else _factored(cfg, used, *split)


def _dense(cfg: FeatureConfig, used: NDArray[np.int64]) -> Dense:
    cosine, sine = _waves(np.arange(cfg.n_fft), used, cfg.n_fft)
    taper = window(cfg)[:, None]
    return Dense(np.hstack([taper * cosine, -taper * sine]).astype(np.float32), mel_matrix(cfg)[:, used].T.astype("f"))


def _factored(cfg: FeatureConfig, used: NDArray[np.int64], n1: int, n2: int) -> Factored:
    places = _places(cfg.n_fft, used, n1)
    columns = sorted({k2 for _, k2 in places.values()})
    k1 = np.arange(n1 // 2 + 1)
    cosine, sine = _waves(k1, np.arange(n1), n1)
    first = np.vstack([cosine, -sine])
    cosine, sine = _waves(np.arange(n2), np.array(columns), n2)
    second = np.block([[cosine, -sine], [sine, cosine]])
    mel = np.zeros((len(k1), len(columns), cfg.n_mels))
    for k, (row, k2) in places.items():
        mel[row, columns.index(k2)] = mel_matrix(cfg)[:, k]
    twiddle = _waves(k1, np.arange(n2), cfg.n_fft)
    return Factored(
        n1,
        n2,
        window(cfg).reshape(n1, n2).astype(np.float32),
        first.astype(np.float32),
        (twiddle[0].astype(np.float32), twiddle[1].astype(np.float32)),
        second.astype(np.float32),
        mel.reshape(-1, cfg.n_mels).astype(np.float32),
    )


def _places(n_fft: int, used: NDArray[np.int64], n1: int) -> dict[int, tuple[int, int]]:
    """Choose for each bin a (k1, k2) that holds it or its mirror image, so that few different k2 occur."""
    choices = {
        int(k): [(int(at % n1), int(at // n1)) for at in {k, (n_fft - k) % n_fft} if at % n1 <= n1 // 2] for k in used
    }
    kept = {places[0][1] for places in choices.values() if len(places) == 1}
    for places in choices.values():
        if not kept & {k2 for _, k2 in places}:
            kept.add(min(k2 for _, k2 in places))
    return {k: next(place for place in sorted(places) if place[1] in kept) for k, places in choices.items()}


def _waves(a: NDArray, b: NDArray, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cosine and sine of 2 pi a b / n [len(a), len(b)], exact in the phase."""
    phase = 2.0 * np.pi * (np.outer(a, b) % n) / n
    return np.cos(phase), np.sin(phase)
