"""The clips that a run trains and tests on, as features and samples, and the batches of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ...kernels import CumelError, InputError
from ...kernels.arrays import rows_first
from ..audio import fit_length, load_all
from ..datasets import FEATURES, Esc50
from ..store import Store
from ..system import defaults, track
from .augment import spectrogram, waveform
from .distributed import SOLO, World
from .recipes import Recipe

BATCH = 32  # clips whose features are computed in one call
FULL_SCALE = 32768  # full scale of int16


@dataclass(frozen=True)
class TrainingData:
    """The features, and maybe the samples, of every clip, in the order of `Esc50.clips`."""

    features: NDArray  # [n_clips, 1, n_mels, n_frames]; uint8 for the image, float32 dB for logmel
    samples: NDArray[np.int16] | None = None  # [n_clips, n_samples]; None unless the recipe changes samples

    def of(self, clips: list[int]) -> TrainingData:
        """Return the data of these clips."""
        return TrainingData(self.features[clips], None if self.samples is None else self.samples[clips])


@defaults()
def prepare(
    data: Esc50, recipe: Recipe, workers: int, device: torch.device | None = None, world: World = SOLO
) -> TrainingData:
    """Decode every clip, fit it to the recipe's length, and compute its features on `device`.

    Each process of a `world` decodes a part of the clips, and gets the data of all.

    Raises
    ------
    CumelError
        When recordings cannot be used, naming the first ones: a training set must be whole.
    """
    cfg, part = recipe.features, data.clips[world.rank :: world.size]
    features = np.empty((len(part), *recipe.input_shape), np.uint8 if recipe.kind == "image" else np.float32)
    samples = np.empty((len(part), recipe.n_samples), np.int16) if recipe.augment == "wave" else None
    batch: list[NDArray[np.float32]] = []
    clips = load_all([clip.path for clip in part], cfg.sr, workers)
    failures: list[str] = []
    for i, loaded in enumerate(track(clips, "features", len(part), "clips", quiet=not world.is_main)):
        if isinstance(loaded, InputError):
            failures.append(str(loaded))
            y = np.zeros(recipe.n_samples, np.float32)
        else:
            y = fit_length(loaded[0], recipe.n_samples)
        batch.append(y)
        if samples is not None:
            samples[i] = np.clip(np.rint(y * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
        if len(batch) == BATCH or i + 1 == len(part):
            first = i + 1 - len(batch)
            features[first : i + 1, 0] = FEATURES[recipe.kind](np.stack(batch), cfg, device=device)
            batch.clear()
    if failures:
        first = "; ".join(failures[:3])
        raise CumelError(f"{data.root}: {len(failures)} of {len(data.clips)} recordings cannot be used: {first}")
    n_clips = len(data.clips)
    return TrainingData(
        world.interleave(features, n_clips), None if samples is None else world.interleave(samples, n_clips)
    )


def from_store(folder: Path, data: Esc50, recipe: Recipe) -> TrainingData:
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
    differing = store.config.features.replace(time_major=False).differences(recipe.features)
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
        out[i, 0] = rows_first(store[clip.path], store.config.features)
    return TrainingData(out)


class Batches:
    """Makes the batches of each epoch; all clips stay on the device, samples as int16.

    Parameters
    ----------
    training_data : TrainingData
        The training clips.
    targets : list of int
        The clips' classes.
    n_classes : int
    recipe : Recipe
    device : torch.device
    world : World
        The processes that train together; each gets its part of every batch.
    """

    def __init__(
        self,
        training_data: TrainingData,
        targets: list[int],
        n_classes: int,
        recipe: Recipe,
        device: torch.device,
        world: World,
    ) -> None:
        clips = training_data.features if recipe.augment != "wave" else training_data.samples
        if clips is None:
            raise CumelError(f"recipe {recipe.name} changes samples; features alone will not do")
        self.recipe, self.device, self.world = recipe, device, world
        self.clips = torch.from_numpy(clips).to(device)
        self.labels = F.one_hot(torch.tensor(targets), n_classes).float().to(device)
        self.n_batches = -(-len(targets) // recipe.batch_size)
        if len(targets) // self.n_batches < world.size:
            raise CumelError(
                f"batch_size={recipe.batch_size}: batches of {len(targets) // self.n_batches} clips do not do for "
                f"{world.size} processes; use larger ones, or fewer processes"
            )

    def epoch(self, order: torch.Generator, mixing: bool) -> Iterator[tuple[Tensor, Tensor, float]]:
        """Yield batches in a random order: features, soft labels, and the weight of this process's loss.

        The clips are dealt into batches of nearly equal size: none is left out, and no last batch is tiny. The weight
        is the number of this process's clips / (clips of the batch / processes): 1.0 where all parts are equal.
        """
        shuffled = torch.randperm(len(self.clips), generator=order).to(self.device)
        for batch in shuffled.tensor_split(self.n_batches):
            part = self.world.part(batch)
            x, labels = self._changed(self.clips[part], self.labels[part], mixing)
            yield x, labels, len(part) * self.world.size / len(batch)

    def _changed(self, clips: Tensor, labels: Tensor, mixing: bool) -> tuple[Tensor, Tensor]:
        if self.recipe.augment == "none":
            return clips.float(), labels
        change = changed_samples if self.recipe.augment == "wave" else changed_features
        return change(clips, labels, self.recipe, mixing)


def changed_features(x: Tensor, labels: Tensor, recipe: Recipe, mixing: bool) -> tuple[Tensor, Tensor]:
    """Change a batch of log-mel spectrograms; `mixing` also crops, mixes and masks it."""
    cfg = recipe.features
    levels = cfg.levels
    per_db = levels.gain / cfg.db_per_decade  # The changes are made in dB, whatever logarithm the features have.
    x = (x + levels.shift) / per_db
    x = spectrogram.crop(x, recipe.crop_frames) if mixing and recipe.crops else spectrogram.roll(x)
    x = spectrogram.gain(spectrogram.shift_bands(x))
    if mixing:
        x, labels = spectrogram.mix(x, labels)
        x = spectrogram.mask(x)
    return x * per_db - levels.shift, labels


def changed_samples(y: Tensor, labels: Tensor, recipe: Recipe, mixing: bool) -> tuple[Tensor, Tensor]:
    """Change a batch of int16 samples and compute its features; `mixing` also changes speed, crops, mixes and masks."""
    cfg = recipe.features
    y = waveform.gain(waveform.roll(y.float() / FULL_SCALE))
    if mixing:
        y = waveform.speed(y)
        if recipe.crops:
            n_samples = (recipe.crop_frames - 1) * cfg.hop_length
            y = waveform.pad_crop(y, min(n_samples, y.shape[1]), pad=cfg.sr // 4)
        y, labels = waveform.mix(y, labels, cfg.sr)
    x = FEATURES[recipe.kind](y, cfg)[:, None]
    if mixing:
        x, labels = spectrogram.mix_time(*spectrogram.mix_bands(x, labels, share=0.1), share=0.1)
        x = spectrogram.mask(x, n_bands=cfg.n_mels // 8)
    return x, labels
