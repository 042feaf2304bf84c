"""Where a batch's clips lie, for the CUDA path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .config import FeatureConfig


class Clips(NamedTuple):
    """Clips that lie in one tensor, padded or one right after another; or one piece of one clip."""

    samples: Tensor  # [n], float32 or int16
    n_clips: int
    n_samples: int  # samples of the longest clip; of every clip when `lengths` is None
    stride: int  # samples from one clip's first to the next one's; unused with `starts`
    width: int  # frames of every row of the features
    lengths: NDArray[np.int64] | Tensor | None = None  # [n_clips] samples of each; a tensor is on the device, unchecked
    starts: NDArray[np.int64] | None = None  # [n_clips] index of each clip's sample 0
    start: int = 0  # index of the first clip's sample 0, without `starts`; negative when only a later piece lies here
    first_frame: int = 0  # number of the piece's first frame in its clip
    number: int = 0  # number of the first clip in the user's batch
    of_clips: int | None = None  # clips in the user's batch; None when this is all of it

    @classmethod
    def of(cls, clips: Tensor, lengths: Sequence[int] | NDArray | Tensor | None, cfg: FeatureConfig) -> Clips:
        """Describe clips ``[n_clips, n_samples]``, or ``[n]`` one right after another, with their checked lengths.

        Lengths in a tensor may be any numbers, as only the device reads them: a clip of less than a frame, or of more
        samples than its row, comes out as NaN.
        """
        if lengths is not None and not isinstance(lengths, Tensor):
            lengths = np.array(lengths, np.int64)
        if clips.dim() == 2:
            n_clips, longest = clips.shape
            starts = None
            if n_clips > 1 and longest >= 2**32:  # The kernels' stride has 32 bits.
                starts = np.arange(n_clips) * longest
                lengths = np.full(n_clips, longest) if lengths is None else lengths
            return cls(clips.reshape(-1), n_clips, longest, longest, cfg.n_frames(longest), lengths, starts)
        assert isinstance(lengths, np.ndarray)
        longest = int(lengths.max())
        even = longest * len(lengths) == len(clips)
        starts = None if even else np.cumsum(lengths) - lengths
        return cls(clips, len(lengths), longest, longest, cfg.n_frames(longest), None if even else lengths, starts)
