"""A store as a torch dataset, for a `DataLoader` with any number of workers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.compute as pc
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...kernels import FeatureConfig
from ...kernels.arrays import rows_first
from ...kernels.tensors import band_values, dct_weights
from .reader import Store


class FeatureItem(tuple[Tensor, str]):
    """A pair of features [n_rows, n_frames] and path that also has the kind and config of the features."""

    kind: str
    cfg: FeatureConfig

    def __new__(cls, features: Tensor, path: str, kind: str, cfg: FeatureConfig) -> FeatureItem:
        """Make the pair."""
        pair = super().__new__(cls, (features, path))
        pair.kind, pair.cfg = kind, cfg
        return pair

    def __getnewargs__(self) -> tuple[Any, ...]:
        return (*self, self.kind, self.cfg)


class Batch(NamedTuple):
    """Clips of different length, padded with silence."""

    features: Tensor  # [n_clips, n_rows, most_frames], or with `time_major` [n_clips, most_frames, n_rows]
    n_frames: Tensor  # [n_clips]
    paths: list[str]

    @property
    def mask(self) -> Tensor:
        """Bool [n_clips, most_frames], true at a clip's own frames."""
        return torch.arange(int(self.n_frames.max()), device=self.n_frames.device) < self.n_frames[:, None]


class FeatureDataset(Dataset[tuple[Tensor, str]]):
    """The recordings of a store that could be extracted, as pairs of features [n_rows, n_frames] and path.

    Where the store's config has `time_major`, features are [n_frames, n_rows], in a batch as well.

    The features are memory-mapped: only what a batch takes is read. Changing them in place changes no file. Each
    recording's are compared with their checksum when they are first taken; a `CumelError` says when they differ.

    Parameters
    ----------
    folder : path
        The store.
    check : bool
        Whether to compare features with their checksums.

    Examples
    --------
    ``DataLoader(FeatureDataset("features"), batch_size=32, shuffle=True, num_workers=4, collate_fn=pad)``
    """

    def __init__(self, folder: Path | str, *, check: bool = True) -> None:
        self.store = Store(folder, mode="c", check=check)
        usable = pc.not_equal(self.store.index["status"], "error")  # pyright: ignore[reportAttributeAccessIssue]
        self._rows = torch.from_numpy(usable.to_numpy().copy()).nonzero()[:, 0]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> FeatureItem:
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        row, config = int(self._rows[number]), self.store.config
        return FeatureItem(torch.from_numpy(self.store[row]), self.store.row(row)["path"], config.kind, config.features)


def pad(batch: Sequence[tuple[Tensor, str]]) -> Batch:
    """Collate clips of different length, padded with the values that silence has in their kind of feature.

    A log-mel spectrogram is filled as `log_mel` fills a padded batch: with the clip's own floor, ``top_db`` below its
    maximum, or with 0 where clips are normalized; MFCC with those of digital silence; linear features (mel, STFT) and
    images with 0. In pairs of another dataset than `FeatureDataset`, integers and complex numbers are filled with 0,
    real numbers with the clip's least value.

    Returns
    -------
    Batch
        A tuple of ``features`` [n_clips, n_rows, most_frames], in the layout of the clips, ``n_frames`` [n_clips] and
        ``paths``; its `mask` [n_clips, most_frames] tells a clip's own frames from the filling.
    """
    clips = [_rows_first(item[0], item) for item in batch]
    n_frames = torch.tensor([clip.shape[1] for clip in clips], dtype=torch.int64, device="cpu")
    features = clips[0].new_empty(len(clips), clips[0].shape[0], int(n_frames.max()))
    for out, item, clip in zip(features, batch, clips, strict=True):
        out[:, : clip.shape[1]] = clip
        if clip.shape[1] < out.shape[1]:
            out[:, clip.shape[1] :] = (
                silence(clip, item.kind, item.cfg) if isinstance(item, FeatureItem) else _least(clip)
            )
    return Batch(_rows_first(features, batch[0]).contiguous(), n_frames, [path for _, path in batch])


def _rows_first(features: Tensor, item: tuple[Tensor, str]) -> Tensor:
    """Give a view [..., n_rows, n_frames] of features in the layout of a pair, or the other way round."""
    return rows_first(features, item.cfg) if isinstance(item, FeatureItem) else features


def silence(features: Tensor, kind: str, cfg: FeatureConfig) -> Tensor:
    """Return the frame [n_rows, 1] that stands for silence behind ``features`` [n_rows, n_frames] of a kind."""
    if kind not in ("logmel", "mfcc") or cfg.normalize is not None:
        return features.new_zeros(features.shape[0], 1)
    levels, (mean, std) = cfg.levels, band_values(cfg, torch.device("cpu")) if cfg.is_per_band else (0.0, 1.0)
    level = levels.silence
    if kind == "logmel":
        level = max(level, float((features * std + mean).max()) - levels.span)
        return ((features.new_full((features.shape[0], 1), level) - mean) / std).to(features.dtype)
    quiet = (torch.full((cfg.n_mels, 1), level, dtype=torch.float32, device="cpu") - mean) / std
    return (dct_weights(cfg, quiet.device) @ quiet).to(features.dtype)


def _least(features: Tensor) -> Tensor | int:
    return features.min() if features.is_floating_point() else 0
