"""Does a layer III frame contradict itself? libmpg123 then writes so to stderr, and goes on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import mpeg

MOST_BIG_VALUES = 288  # pairs of a granule
LENGTH, BIG_VALUES, GAIN = 12, 9, 8  # bits, with which a granule begins


def first_broken(window: bytes, begins: list[int], end: int, held: int) -> tuple[int | None, int]:
    """Look at frames that follow one another.

    Parameters
    ----------
    window : bytes
    begins : list of int
        Where in it each frame begins.
    end : int
        Where the last one ends.
    held : int
        Bytes of audio before the first one, of which it may hold a part.

    Returns
    -------
    number : int or None
        Of the first broken frame.
    held : int
        Bytes of audio before `end`.
    """
    header = int.from_bytes(window[begins[0] : begins[0] + 4], "big")
    n_channels, is_mpeg_1 = 1 if mpeg.in_mono(header) else 2, mpeg.is_mpeg_1(header)
    data, at = np.frombuffer(window, np.uint8), np.array(begins)
    side = at + np.where(data[at + 1] & 1, 4, 6)  # a checksum lies between
    bits = np.unpackbits(data[side[:, None] + np.arange(mpeg.side_size(header))], axis=1)

    own = np.diff(at, append=end) - (side - at) - mpeg.side_size(header)
    before = np.minimum(held + np.cumsum(own) - own, mpeg.reservoir(header))
    back = _number(bits, 0, 9 if is_mpeg_1 else 8)
    first = (9 + (5 if n_channels == 1 else 3) + 4 * n_channels) if is_mpeg_1 else 8 + n_channels
    compress, n_granules, step = (4, 2 * n_channels, 59) if is_mpeg_1 else (9, n_channels, 63)

    broken, coded = np.zeros(len(at), bool), np.zeros(len(at), np.int64)
    for granule in range(first, first + n_granules * step, step):
        coded += _number(bits, granule, LENGTH)
        broken |= _number(bits, granule + LENGTH, BIG_VALUES) > MOST_BIG_VALUES
        switched = granule + LENGTH + BIG_VALUES + GAIN + compress
        broken |= (bits[:, switched] == 1) & (_number(bits, switched + 1, 2) == 0)
    broken |= coded > 8 * (back + own)
    broken &= back <= before  # a frame that lacks what lies before it is silent
    found = np.flatnonzero(broken)
    held = min(mpeg.reservoir(header), int(held + own.sum()))
    return (int(found[0]) if found.size else None), held


def _number(bits: NDArray[np.uint8], first: int, n: int) -> NDArray[np.int64]:
    """Return the numbers that `n` bits of each row are."""
    return bits[:, first : first + n] @ (1 << np.arange(n - 1, -1, -1))
