"""What a model file is given for clips, and what its network is to hear of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.config import INT16_SCALE
from ..graph import IMAGE, LENGTHS, WAVEFORM, Metadata, resample

LIMITS = np.iinfo(np.int16).min, np.iinfo(np.int16).max
Clip = NDArray[np.float32]  # samples of one mono clip at the file's rate


def given(clips: Sequence[Clip], metadata: Metadata) -> dict[str, NDArray[Any]]:
    """Return the inputs of a file for a batch of clips; with ``lengths``, clips of any lengths, and NaN behind them."""
    if metadata.input == IMAGE:
        return {IMAGE: features_of(clips, metadata)}
    raw = [_raw(y, metadata) for y in clips]
    if not metadata.interface.lengths:
        return {WAVEFORM: np.stack(raw)}
    lengths = np.array([len(y) for y in clips])
    behind = LIMITS[1] if raw[0].dtype == np.int16 else np.nan
    batch = np.full((len(clips), *raw[0].shape[:-1], lengths.max()), behind, raw[0].dtype)
    for row, y in zip(batch, raw, strict=True):
        row[..., : y.shape[-1]] = y
    return {WAVEFORM: batch, LENGTHS: lengths}


def heard(y: Clip, metadata: Metadata) -> Clip:
    """Return what a file hears of a clip: mono, at the features' rate, of any length."""
    if metadata.input == IMAGE:
        return y
    raw = _raw(y, metadata)
    mono = raw.astype(np.float32).mean(axis=0) if metadata.interface.channels else raw.astype(np.float32)
    mono = mono * np.float32(INT16_SCALE) if raw.dtype == np.int16 else mono
    if metadata.sr == metadata.features.sr:
        return mono
    return resample(mono, metadata.sr, metadata.features.sr).astype(np.float32)


def features_of(clips: Sequence[Clip] | Clip, metadata: Metadata) -> NDArray[np.float32]:
    """Compute the features of clips of any lengths as the network takes them."""
    return metadata.entrance(np.stack([metadata.fitted(heard(y, metadata)) for y in clips]))


def _raw(y: Clip, metadata: Metadata) -> NDArray[Any]:
    """Return a clip in the form that a file takes: [n_samples], or [2, n_samples], the second channel half as loud."""
    raw: NDArray[Any] = y
    if metadata.interface.dtype == "int16":
        raw = np.round(np.clip(y / INT16_SCALE, *LIMITS)).astype(np.int16)
    quieter = raw // 2 if raw.dtype == np.int16 else raw / 2
    return np.stack([raw, quieter]) if metadata.interface.channels else raw
