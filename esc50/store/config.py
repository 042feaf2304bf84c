"""How a store's features were made: config.json, with its own checksum."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ...kernels import CumelError, FeatureConfig
from ...kernels.kinds import KINDS
from ..system import replacing

FORMAT = 3
UNCHECKED = 2  # an earlier format, without checksums
CONFIG, RAY_CONFIG = "config.json", "ray.json"
DTYPES = ("float32", "float16", "uint8", "complex64")


@dataclass(frozen=True)
class StoreConfig:
    """What a store holds. Two stores with equal configs hold comparable numbers."""

    kind: str  # logmel, mel, stft, mfcc or image
    dtype: str  # dtype of the shards
    features: FeatureConfig
    versions: dict[str, str]
    device: str
    decoder: str
    resampler: str  # library that resampled recordings of another rate
    format: int = FORMAT  # format in which the store was begun

    def __post_init__(self) -> None:
        """Check the types, as the values may come from a file."""
        for name in ("kind", "dtype", "device", "decoder", "resampler"):
            if not isinstance(getattr(self, name), str):
                raise CumelError(f"{name} is not a text")
        if self.dtype not in DTYPES:
            raise CumelError(f"dtype is not one of {', '.join(DTYPES)}")
        pairs = self.versions.items() if isinstance(self.versions, dict) else [(None, None)]
        if not all(isinstance(text, str) for pair in pairs for text in pair):
            raise CumelError("versions does not map names to texts")

    @property
    def n_rows(self) -> int:
        """Number of values per frame."""
        return KINDS[self.kind].n_rows(self.features)

    def laid_out(self, frames: NDArray) -> NDArray:
        """Return ``frames`` [n_frames, n_rows], as all shards have them, in the layout of `features`."""
        return frames if self.features.time_major else frames.T

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return {"format": self.format, **vars(self), "features": self.features.to_dict()}

    def save(self, folder: Path, name: str = CONFIG) -> None:
        """Write config.json, or a file of another name."""
        values = self.to_dict()
        values |= {} if self.format == UNCHECKED else {"crc32": _crc32(values)}
        with replacing(folder / name) as part:
            part.write_text(json.dumps(values, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path, name: str = CONFIG) -> StoreConfig:
        """Read config.json, or a file of another name; a `CumelError` when there is none, or a damaged one."""
        path = folder / name
        try:
            return cls._from_values(json.loads(path.read_bytes().decode()))
        except FileNotFoundError:
            raise CumelError(
                f"{folder}: holds no extracted features; `cumel extract --out {folder}` makes them"
            ) from None
        except OSError as error:
            raise CumelError(f"{path}: {error.strerror or error}; check the path and its permissions") from None
        except Exception as error:  # damage may raise anything
            reason = str(error) if isinstance(error, ValueError) else "no such values are ever written"
            raise CumelError(
                f"{path}: not a usable store config ({reason}); put a copy of it back, or start over with --overwrite"
            ) from None

    @classmethod
    def _from_values(cls, values: Any) -> StoreConfig:
        if not isinstance(values, dict):
            raise CumelError("it holds no named values")
        stated, version = values.pop("crc32", None), values.get("format")
        if stated is not None and stated != _crc32(values):
            raise CumelError("its checksum does not fit what it holds: it was damaged, or changed by hand")
        if version not in (FORMAT, UNCHECKED):
            raise CumelError("another version's store; extract it again")
        if version != UNCHECKED and stated is None:
            raise CumelError("its checksum is gone")
        differing = {field.name for field in fields(cls)} ^ set(values)
        if differing:
            raise CumelError(f"{', '.join(sorted(differing))}: missing, or unknown to this version")
        return cls(**{**values, "features": FeatureConfig.from_dict(values["features"])})

    def differences(self, other: StoreConfig) -> list[str]:
        """List the settings that make the numbers differ, as ``name=own value, not other's``."""
        names = {"features": "kind", "dtype": "dtype", "resampler": "resampler"}
        pairs = [(name, getattr(self, field), getattr(other, field)) for name, field in names.items()]
        differing = [f"{name}={value}, not {expected}" for name, value, expected in pairs if value != expected]
        return differing + self.features.differences(other.features)

    def notes(self, other: StoreConfig) -> list[str]:
        """Return a note if library versions have changed, as the numbers may then differ in their last bits."""
        changed = [f"{name} {old}, now {other.versions.get(name)}" for name, old in self.versions.items()]
        return [] if self.versions == other.versions else [f"the store was begun with {', '.join(changed)}"]

    def goes_on(self, folder: Path, name: str = CONFIG) -> list[str]:
        """Return the `notes` on adding such features to a folder; a `CumelError` when it holds other features."""
        existing = StoreConfig.load(folder, name)
        differing = existing.differences(self)
        if differing:
            raise CumelError(f"{folder}: holds features with {'; '.join(differing)}; --overwrite starts over")
        return existing.notes(self)


def _crc32(values: dict[str, Any]) -> int:
    """Return the checksum of a config's values, whatever the spaces between them."""
    return zlib.crc32(json.dumps(values, sort_keys=True).encode())


def is_store(folder: Path) -> bool:
    """Whether config.json is a store's, of any version, so that the folder may be overwritten."""
    try:
        return {"format", "kind", "features"} <= set(json.loads((folder / CONFIG).read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):
        return False
