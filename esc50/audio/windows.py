"""A long recording's frames, a piece at a time: what each piece of frames covers, padded as the whole would be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from ...kernels import FeatureConfig


def spans(blocks: Iterable[NDArray], cfg: FeatureConfig, step: int) -> Iterator[NDArray]:
    """Cut a stream of samples into what `step` frames cover, the last one perhaps fewer.

    Computed without centring, the spans give the frames of the whole recording, in order.

    Parameters
    ----------
    blocks : iterable of ndarray [n]
        The samples, in blocks of any length.
    cfg : FeatureConfig
        Its `center` and `pad_mode` say how the recording is padded.
    step : int
        Frames of a span.

    Yields
    ------
    ndarray [(n_frames - 1) * hop_length + n_fft]
    """
    stride, length = step * cfg.hop_length, (step - 1) * cfg.hop_length + cfg.n_fft
    held: list[NDArray] = []
    n_held = 0  # negative: samples to skip, where frames do not overlap
    for block in _padded(blocks, cfg):
        held.append(block)
        n_held += len(block)
        while n_held >= max(length, stride):
            y = _last(held, n_held)
            yield y[:length]
            n_held -= stride
            held = [y[stride:]]
    if n_held >= cfg.n_fft:
        y = _last(held, n_held)
        n_frames = min(step, 1 + (n_held - cfg.n_fft) // cfg.hop_length)
        yield y[: (n_frames - 1) * cfg.hop_length + cfg.n_fft]


def _last(held: list[NDArray], n: int) -> NDArray:
    y = held[0] if len(held) == 1 else np.concatenate(held)
    assert len(y) == n
    return y


def _padded(blocks: Iterable[NDArray], cfg: FeatureConfig) -> Iterator[NDArray]:
    """Yield the samples with `cfg.padding` more at each end, as `numpy.pad` adds them."""
    width, mode = cfg.padding, cfg.pad_mode
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
    if n <= width:  # the whole recording, shorter than what it is padded with
        yield np.pad(y, width, mode=mode)
        return
    yield np.pad(y, (width, 0), mode=mode)
    tail = y[-width - 1 :]
    for block in blocks:
        yield block
        tail = np.concatenate([tail, block])[-width - 1 :]
    yield np.pad(tail, (0, width), mode=mode)[len(tail) :]
