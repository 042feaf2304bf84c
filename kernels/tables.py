"""The constants that the fused kernel reads: twiddles, and mel filters laid out for its lanes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .config import FeatureConfig
from .filterbank import SparseRows, mel_rows

LEAST_COSINE = 2.0**-30  # stands for a cosine of 0; see fft.cuh
QUAD = 4  # weights that a lane loads at once


class Mel(NamedTuple):
    """Mel filters in groups of L, each group's weights as vectors of four, padded to its longest filter."""

    n_bins: int  # bins of the spectrum that the kernel computes
    first: NDArray[np.int32]  # [n_groups, L] bin of a filter's first weight
    weights: NDArray[np.float32]  # [sum of quads, L, 4]
    quads: tuple[int, ...]  # [n_groups] vectors of each filter in a group


def roots(n: int, n_fft: int) -> NDArray[np.float32]:
    """First `n` powers [n, 2] of exp(-2 pi i / n_fft), real and imaginary."""
    angle = -2.0 * np.pi * np.arange(n) / n_fft
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1).astype(np.float32)


def twiddles(p: int, lanes: int) -> NDArray[np.float32]:
    """Twiddles [P / L, n_twiddles, L, 2] of a lane's L-point transforms, which hold the factor between the two passes.

    Cosine and tangent, from the outermost merge inwards, as `Twisted` in fft.cuh reads them.
    """
    turns = (np.arange(lanes) + lanes * np.arange(p // lanes)[:, None]) / (p * lanes)  # twiddle of input 1, in turns
    table, n = [], lanes
    while n > 1:
        if n % 5 == 0:
            table += [r * (turns + k / n) for k in range(n // 5) for r in range(1, 5)]
            turns, n = 5 * turns, n // 5
        else:
            table += [turns + k / n for k in range(max(1, n // 4))]
            turns, n = 2 * turns, n // 2
    angle = -2.0 * np.pi * np.stack(table, axis=1)
    cosine = np.cos(angle)
    cosine = np.where(np.abs(cosine) < LEAST_COSINE, LEAST_COSINE, cosine)
    return np.stack([cosine, np.sin(angle) / cosine], axis=-1).astype(np.float32)


def no_mel(m: int) -> Mel:
    """Return placeholders for the filters where all ``m + 1`` bins are computed, and no mel band."""
    return Mel(m + 1, np.zeros((1, 1), np.int32), np.zeros((1, 1, QUAD), np.float32), (1,))


def mel(cfg: FeatureConfig, m: int, lanes: int) -> Mel:
    """Lay out the filters of `cfg` for `lanes` lanes; no filter reads beyond the bins that the kernel writes."""
    rows = mel_rows(cfg)
    sizes = np.diff(rows.offsets)
    quads = tuple(max(1, -(-int(sizes[g : g + lanes].max()) // QUAD)) for g in range(0, cfg.n_mels, lanes))
    n_bins = -(-max(rows.last_bin, QUAD * max(quads)) // lanes) * lanes
    readable = n_bins
    if n_bins > m // 2:  # The kernel computes all bins, and writes three zeros after them.
        n_bins, readable = m + 1, m + QUAD
    first = np.zeros((len(quads), lanes), np.int32)
    weights = [np.zeros((n, lanes, QUAD)) for n in quads]
    for group, n in enumerate(quads):
        filters = range(group * lanes, min((group + 1) * lanes, cfg.n_mels))
        first[group, : len(filters)] = _first_bins(rows, filters, QUAD * n, readable, lanes)
        for lane, row in enumerate(filters):
            inside = slice(rows.offsets[row], rows.offsets[row + 1])
            at = rows.bins[inside] - first[group, lane]
            weights[group][at // QUAD, lane, at % QUAD] = rows.weights[inside]
    return Mel(n_bins, first, np.concatenate(weights).astype(np.float32), quads)


def _first_bins(rows: SparseRows, filters: range, n_weights: int, readable: int, lanes: int) -> list[int]:
    """Choose where each lane's `n_weights` bins begin: a filter that has fewer may begin earlier.

    As many lanes as possible get a bank of shared memory of their own: a bipartite matching by augmenting paths.
    """
    choices, begins = [], rows.first
    for row in filters:
        begin = int(begins[row])
        end = begin + int(rows.offsets[row + 1] - rows.offsets[row])  # `begin`, where the filter is empty
        choices.append(range(max(0, end - n_weights), min(begin, readable - n_weights) + 1))
    first = [choice[-1] for choice in choices]
    owner: dict[int, int] = {}  # lane that begins in each bank

    def settle(lane: int, tried: set[int]) -> bool:
        for begin in choices[lane]:
            bank = begin % lanes
            if bank not in tried:
                tried.add(bank)
                if bank not in owner or settle(owner[bank], tried):
                    owner[bank], first[lane] = lane, begin
                    return True
        return False

    for lane in range(len(choices)):
        settle(lane, set())
    return first
