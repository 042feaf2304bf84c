"""A store as a torch dataset, for a `DataLoader` with any number of workers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.compute as pc
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from .reader import Store


class FeatureDataset(Dataset[tuple[Tensor, str]]):
    """The recordings of a store that could be extracted, as pairs of features [n_rows, n_frames] and path.

    The features are memory-mapped: only what a batch takes is read. Changing them in place changes no file. Each
    recording's are compared with their checksum when they are first taken; a `CumelError` says when they differ.

    Parameters
    ----------
    folder : path
        Of the store.
    check : bool
        Whether to compare them.

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

    def __getitem__(self, number: int) -> tuple[Tensor, str]:
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        row = int(self._rows[number])
        return torch.from_numpy(self.store[row]), self.store.row(row)["path"]


def pad(batch: Sequence[tuple[Tensor, str]]) -> tuple[Tensor, Tensor, list[str]]:
    """Collate clips of different length.

    Returns
    -------
    features : Tensor [n_clips, n_rows, most_frames]
        Zeros past a clip's end.
    n_frames : Tensor [n_clips]
    paths : list of str
    """
    features = pad_sequence([one.T for one, _ in batch], batch_first=True).transpose(1, 2)
    return features, torch.tensor([one.shape[1] for one, _ in batch]), [path for _, path in batch]
