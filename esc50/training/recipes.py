"""Recipes: the settings of a training run, for `cumel train --recipe`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from ...kernels import PRESETS, CumelError, FeatureConfig
from ..system import defaults

if TYPE_CHECKING:
    import torch
    from torch import nn

# The networks by name, and whether each takes clips of another length than its input shape's. They are here, and not in
# `models`, since an exported model's recipe is read without torch.
ANY_LENGTH = {"esc50": False, "esc50-pool": True, "compact": True, "residual": True, "residual-large": True}
CHOICES = {
    "kind": ("image", "logmel"),
    "model": tuple(ANY_LENGTH),
    "schedule": ("constant", "one-cycle"),
    "augment": ("none", "mel", "wave"),
    "precision": ("fp32", "bf16"),
    "balance": ("none", "weights", "sampling"),
    "loss": ("cross-entropy", "bce"),
}

# Beyond these a number is a slip, or comes from a damaged file.
MOST = {"epochs": 10**6, "batch_size": 10**6, "views": 1000, "crop_frames": 10**6, "test_every": 10**6}
MOST["patience"] = 10**6
MOST_SECONDS = 3600.0
ADDED = {"balance", "loss", "patience", "validation", "freeze"}  # fields that recipes of version 1 lack


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to train. Frozen and checked; every checkpoint carries its own."""

    name: str
    features: FeatureConfig  # always without `time_major`
    kind: Literal["image", "logmel"]  # input of the network: a uint8 image, or dB
    model: str  # one of `ANY_LENGTH`
    seconds: float = 5.0  # length of each clip
    epochs: int
    batch_size: int  # clips per step, of all processes together
    lr: float
    schedule: Literal["constant", "one-cycle"] = "constant"
    weight_decay: float = 0.0
    augment: Literal["none", "mel", "wave"] = "none"  # changes to cached spectrograms (mel) or samples (wave)
    crop_frames: int = 160  # length of an augmented clip
    ema_decay: float = 0.0  # decay of the weights' moving average; 0: no average
    views: int = 1  # rolled views averaged at test time
    test_every: int = 1  # epochs between two tests; the last epoch is always tested
    precision: Literal["fp32", "bf16"] = "fp32"  # bf16 wherever the device computes faster in it
    needs_gpu: bool = False  # hours on a CPU: it must be asked for by --device cpu
    balance: Literal["none", "weights", "sampling"] = "none"  # rare classes weigh more in the loss, or come more often
    loss: Literal["cross-entropy", "bce"] = "cross-entropy"  # "bce": a clip has any number of labels
    patience: int = 0  # epochs without a lower validation loss after which training stops; 0: it never does
    validation: float = 0.1  # share of the training clips that patience watches, where the data has no valid split
    freeze: bool = False  # train the last layer alone

    def __post_init__(self) -> None:
        """Check types and ranges, as values come from the command line and from files."""
        if not isinstance(self.name, str):
            raise CumelError(f"name={self.name!r}: must be a text")
        for name in ("needs_gpu", "freeze"):
            if not isinstance(getattr(self, name), bool):
                raise CumelError(f"{name}={getattr(self, name)!r}: must be true or false")
        for name, most in MOST.items():
            value = getattr(self, name)
            least = 0 if name == "patience" else 1
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise CumelError(f"{name}={value!r}: must be a whole number, {least} or more, at most {most}")
        for name, known in CHOICES.items():
            if not isinstance(getattr(self, name), str) or getattr(self, name) not in known:
                raise CumelError(f"{name}={getattr(self, name)!r}: must be one of {', '.join(known)}")
        for name in ("seconds", "lr", "weight_decay", "ema_decay", "validation"):
            if not isinstance(getattr(self, name), int | float) or isinstance(getattr(self, name), bool):
                raise CumelError(f"{name}={getattr(self, name)!r}: must be a number")
        if self.features.time_major:  # Networks see [n_mels, n_frames]; the numbers are the same.
            object.__setattr__(self, "features", self.features.replace(time_major=False))
        if self.augment == "mel" and (self.features.log is None or self.features.is_per_band):
            why = f"log={self.features.log}" if self.features.log is None else "normalize, or mean or std of each band"
            raise CumelError(f"augment='mel': changes levels, which features with {why} have not; use wave or none")
        if self.augment != "none" and self.kind != "logmel":
            raise CumelError(f"kind={self.kind!r}: spectrograms in dB alone can be augmented")
        if not 0 <= self.ema_decay < 1 or not 0 <= self.weight_decay < math.inf:
            raise CumelError(f"ema_decay={self.ema_decay!r}, weight_decay={self.weight_decay!r}: must be 0 or more")
        if not 0 < self.validation <= 0.5:
            raise CumelError(f"validation={self.validation!r}: must be above 0, and 0.5 or less")
        if not 0 < self.lr < math.inf:
            raise CumelError(f"lr={self.lr!r}: must be above 0, and finite")
        if not self.seconds > 0:
            raise CumelError(f"seconds={self.seconds!r}: must be above 0")
        if not self.seconds <= MOST_SECONDS:
            raise CumelError(f"seconds={self.seconds!r}: must be at most {MOST_SECONDS:g}")

    def replace(self, **changes: Any) -> Recipe:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return asdict(self) | {"features": self.features.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Build a recipe from `to_dict`'s result, or an earlier version's, which lacks the settings that were added."""
        if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
            raise CumelError(f"recipe: expected named fields, got {type(values).__name__}")
        known = {field.name for field in fields(cls)}
        differing = known - ADDED - set(values) | set(values) - known
        if differing:
            raise CumelError(f"recipe: fields {sorted(differing)} are missing or unknown to this version")
        name = values["name"]
        name = ALIASES.get(name, name) if isinstance(name, str) else name
        return cls(**{**values, "name": name, "features": FeatureConfig.from_dict(values["features"])})

    def differences(self, other: Recipe) -> list[str]:
        """List the fields that differ, as ``name=own value, not other's``."""
        values, others = self.to_dict(), other.to_dict()
        names = [name for name in values if name != "features" and values[name] != others[name]]
        differing = [f"{name}={values[name]}, not {others[name]}" for name in names]
        return differing + self.features.differences(other.features)

    @property
    def n_samples(self) -> int:
        """Samples of each clip."""
        return round(self.seconds * self.features.sr)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, mel bands and frames that the network sees."""
        return 1, self.features.n_mels, self.features.n_frames(self.n_samples)

    @property
    def crops(self) -> bool:
        """Whether augmented batches are shorter than a clip: the baseline's flatten layer fits one length only."""
        return ANY_LENGTH[self.model]

    @defaults()
    def build(self, n_classes: int, mean: float = 0.0, std: float = 1.0) -> nn.Module:
        """Make the network, its weights drawn from torch's global generator."""
        from .models import MODELS

        return MODELS[self.model].build(self.input_shape, n_classes, mean, std)

    def optimizer(self, net: nn.Module) -> torch.optim.Optimizer:
        """Make Adam, or AdamW where weights decay, for the weights that learn."""
        import torch

        kind = torch.optim.AdamW if self.weight_decay else torch.optim.Adam
        learning = [weight for weight in net.parameters() if weight.requires_grad]
        return kind(learning, lr=self.lr, weight_decay=self.weight_decay, fused=True)

    def scheduler(self, optimizer: torch.optim.Optimizer, n_batches: int) -> torch.optim.lr_scheduler.OneCycleLR | None:
        """Make the schedule of the learning rate, which is stepped after every batch; None for a constant rate."""
        if self.schedule == "constant":
            return None
        import torch

        return torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=self.epochs * n_batches)


