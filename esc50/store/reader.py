"""Extracted features on disk: the config that made them, and random access to them."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ...kernels import CumelError, FeatureConfig
from ..files import replacing
from .lookup import Lookup
from .rows import upgraded
from .shards import INDEX, SCHEMA, Row, merged, shard_path, sidecars

FORMAT = 2
CONFIG = "config.json"
MOST_NAMED = 5  # recordings that an error lists
OPEN_SHARDS = 64  # that are memory-mapped at a time; each takes a file handle


@dataclass(frozen=True)
class StoreConfig:
    """What a store holds. Two stores with equal configs hold comparable numbers."""

    kind: str  # logmel, mel, stft, mfcc or image
    dtype: str  # of the shards
    features: FeatureConfig
    versions: dict[str, str]
    device: str
    decoder: str
    resampler: str  # for recordings of another rate

    def save(self, folder: Path, name: str = CONFIG) -> None:
        """Write config.json, or a file of another name."""
        values = {"format": FORMAT, **vars(self), "features": self.features.to_dict()}
        with replacing(folder / name) as part:
            part.write_text(json.dumps(values, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path, name: str = CONFIG) -> StoreConfig:
        """Read config.json, or a file of another name; a `CumelError` when there is none, or a damaged one."""
        path = folder / name
        try:
            values = json.loads(path.read_text())
            if values.pop("format") != FORMAT:
                raise CumelError("another version's store; extract it again")
            return cls(**{**values, "features": FeatureConfig.from_dict(values["features"])})
        except CumelError as error:
            raise CumelError(f"{path}: {error}") from None
        except FileNotFoundError:
            raise CumelError(
                f"{folder}: holds no extracted features; `cumel extract --out {folder}` makes them"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CumelError(f"{path}: not a usable store config ({error}); extract it again") from None

    def differences(self, other: StoreConfig) -> list[str]:
        """Name what would make the numbers differ, as ``name=mine, not theirs``."""
        names = {"features": "kind", "dtype": "dtype", "resampler": "resampler"}
        pairs = [(name, getattr(self, field), getattr(other, field)) for name, field in names.items()]
        differing = [f"{name}={mine}, not {theirs}" for name, mine, theirs in pairs if mine != theirs]
        return differing + self.features.differences(other.features)

    def notes(self, other: StoreConfig) -> list[str]:
        """Say which versions are other ones now; the numbers may differ in their last bits."""
        changed = [f"{name} {old}, now {other.versions.get(name)}" for name, old in self.versions.items()]
        return [] if self.versions == other.versions else [f"the store was begun with {', '.join(changed)}"]

    def goes_on(self, folder: Path, name: str = CONFIG) -> list[str]:
        """Return the `notes` on adding such features to a folder; a `CumelError` when it holds other ones."""
        there = StoreConfig.load(folder, name)
        differing = there.differences(self)
        if differing:
            raise CumelError(f"{folder}: holds features with {'; '.join(differing)}; --overwrite starts over")
        return there.notes(self)


def is_store(folder: Path) -> bool:
    """Whether config.json is one of ours, of whatever version: then the folder may be overwritten."""
    try:
        return {"format", "kind", "features"} <= set(json.loads((folder / CONFIG).read_text()))
    except (OSError, ValueError, TypeError):
        return False


def read_index(folder: Path) -> pa.Table:
    """Read the index; of a store that is not finished, the rows of what it has.

    Raises
    ------
    CumelError
        When it is damaged.
    """
    if not (folder / INDEX).exists():
        return pa.concat_tables(merged(sidecars(folder)))
    try:
        return upgraded(pq.read_table(folder / INDEX), SCHEMA, None)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise CumelError(
            f"{folder / INDEX}: not a usable index ({reason}); delete it and run `cumel extract` again"
        ) from None


class Store:
    """Random access to extracted features, memory-mapped: nothing is copied, and nothing read before it is used.

    A store can be pickled, and sent to other processes: each maps the files anew.

    Parameters
    ----------
    folder : path
    mode : {"r", "c"}
        Arrays that are read-only, or that may be changed in memory, but never on disk.

    Examples
    --------
    ``Store("features")["dog.wav"]`` is the array [n_rows, n_frames] of that recording; more of its path, all of it and
    a row number work as well.
    """

    def __init__(self, folder: Path | str, mode: Literal["r", "c"] = "r") -> None:
        self.folder = Path(folder)
        self.mode: Literal["r", "c"] = mode
        self.config = StoreConfig.load(self.folder)
        self.index = read_index(self.folder)
        self._shards: OrderedDict[int, NDArray] = OrderedDict()

    def __reduce__(self) -> tuple[type[Store], tuple[Path, str]]:
        return type(self), (self.folder, self.mode)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def rows(self) -> list[Row]:
        """The whole index as a list of rows; `index` is the same as a table, and a tenth of the size."""
        return self.index.to_pylist()

    @cached_property
    def _lookup(self) -> Lookup:
        return Lookup(self.index)

    def row(self, key: int | Path | str) -> Row:
        """Return the index row of a recording, by row number, path or name.

        A path is absolute, or begins at the current folder; links to the recording lead to it. A name is the row's, or
        the end of its path: ``dog.wav``, ``fold1/dog.wav``.

        Raises
        ------
        CumelError
            When there is no such recording, or several have that name; it lists them.
        """
        number = key if isinstance(key, int) else self._number(key)
        if not -len(self) <= number < len(self):
            raise IndexError(f"{self.folder}: row {number} of {len(self)}")  # what ends a loop over the store
        return self.index.slice(number % len(self), 1).to_pylist()[0]

    def _number(self, key: Path | str) -> int:
        found = self._lookup(key)
        if not len(found):
            raise CumelError(f"{self.folder}: has no features of {key}; extract them first")
        if len(found) > 1:
            names = [self.row(int(number))["path"] for number in found[:MOST_NAMED]]
            more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
            raise CumelError(
                f"{self.folder}: {len(found)} recordings are named {key}: {', '.join(names)}{more}; "
                "name one by more of its path"
            )
        return int(found[0])

    def __getitem__(self, key: int | Path | str) -> NDArray:
        row = self.row(key)
        if row["status"] == "error":
            raise CumelError(f"{self.folder}: {row['path']} could not be extracted: {row['error']}")
        return self._shard(row["shard"])[row["offset"] : row["offset"] + row["n_frames"]].T

    def _shard(self, number: int) -> NDArray:
        if number not in self._shards:
            path = shard_path(self.folder, number)
            try:
                self._shards[number] = np.load(path, mmap_mode=self.mode)
            except (OSError, ValueError) as error:
                raise CumelError(f"{path}: {error}; extract it again") from None
            if len(self._shards) > OPEN_SHARDS:
                self._shards.popitem(last=False)  # views of it keep it open as long as they live
        self._shards.move_to_end(number)
        return self._shards[number]
