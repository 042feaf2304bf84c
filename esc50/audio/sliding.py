"""A stream of samples, cut into windows that overlap or follow one another; the last one reaches its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from . import Samples
from .reading import Pcm, as_float


class Window(NamedTuple):
    """Samples of a stream that are classified together."""

    start: int  # number of the first one in the stream
    y: Samples  # as many as a window has, or fewer when the whole stream is shorter


def windows(blocks: Iterable[Pcm], n_samples: int, hop: int) -> Iterator[Window]:
    """Cut a stream into windows of `n_samples`, `hop` apart, each as soon as its last sample is there.

    What is left at the end is heard as well, in a window that ends with the stream; nothing longer than a block and a
    window is held.

    Parameters
    ----------
    blocks : iterable of ndarray [n], float32 or int16
    n_samples : int
    hop : int
        Samples from the start of one window to that of the next.

    Yields
    ------
    Window
        Of a stream shorter than a window, its one window has all of its samples.
    """
    held, low = np.empty(0, np.float32), 0  # samples from number `low` on
    start = heard = 0  # the next window's first sample; the end of the last window
    for block in blocks:
        held = np.concatenate([held, as_float(block)])
        end = low + len(held)
        while start + n_samples <= end:
            yield Window(start, held[start - low : start - low + n_samples])
            heard = start + n_samples
            start += hop
        keep = max(low, min(start, end - n_samples))
        held, low = held[keep - low :], keep
    end = low + len(held)
    if end > heard and start < end:
        first = max(0, end - n_samples)
        yield Window(first, held[first - low :])
