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


def spans(blocks: Iterable[NDArray], cfg: FeatureConfig, step: int) -> Iterator[NDArray]:
    """Cut a stream of samples into spans of `step` frames each; the last span may have fewer.

    Computed without centring, the spans give the frames of the whole recording, in order.

    Parameters
    ----------
    blocks : iterable of ndarray [n]
        The samples, in blocks of any length.
    cfg : FeatureConfig
        Its `center` and `pad_mode` say how the recording is padded.
    step : int
        Frames per span.

    Yields
    ------
    ndarray [(n_frames - 1) * hop_length + n_fft]
    """
    stride, length = step * cfg.hop_length, (step - 1) * cfg.hop_length + cfg.n_fft
    buffer: list[NDArray] = []
    n_buffered = 0  # Negative where frames do not overlap: so many samples are skipped.
    for block in _padded(blocks, cfg):
        buffer.append(block)
        n_buffered += len(block)
        while n_buffered >= max(length, stride):
            y = _last(buffer, n_buffered)
            yield y[:length]
            n_buffered -= stride
            buffer = [y[stride:]]
    if n_buffered >= cfg.n_fft:
        y = _last(buffer, n_buffered)
        n_frames = min(step, 1 + (n_buffered - cfg.n_fft) // cfg.hop_length)
        yield y[: (n_frames - 1) * cfg.hop_length + cfg.n_fft]


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


def _last(buffer: list[NDArray], n: int) -> NDArray:
    y = buffer[0] if len(buffer) == 1 else np.concatenate(buffer)
    assert len(y) == n
    return y


def _padded(blocks: Iterable[NDArray], cfg: FeatureConfig) -> Iterator[NDArray]:
    """Yield the samples with `cfg.padding` more at each end, as `numpy.pad` adds them."""
    width, mode = cfg.edges[0], cfg.pad_mode
    blocks = iter(blocks)
    if width == 0:
        yield from blocks
        return
    head, n = [], 0
    for block in blocks:
        head.append(block)
        n += len(block)
        if n > width:
            break
    y = np.concatenate(head)
    if n <= width:  # The whole recording is shorter than its padding.
        yield np.pad(y, width, mode=mode)
        return
    yield np.pad(y, (width, 0), mode=mode)
    tail = y[-width - 1 :]
    for block in blocks:
        yield block
        tail = np.concatenate([tail, block])[-width - 1 :]
    yield np.pad(tail, (0, width), mode=mode)[len(tail) :]
