"""What a model file is given for clips, and what its network is to see of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph import IMAGE, LENGTHS, WAVEFORM, Metadata

Clip = NDArray[np.float32]  # samples of one mono clip at the file's rate


def given(clips: Sequence[Clip], metadata: Metadata) -> dict[str, NDArray[Any]]:
    """Return the inputs of a file for a batch of clips; with ``lengths``, clips of any lengths, and NaN behind them."""
    if metadata.input == IMAGE:
        return {IMAGE: features_of(clips, metadata)}
    if not metadata.interface.lengths:
        return {WAVEFORM: np.stack(clips)}
    lengths = np.array([len(y) for y in clips])
    batch = np.full((len(clips), lengths.max()), np.nan, np.float32)
    for row, y in zip(batch, clips, strict=True):
        row[: len(y)] = y
    return {WAVEFORM: batch, LENGTHS: lengths}


def features_of(clips: Sequence[Clip] | Clip, metadata: Metadata) -> NDArray[np.float32]:
    """Compute the features of clips of any lengths as the network takes them."""
    return metadata.entrance(np.stack([metadata.fitted(y) for y in clips]))
