"""What a run trains and tests on: the features of every clip, and its samples where each step computes fresh ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...kernels import CumelError, InputError
from ..audio import fit_length, load_all
from ..datasets import FEATURES, Esc50
from ..store import Store
from ..system import defaults, track
from .distributed import SOLO, World
from .recipes import Recipe

BATCH = 32  # clips whose features are computed in one call
FULL_SCALE = 32768  # of int16


@dataclass(frozen=True)
class Material:
    """Of every clip, in the order of `Esc50.clips`."""

    features: NDArray  # [n_clips, 1, n_mels, n_frames]; uint8 for the image, float32 dB for logmel
    samples: NDArray[np.int16] | None = None  # [n_clips, n_samples], where the recipe changes samples

    def of(self, clips: list[int]) -> Material:
        """Return some clips' part."""
        return Material(self.features[clips], None if self.samples is None else self.samples[clips])


@defaults()
def prepare(
    data: Esc50, recipe: Recipe, workers: int, device: torch.device | None = None, world: World = SOLO
) -> Material:
    """Decode every clip, fit it to the recipe's length, and compute its features on `device`.

    The processes of a `world` decode a part each.

    Raises
    ------
    CumelError
        When recordings cannot be used, naming the first ones: a training set must be whole.
    """
    cfg, mine = recipe.features, data.clips[world.rank :: world.size]
    features = np.empty((len(mine), *recipe.input_shape), np.uint8 if recipe.kind == "image" else np.float32)
    samples = np.empty((len(mine), recipe.n_samples), np.int16) if recipe.augment == "wave" else None
    batch: list[NDArray[np.float32]] = []
    clips = load_all([clip.path for clip in mine], cfg.sr, workers)
    failures: list[str] = []
    for i, loaded in enumerate(track(clips, "features", len(mine), "clips", quiet=not world.leads)):
        if isinstance(loaded, InputError):
            failures.append(str(loaded))
            y = np.zeros(recipe.n_samples, np.float32)
        else:
            y = fit_length(loaded[0], recipe.n_samples)
        batch.append(y)
        if samples is not None:
            samples[i] = np.clip(np.rint(y * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
        if len(batch) == BATCH or i + 1 == len(mine):
            first = i + 1 - len(batch)
            features[first : i + 1, 0] = FEATURES[recipe.kind](np.stack(batch), cfg, device=device)
            batch.clear()
    if failures:
        first = "; ".join(failures[:3])
        raise CumelError(f"{data.root}: {len(failures)} of {len(data.clips)} recordings cannot be used: {first}")
    n_clips = len(data.clips)
    return Material(
        world.interleave(features, n_clips), None if samples is None else world.interleave(samples, n_clips)
    )


def stored(folder: Path, data: Esc50, recipe: Recipe) -> Material:
    """Take the features of every clip from an extracted store, whose config must be the recipe's.

    Raises
    ------
    CumelError
        When the store has other features, or a clip is missing, changed since, or not `recipe.seconds` long; or when
        the recipe changes samples, which a store does not have.
    """
    if recipe.augment == "wave":
        raise CumelError(f"--features {folder}: recipe {recipe.name} computes fresh features each step; leave it away")
    store = Store(folder)
    differing = store.config.features.differences(recipe.features)
    if store.config.kind != recipe.kind:
        differing.insert(0, f"features={store.config.kind}, not {recipe.kind}")
    if differing:
        raise CumelError(f"{folder}: recipe {recipe.name} needs other features; the store has {'; '.join(differing)}")
    dtype = np.uint8 if recipe.kind == "image" else np.float32
    out = np.empty((len(data.clips), *recipe.input_shape), dtype)
    for i, clip in enumerate(data.clips):
        row, status = store.row(clip.path), clip.path.stat()
        if (row["size"], row["mtime_ns"]) != (status.st_size, status.st_mtime_ns):
            raise CumelError(f"{clip.path}: changed since {folder} was extracted; extract it again")
        if row["status"] != "error" and row["n_samples"] != recipe.n_samples:
            raise CumelError(
                f"{clip.path}: has {row['n_samples']} samples, recipe {recipe.name} needs {recipe.n_samples}; "
                "leave --features away, so that clips are fitted"
            )
        out[i, 0] = store[clip.path]
    return Material(out)
