"""Extracted features on disk: packed shards, an index with a row per recording, and the config that made them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..kernels import CumelError, FeatureConfig
from .files import replacing

FORMAT = 1
CONFIG, INDEX = "config.json", "index.parquet"
SCHEMA = pa.schema(
    [
        ("path", pa.string()),  # absolute
        ("size", pa.int64()),  # bytes
        ("mtime_ns", pa.int64()),
        ("sr", pa.int32()),  # of the features, Hz
        ("n_samples", pa.int64()),  # at sr
        ("shard", pa.int32()),
        ("offset", pa.int64()),  # first frame in the shard
        ("n_frames", pa.int64()),
        ("status", pa.string()),  # ok, silent or error
        ("error", pa.string()),
    ]
)


@dataclass(frozen=True)
class StoreConfig:
    """What a store holds. Two stores with equal configs hold comparable numbers."""

    kind: str  # logmel, mel, stft, mfcc or image
    dtype: str  # of the shards
    features: FeatureConfig
    versions: dict[str, str]
    device: str

    def save(self, folder: Path) -> None:
        """Write config.json."""
        values = {"format": FORMAT, **vars(self), "features": self.features.to_dict()}
        with replacing(folder / CONFIG) as part:
            part.write_text(json.dumps(values, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> StoreConfig:
        """Read config.json; a `CumelError` when there is none, or a damaged one."""
        path = folder / CONFIG
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
        pairs = (("features", self.kind, other.kind), ("dtype", self.dtype, other.dtype))
        differing = [f"{name}={mine}, not {theirs}" for name, mine, theirs in pairs if mine != theirs]
        return differing + self.features.differences(other.features)


def is_store(folder: Path) -> bool:
    """Whether config.json is one of ours, of whatever version: then the folder may be overwritten."""
    try:
        return {"format", "kind", "features"} <= set(json.loads((folder / CONFIG).read_text()))
    except (OSError, ValueError, TypeError):
        return False


def key_of(path: Path | str) -> str:
    """Return a recording's name in the index: its real path, whatever is not UTF-8 in it escaped."""
    return os.fsencode(os.path.realpath(path)).decode("utf-8", "backslashreplace")


def shard_path(folder: Path, number: int) -> Path:
    """Name of a shard."""
    return folder / f"features-{number:05d}.npy"


def write_shard(folder: Path, number: int, parts: list[NDArray]) -> None:
    """Write clips' features ``[n_rows, n_frames]`` as one array ``[total_frames, n_rows]``, each frame contiguous."""
    with replacing(shard_path(folder, number)) as part, part.open("wb") as file:
        np.save(file, np.concatenate([one.T for one in parts]))


def write_index(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write the index."""
    with replacing(folder / INDEX) as part:
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), part)


def read_index(folder: Path) -> list[dict[str, Any]]:
    """Read the index as a list of rows; a `CumelError` when it is missing or damaged."""
    try:
        return pq.read_table(folder / INDEX).to_pylist()
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise CumelError(
            f"{folder / INDEX}: not a usable index ({reason}); extract it again with --overwrite"
        ) from None


class Store:
    """Random access to extracted features, memory-mapped.

    Parameters
    ----------
    folder : path

    Examples
    --------
    ``Store("features")["dog.wav"]`` is the array [n_rows, n_frames] of that recording; a row number works as well.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.config = StoreConfig.load(self.folder)
        self.rows = read_index(self.folder)
        self._row_of = {row["path"]: number for number, row in enumerate(self.rows)}
        self._shards: dict[int, NDArray] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, key: int | Path | str) -> dict[str, Any]:
        """Return the index row of a recording, by row number or path."""
        if isinstance(key, int):
            return self.rows[key]
        number = self._row_of.get(key_of(key))
        if number is None:
            raise CumelError(f"{self.folder}: has no features of {key}; extract them first")
        return self.rows[number]

    def __getitem__(self, key: int | Path | str) -> NDArray:
        row = self.row(key)
        if row["status"] == "error":
            raise CumelError(f"{self.folder}: {row['path']} could not be extracted: {row['error']}")
        number = row["shard"]
        if number not in self._shards:
            try:
                self._shards[number] = np.load(shard_path(self.folder, number), mmap_mode="r")
            except (OSError, ValueError) as error:
                raise CumelError(f"{shard_path(self.folder, number)}: {error}; extract it again") from None
        return self._shards[number][row["offset"] : row["offset"] + row["n_frames"]].T
