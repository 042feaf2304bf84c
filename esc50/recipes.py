"""What a training run does, as data: the recipes behind `cumel train --recipe`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import torch
from torch import nn

from ..kernels import PRESETS, CumelError, FeatureConfig
from .models import CompactCNN, ESC50Model

MODELS = ("esc50", "compact")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to train. Frozen and checked; every checkpoint carries its own."""

    name: str
    features: FeatureConfig
    kind: Literal["image", "logmel"]  # what the network sees: a uint8 image, or dB
    model: Literal["esc50", "compact"]
    seconds: float = 5.0  # of each clip
    epochs: int
    batch_size: int
    lr: float
    schedule: Literal["constant", "one-cycle"] = "constant"
    weight_decay: float = 0.0
    augment: bool = False  # roll, shift, gain, mixing, masks, crop; logmel only
    crop_frames: int = 160
    ema_decay: float = 0.0  # of the weights' moving average; 0: none
    views: int = 1  # rolled views averaged at test time

    def __post_init__(self) -> None:
        """Check what an option of the command line may change."""
        for name in ("epochs", "batch_size", "views", "crop_frames"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise CumelError(f"{name}={getattr(self, name)!r}: must be a whole number, 1 or more")
        for name, known in (("kind", ("image", "logmel")), ("model", MODELS), ("schedule", ("constant", "one-cycle"))):
            if getattr(self, name) not in known:
                raise CumelError(f"{name}={getattr(self, name)!r}: must be one of {', '.join(known)}")
        if self.augment and self.kind != "logmel":
            raise CumelError(f"kind={self.kind!r}: spectrograms in dB alone can be augmented")
        if not 0 <= self.ema_decay < 1 or not self.weight_decay >= 0:
            raise CumelError(f"ema_decay={self.ema_decay!r}, weight_decay={self.weight_decay!r}: must be 0 or more")
        if not 0 < self.lr < math.inf:
            raise CumelError(f"lr={self.lr!r}: must be above 0, and finite")
        if not self.seconds > 0:
            raise CumelError(f"seconds={self.seconds!r}: must be above 0")

    def replace(self, **changes: Any) -> Recipe:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return asdict(self) | {"features": self.features.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Build a recipe from `to_dict`'s result."""
        known = {field.name for field in fields(cls)}
        if set(values) != known:
            raise CumelError(f"recipe: fields {sorted(set(values) ^ known)} are missing or unknown to this version")
        return cls(**{**values, "features": FeatureConfig.from_dict(values["features"])})

    def differences(self, other: Recipe) -> list[str]:
        """Name each field that differs, as ``name=mine, not theirs``."""
        mine, theirs = self.to_dict(), other.to_dict()
        differing = [f"{k}={mine[k]}, not {theirs[k]}" for k in mine if k != "features" and mine[k] != theirs[k]]
        return differing + self.features.differences(other.features)

    @property
    def n_samples(self) -> int:
        """Samples of each clip."""
        return round(self.seconds * self.features.sr)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, mel bands and frames that the network sees."""
        return 1, self.features.n_mels, self.features.n_frames(self.n_samples)

    def build(self, n_classes: int, mean: float = 0.0, std: float = 1.0) -> nn.Module:
        """Make the network, its weights drawn from torch's global generator."""
        if self.model == "esc50":
            return ESC50Model(self.input_shape, self.batch_size, n_classes)
        return CompactCNN(mean, std, n_classes)

    def optimizer(self, net: nn.Module) -> torch.optim.Optimizer:
        """Make Adam, or AdamW where weights decay."""
        kind = torch.optim.AdamW if self.weight_decay else torch.optim.Adam
        return kind(net.parameters(), lr=self.lr, weight_decay=self.weight_decay, fused=True)


_QUICK = Recipe(
    name="quick",
    features=PRESETS["compact"],
    kind="logmel",
    model="compact",
    epochs=90,
    batch_size=32,
    lr=3e-3,
    schedule="one-cycle",
    weight_decay=1e-2,
    augment=True,
    ema_decay=0.995,
    views=5,
)

RECIPES: dict[str, Recipe] = {
    # The student report: min-max images, cross-entropy, Adam at a constant rate, 20 epochs.
    "document": Recipe(
        name="document", features=PRESETS["esc50"], kind="image", model="esc50", epochs=20, batch_size=16, lr=2e-4
    ),
    "quick": _QUICK,
    "best": _QUICK.replace(name="best", epochs=190),  # the same for longer: all that is known to help so far
}