_QUICK = Recipe(
    name="quick",
    features=PRESETS["compact"],
    kind="logmel",
    model="residual",
    epochs=200,
    batch_size=32,
    lr=3e-3,
    schedule="one-cycle",
    weight_decay=1e-2,
    augment="mel",
    crop_frames=128,
    ema_decay=0.995,
    views=10,
    test_every=10,
    precision="bf16",
)

ALIASES = {"document": "baseline"}  # earlier names; checkpoints and models of then have them

RECIPES: dict[str, Recipe] = {
    # The student report: min-max images, cross-entropy, Adam at a constant rate, 20 epochs. It does not give the rate:
    # its flatten layer sums 217,000 inputs, and at 2e-4 one step makes them jump.
    "baseline": Recipe(
        name="baseline", features=PRESETS["esc50"], kind="image", model="esc50", epochs=20, batch_size=16, lr=2e-5
    ),
    "quick": _QUICK,
    # For a GPU: samples are mixed and changed before each step computes fresh features of the whole audible range.
    "best": _QUICK.replace(
        name="best",
        features=PRESETS["esc50"].replace(fmax=20000.0),
        model="residual-large",
        epochs=1000,
        batch_size=64,
        lr=2e-3,
        weight_decay=5e-2,
        augment="wave",
        crop_frames=320,
        ema_decay=0.999,
        test_every=50,
        needs_gpu=True,
    ),
}
