"""Untrained networks whose answers depend on their input, as runs, and clips for them."""

from pathlib import Path

import numpy as np
import torch

from cumel.esc50.datasets import FEATURES
from cumel.esc50.training.checkpoint import Checkpoint
from cumel.esc50.training.recipes import Recipe

from support.recordings import tiny_checkpoint, tone, write

LABELS = ("dog", "crow", "naïve 猫")
SPREAD = 3.0  # standard deviation of a class's score over the clips


def lively_run(folder: Path, recipe: Recipe, seed: int = 3) -> Path:
    """Save an untrained network whose batch statistics are no identities, and whose answers depend on its input."""
    torch.manual_seed(seed)
    tiny_checkpoint(folder, recipe, LABELS)
    checkpoint = Checkpoint.load(folder)
    for name, value in checkpoint.model.items():
        if name.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif name.endswith("running_var"):
            value.uniform_(0.1, 0.5)
        elif name in ("mean", "std"):
            value.fill_({"mean": -40.0, "std": 20.0}[name])
    bias, weight = list(checkpoint.model)[-1], list(checkpoint.model)[-2]
    with torch.no_grad():  # centre and spread the answers, so that every class comes up
        logits = checkpoint.network()(torch.from_numpy(features(clips(recipe, 16), recipe)))
        scale = SPREAD / logits.std(dim=0).mean()
        checkpoint.model[weight] *= scale
        checkpoint.model[bias] -= logits.mean(dim=0)
        checkpoint.model[bias] *= scale
    checkpoint.save(folder)
    return folder


def clips(recipe: Recipe, n: int) -> np.ndarray:
    """Return a short tone in noise [n, n_samples], each clip with a pitch, a time and a level of its own."""
    rng = np.random.default_rng(3)
    made = np.empty((n, recipe.n_samples), np.float32)
    for y in made:
        y[:] = rng.normal(0, 10.0 ** rng.uniform(-4, -1), recipe.n_samples)
        at, sound = rng.integers(4000), tone(rng.uniform(0.05, 0.5), 8000, rng.uniform(100, 3800))
        y[at : at + len(sound)] += sound
    return made


def features(y: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Return what training makes of clips of the recipe's length [n, 1, n_mels, n_frames]."""
    return FEATURES[recipe.kind](y, recipe.features)[:, None].astype(np.float32)


def recordings(folder: Path, recipe: Recipe, n: int = 40) -> list[Path]:
    """Write clips as files of another length than the recipe's."""
    return [write(folder / f"{i:02}.wav", y[: -100 * (i % 5) or None]) for i, y in enumerate(clips(recipe, n))]
