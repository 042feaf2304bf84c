"""Starting from the weights of another run, whose classes may be others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ...kernels import CumelError
from ..datasets import Dataset, Fold
from .checkpoint import Checkpoint
from .models import MODELS
from .recipes import Recipe


@dataclass(frozen=True)
class Donor:
    """A run whose weights another one starts from."""

    run: Path
    checkpoint: Checkpoint

    @classmethod
    def load(cls, run: Path, recipe: Recipe, data: Dataset, fold: Fold) -> Donor:
        """Read a run, and check that its network fits, and that it has not seen what is tested.

        Raises
        ------
        CumelError
            When there is no usable checkpoint, its features or its network differ, or it was trained on the clips of
            `fold`.
        """
        checkpoint = Checkpoint.load(run)
        theirs, differing = checkpoint.recipe, recipe.features.differences(checkpoint.recipe.features)
        for name in ("kind", "model"):
            if getattr(theirs, name) != getattr(recipe, name):
                differing.insert(0, f"{name}={getattr(recipe, name)}, not {getattr(theirs, name)}")
        if not recipe.crops and theirs.seconds != recipe.seconds:
            differing.append(f"seconds={recipe.seconds:g}, not {theirs.seconds:g}")
        if differing:
            raise CumelError(
                f"--init {run}: its network does not fit: this run has {'; '.join(differing)}; name that run's "
                f"--recipe {theirs.name} and --model {theirs.model}, or leave --init away"
            )
        if fold is not None and checkpoint.data == data.fingerprint and checkpoint.fold != fold:
            other = "nothing" if checkpoint.fold is None else f"fold {checkpoint.fold}"
            raise CumelError(
                f"--init {run}: held out {other}, so it was trained on the clips of fold {fold}, which this run is "
                "tested on; hold out what it held out, or start from a run on other data"
            )
        return cls(run, checkpoint)

    @property
    def digest(self) -> str:
        """A digest of the weights, by which a run that goes on recognises them."""
        content = hashlib.sha256()
        for name, value in sorted(self._weights().items()):
            content.update(name.encode())
            content.update(value.contiguous().numpy().tobytes())
        return content.hexdigest()

    def give(self, net: nn.Module, labels: tuple[str, ...]) -> str:
        """Copy the weights into a new network, its last layer only where the classes are the same; says what was."""
        head = f"{MODELS[self.checkpoint.recipe.model].head}."
        same = labels == self.checkpoint.labels
        taken = {name: value for name, value in self._weights().items() if same or not name.startswith(head)}
        try:
            left, _ = net.load_state_dict(taken, strict=False)
        except RuntimeError:  # torch's, for shapes that differ
            left = [""]
        if any(not name.startswith(head) or same for name in left):
            raise CumelError(f"--init {self.run}: its weights do not fit its recipe; train it again")
        kept = "its classes are the same" if same else f"the last layer is new: {len(labels)} classes of this data"
        return f"starts from {self.run} (recipe {self.checkpoint.recipe.name}, epoch {self.checkpoint.epoch}); {kept}"

    def _weights(self) -> dict[str, Any]:
        return self.checkpoint.network().state_dict()


def freeze(net: nn.Module, model: str) -> None:
    """Let the last layer alone learn."""
    head = getattr(net, MODELS[model].head)
    for weight in net.parameters():
        weight.requires_grad_(False)
    for weight in head.parameters():
        weight.requires_grad_(True)


def training_mode(net: nn.Module) -> None:
    """Put a network into training mode, but not the layers whose weights are frozen: their statistics stay."""
    net.train()
    for layer in net.modules():
        weights = list(layer.parameters(recurse=False))
        if isinstance(layer, nn.modules.batchnorm._NormBase) and not any(weight.requires_grad for weight in weights):
            layer.eval()
