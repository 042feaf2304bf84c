"""A stream of samples, cut into spans that hold whole frames, or into windows that are classified one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...kernels import FeatureConfig
from .samples import Samples


class Window(NamedTuple):
    """Samples of a stream that are classified as one clip."""

    start: int  # number of its first sample in the stream
    y: Samples  # [n_samples]; shorter when the whole stream is shorter


class Span(NamedTuple):
    """Samples of a recording, and the config that gives of them the frames of the whole."""

    y: NDArray  # [n_samples]
    cfg: FeatureConfig  # with the padding of this part, which is none between the first and the last


def spans(blocks: Iterable[NDArray], cfg: FeatureConfig, step: int) -> Iterator[Span]:
    """Cut a stream of samples into spans, of which frames are computed one after another as those of the whole.

    Each span has the samples that its frames take, its padding is mirrored from, and its pre-emphasis begins with.

    Parameters
    ----------
    blocks : iterable of ndarray [n]
        The samples, in blocks of any length.
    cfg : FeatureConfig
        That of the whole recording.
    step : int
        Frames per span. The first span has a multiple of it where the padding before it is long; the last one has what
        is left.

    Yields
    ------
    Span
    """
    (left, right), hop, dropped = cfg.edges, cfg.hop_length, cfg.n_dropped
    before = int(cfg.preemphasis > 0 and cfg.preemphasis_of != "frame")  # samples that a span's first one follows
    inner = cfg.replace(center=True, padding=(0, 0), preemphasis_of="valid" if before else cfg.preemphasis_of)
    n_frames = step * max(1, -(-(left + before - dropped) // (step * hop)))  # The second span has no padding before it.
    needed = (n_frames - 1) * hop + cfg.frame_length - left + dropped
    length, stride = max(needed, left + 1 + dropped), n_frames * hop - left + dropped - before
    now, last = cfg.replace(center=True, padding=(left, needed - length)), cfg
    kept = max(right, 0) + 1 + before  # what the padding after the last span is mirrored from
    buffer: list[NDArray] = []
    n_buffered = 0
    for block in blocks:
        buffer.append(block)
        n_buffered += len(block)
        while n_buffered >= max(length - min(right, 0), stride + kept):
            y = _joined(buffer)
            yield Span(y[:length], now)
            buffer, n_buffered = [y[stride:]], n_buffered - stride
            now, last = inner, inner.replace(padding=(0, right))
            length, stride = (step - 1) * hop + cfg.frame_length + before, step * hop
    if n_buffered and (last is cfg or last.n_frames(n_buffered)):
        yield Span(_joined(buffer), last)


def windows(blocks: Iterable[Samples], n_samples: int, hop: int) -> Iterator[Window]:
    """Cut a stream into windows of `n_samples`, `hop` apart; each comes as soon as its last sample has come.

    Samples that are left at the end are classified too, in a window that ends with the stream. No more than a block and
    a window is held in memory.

    Parameters
    ----------
    blocks : iterable of ndarray [n], float32
    n_samples : int
    hop : int
        Samples from the start of one window to that of the next.

    Yields
    ------
    Window
        A stream shorter than a window yields one window with all of its samples.
    """
    buffer, low = np.empty(0, np.float32), 0  # `buffer` begins at sample `low`
    start = covered = 0  # first sample of the next window; end of the last window
    for block in blocks:
        buffer = np.concatenate([buffer, block])
        end = low + len(buffer)
        while start + n_samples <= end:
            yield Window(start, buffer[start - low : start - low + n_samples])
            covered = start + n_samples
            start += hop
        keep = max(low, min(start, end - n_samples))
        buffer, low = buffer[keep - low :], keep
    end = low + len(buffer)
    if end > covered and start < end:
        first = max(0, end - n_samples)
        yield Window(first, buffer[first - low :])


def _joined(buffer: list[NDArray]) -> NDArray:
    return buffer[0] if len(buffer) == 1 else np.concatenate(buffer)
