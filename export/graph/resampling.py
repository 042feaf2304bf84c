"""Resampling inside a graph: one strided convolution whose channels are the phases of a polyphase filter.

The filter is a sinc under a Kaiser window. It keeps frequencies up to 0.92 of half the lower rate, as soxr's HQ does,
and takes 110 dB from those above that half. Outside a clip lie zeros, and the first sample stays the first.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, gcd
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnxscript import ir

from ...esc50.audio import resampled_length
from ...kernels import CumelError
from .framing import zeros
from .tape import Size, Tape, ints

CROSSINGS = 96  # zeros of the sinc on each side
ATTENUATION = 110.0  # dB
BETA = 0.1102 * (ATTENUATION - 8.7)  # Kaiser's formula
ROLLOFF = 1 - (ATTENUATION - 7.95) / (14.36 * 2 * CROSSINGS)  # so that the transition ends at half the lower rate
LEAST_PHASES = 64  # for fewer, several steps are one, as a product of few rows is slow
MOST_TAPS = 1 << 22  # 16 MiB


class Filter(NamedTuple):
    """A filter bank that takes `step` samples and gives one of each phase."""

    taps: NDArray[np.float64]  # [n_phases, 2 * width + step]
    step: int
    width: int  # samples before and behind that a phase reaches


@lru_cache(maxsize=8)
def filter_bank(rate: int, sr: int) -> Filter:
    """Design the filters from `rate` to `sr` Hz.

    Raises
    ------
    CumelError
        For rates with so small a common divisor that the filters would take more than MOST_TAPS.
    """
    old, new = rate // gcd(rate, sr), sr // gcd(rate, sr)
    several = ceil(LEAST_PHASES / new)
    step, n_phases = several * old, several * new
    scale = ROLLOFF * min(1.0, new / old)  # of the input's zero crossings
    width = ceil(CROSSINGS / scale)
    if n_phases * (2 * width + step) > MOST_TAPS:
        raise CumelError(
            f"rate={rate}: no filter of a practical size leads to {sr} Hz; resample before, or give a rate that has a "
            "larger common divisor with it"
        )
    places = np.arange(2 * width + step) - width
    distance = scale * (places - np.arange(n_phases)[:, None] * (old / new))
    inside = np.clip(1 - (distance / CROSSINGS) ** 2, 0, None)
    window = np.where(np.abs(distance) < CROSSINGS, np.i0(BETA * np.sqrt(inside)) / np.i0(BETA), 0)
    return Filter(scale * np.sinc(distance) * window, step, width)


def resample(y: NDArray, rate: int, sr: int) -> NDArray[np.float64]:
    """Resample ``y`` [n_samples] as a graph does, in float64."""
    bank = filter_bank(rate, sr)
    n_steps = len(y) // bank.step + 1
    padded = np.pad(y.astype(np.float64), (bank.width, bank.width + bank.step))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, bank.taps.shape[1])[:: bank.step][:n_steps]
    return (pieces @ bank.taps.T).reshape(-1)[: resampled_length(len(y), rate, sr)]


def resampled(tape: Tape, samples: ir.Value, length: Size, rate: int, sr: int) -> tuple[ir.Value, Size]:
    """Resample clips [batch, length]; return them, and their new length."""
    bank = filter_bank(rate, sr)
    before, behind = (zeros(tape, samples, n) for n in (bank.width, bank.width + bank.step))
    padded = tape("Concat", before, samples, behind, axis=1)
    taps = bank.taps.astype(np.float32)[:, None]
    phases = tape("Conv", tape("Unsqueeze", padded, ints(1)), taps, strides=[bank.step])
    converted = tape("Transpose", phases, perm=[0, 2, 1])  # [batch, steps, phases]
    new = scaled(tape, length, rate, sr)
    if isinstance(length, int):
        flat = tape("Reshape", converted, ints(0, (length // bank.step + 1) * len(bank.taps)))
    else:
        flat = tape("Reshape", converted, ints(0, -1))
    return tape.slice(flat, 0, new, 1), new


def scaled(tape: Tape, length: Size, rate: int, sr: int) -> Size:
    """Return lengths at `rate` Hz, in samples at `sr` Hz; the part of one counts as one."""
    if isinstance(length, int):
        return resampled_length(length, rate, sr)
    divisor = gcd(rate, sr)
    old, new = rate // divisor, sr // divisor
    return tape("Div", tape("Add", tape("Mul", length, ints(new)), ints(old - 1)), ints(old))
