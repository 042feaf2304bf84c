"""A store as a torch dataset, for a `DataLoader` with any number of workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ...kernels import CumelError, FeatureConfig
from ...kernels.arrays import rows_first
from ...kernels.tensors import band_values, dct_weights
from .labels import targets_of
from .reader import Store
from .shards import Row


class FeatureItem(tuple[Tensor, Any]):
    """A pair of features [n_rows, n_frames] and path, or label, that also has the kind and config of the features."""

    kind: str
    cfg: FeatureConfig
    path: str

    def __new__(
        cls, features: Tensor, second: Any, kind: str, cfg: FeatureConfig, path: str | None = None
    ) -> FeatureItem:
        """Make the pair; without a label its second value is the path."""
        pair = super().__new__(cls, (features, second))
        pair.kind, pair.cfg, pair.path = kind, cfg, second if path is None else path
        return pair

    def __getnewargs__(self) -> tuple[Any, ...]:
        return (*self, self.kind, self.cfg, self.path)


class Batch(NamedTuple):
    """Clips of different length, padded with silence."""

    features: Tensor  # [n_clips, n_rows, most_frames], or with `time_major` [n_clips, most_frames, n_rows]
    n_frames: Tensor  # [n_clips]
    paths: list[str]

    @property
    def mask(self) -> Tensor:
        """Bool [n_clips, most_frames], true at a clip's own frames."""
        return torch.arange(int(self.n_frames.max()), device=self.n_frames.device) < self.n_frames[:, None]


class LabelledBatch(NamedTuple):
    """Clips of different length, padded with silence, and their labels."""

    features: Tensor  # those of `Batch`
    labels: Tensor | list[str]  # [n_clips, ...], int64 for numbers of classes; or texts
    n_frames: Tensor  # [n_clips]
    paths: list[str]

    @property
    def mask(self) -> Tensor:
        """Bool [n_clips, most_frames], true at a clip's own frames."""
        return Batch(self.features, self.n_frames, self.paths).mask


class FeatureDataset(Dataset[tuple[Tensor, Any]]):
    """The recordings of a store that could be extracted, as pairs of features [n_rows, n_frames] and path, or label.

    Where the store's config has `time_major`, features are [n_frames, n_rows], in a batch as well.

    The features are memory-mapped: only what a batch takes is read. Changing them in place changes no file. Each
    recording's are compared with their checksum when they are first taken; a `CumelError` says when they differ.

    Parameters
    ----------
    folder : path
        The store.
    check : bool
        Whether to compare features with their checksums.
    labels : str, callable or mapping, optional
        What stands in a pair instead of the path. A name of a column of the store's index, such as ``"label"``: the
        number of the value among the sorted values, `classes`. A callable gets the row of the index. A mapping has the
        label of each path.
    transform : callable, optional
        Changes each recording's features, a tensor [n_rows, n_frames].

    Attributes
    ----------
    classes : tuple of str
        Names of the labels, by number; empty unless `labels` is a column.

    Raises
    ------
    CumelError
        When `labels` is no column, or a recording that was extracted has no value in it.

    Examples
    --------
    ``DataLoader(FeatureDataset("features", labels="label"), batch_size=32, shuffle=True, collate_fn=pad)``
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        check: bool = True,
        labels: str | Callable[[Row], Any] | Mapping[str, Any] | None = None,
        transform: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.store = Store(folder, mode="c", check=check)
        usable = pc.not_equal(self.store.index["status"], "error")  # pyright: ignore[reportAttributeAccessIssue]
        self._rows = torch.from_numpy(usable.to_numpy().copy()).nonzero()[:, 0]
        self.labels, self.transform = labels, transform
        self.classes: tuple[str, ...] = ()
        self._targets: NDArray[np.int64] | None = None
        if isinstance(labels, str):
            self._targets, self.classes = self._numbered(labels)

    def _numbered(self, column: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Return the number of each row's label, and the names of the labels."""
        index = self.store.index
        if column not in index.column_names:
            raise CumelError(
                f"{self.store.folder}: has no column {column}; it has {', '.join(index.column_names)}. Extract from a "
                "table that has it, or from a folder per class"
            )
        targets, names = targets_of(index[column].cast("string"))
        missing = [int(row) for row in self._rows if targets[int(row)] < 0]
        if missing:
            raise CumelError(
                f"{self.store.folder}: {len(missing)} recordings have no {column}, such as "
                f"{self.store.row(missing[0])['path']}; label them, or leave them out"
            )
        return targets, tuple(names)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> FeatureItem:
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        number, config = int(self._rows[number]), self.store.config
        row, features = self.store.row(number), torch.from_numpy(self.store[number])
        features = features if self.transform is None else self.transform(features)
        path, second = row["path"], row["path"]
        if self._targets is not None:
            second = int(self._targets[number])
        elif callable(self.labels):
            second = self.labels(row)
        elif isinstance(self.labels, Mapping):
            if path not in self.labels:
                raise CumelError(f"{path}: has no label in the mapping; add one, or leave the recording out")
            second = self.labels[path]
        return FeatureItem(features, second, config.kind, config.features, path)


def pad(batch: Sequence[tuple[Tensor, Any]]) -> Batch | LabelledBatch:
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
    LabelledBatch
        For pairs with labels: a tuple of ``features``, ``labels`` [n_clips], ``n_frames`` and ``paths``.
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
    features = _rows_first(features, batch[0]).contiguous()
    seconds = [second for _, second in batch]
    paths = [
        item.path if isinstance(item, FeatureItem) else second for item, second in zip(batch, seconds, strict=True)
    ]
    if seconds == paths:
        return Batch(features, n_frames, seconds)
    if not isinstance(seconds[0], str):
        seconds = torch.stack(seconds) if isinstance(seconds[0], Tensor) else torch.as_tensor(np.asarray(seconds))
    return LabelledBatch(features, seconds, n_frames, paths)


def _rows_first(features: Tensor, item: tuple[Tensor, Any]) -> Tensor:
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
