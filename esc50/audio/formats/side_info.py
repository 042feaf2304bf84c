"""Layer III frames that contradict themselves; libmpg123 writes a message to stderr, and goes on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import mpeg

MOST_BIG_VALUES = 288  # pairs of values in a granule
LENGTH, BIG_VALUES, GAIN = 12, 9, 8  # bits of the first fields of a granule


def first_broken(window: bytes, begins: list[int], end: int, reserve: int) -> tuple[int | None, int]:
    """Find the first broken one of frames that follow one another.

    Parameters
    ----------
    window : bytes
    begins : list of int
        Place in `window` at which each frame begins.
    end : int
        Place at which the last frame ends.
    reserve : int
        Bytes of audio before the first frame that it may refer to.

    Returns
    -------
    number : int or None
        Number of the first broken frame.
    reserve : int
        Bytes of audio before `end`.
    """
    header = int.from_bytes(window[begins[0] : begins[0] + 4], "big")
    n_channels, is_mpeg_1 = 1 if mpeg.in_mono(header) else 2, mpeg.is_mpeg_1(header)
    data, at = np.frombuffer(window, np.uint8), np.array(begins)
    side = at + np.where(data[at + 1] & 1, 4, 6)  # a checksum may lie between header and side information
    bits = np.unpackbits(data[side[:, None] + np.arange(mpeg.side_size(header))], axis=1)

    sizes = np.diff(at, append=end) - (side - at) - mpeg.side_size(header)
    before = np.minimum(reserve + np.cumsum(sizes) - sizes, mpeg.reservoir(header))
    back = _number(bits, 0, 9 if is_mpeg_1 else 8)
    first = (9 + (5 if n_channels == 1 else 3) + 4 * n_channels) if is_mpeg_1 else 8 + n_channels
    compress, n_granules, step = (4, 2 * n_channels, 59) if is_mpeg_1 else (9, n_channels, 63)

    broken, coded = np.zeros(len(at), bool), np.zeros(len(at), np.int64)
    for granule in range(first, first + n_granules * step, step):
        coded += _number(bits, granule, LENGTH)
        broken |= _number(bits, granule + LENGTH, BIG_VALUES) > MOST_BIG_VALUES
        switched = granule + LENGTH + BIG_VALUES + GAIN + compress
        broken |= (bits[:, switched] == 1) & (_number(bits, switched + 1, 2) == 0)
    broken |= coded > 8 * (back + sizes)
    broken &= back <= before  # A frame that refers to audio which is missing decodes to silence.
    numbers = np.flatnonzero(broken)
    reserve = min(mpeg.reservoir(header), int(reserve + sizes.sum()))
    return (int(numbers[0]) if numbers.size else None), reserve


def _number(bits: NDArray[np.uint8], first: int, n: int) -> NDArray[np.int64]:
    """Return `n` bits of each row as a number."""
    return bits[:, first : first + n] @ (1 << np.arange(n - 1, -1, -1))
