"""The clips that a run trains and tests on, as features and samples, and the batches of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...kernels import CumelError, InputError
from ...kernels.arrays import rows_first
from ..audio import fit_length
from ..datasets import FEATURES, VALID, Dataset, Fold, waveforms
from ..store import Store
from ..system import defaults, track
from .augment import spectrogram, waveform
from .distributed import SOLO, World
from .recipes import Recipe
from .stored import check_same

BATCH = 32  # clips whose features are computed in one call
FULL_SCALE = 32768  # full scale of int16


@dataclass(frozen=True)
class TrainingData:
    """The features, and maybe the samples, of every clip, in the order of `Dataset.clips`."""

    features: NDArray  # [n_clips, 1, n_mels, n_frames]; uint8 for the image, float32 dB for logmel
    samples: NDArray[np.int16] | None = None  # [n_clips, n_samples]; None unless the recipe changes samples

    def of(self, clips: list[int]) -> TrainingData:
        """Return the data of these clips."""
        return TrainingData(self.features[clips], None if self.samples is None else self.samples[clips])


@defaults()
def prepare(
    data: Dataset, recipe: Recipe, workers: int, device: torch.device | None = None, world: World = SOLO
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
    batch: dict[int, NDArray[np.float32]] = {}  # position in `part` -> samples
    failures: list[str] = []
    clips = waveforms(part, cfg.sr, workers)
    for n, (i, y) in enumerate(track(clips, "features", len(part), "clips", quiet=not world.is_main), start=1):
        if isinstance(y, InputError):
            failures.append(str(y))
            batch[i] = np.zeros(recipe.n_samples, np.float32)
        else:
            batch[i] = fit_length(y, recipe.n_samples)
        if samples is not None:
            samples[i] = np.clip(np.rint(batch[i] * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
        if len(batch) == BATCH or n == len(part):
            features[list(batch), 0] = FEATURES[recipe.kind](np.stack(list(batch.values())), cfg, device=device)
            batch.clear()
    if failures:
        first = "; ".join(failures[:3])
        raise CumelError(f"{data.root}: {len(failures)} of {len(data.clips)} recordings cannot be used: {first}")
    n_clips = len(data.clips)
    return TrainingData(
        world.interleave(features, n_clips), None if samples is None else world.interleave(samples, n_clips)
    )


def from_store(folder: Path, data: Dataset, recipe: Recipe) -> TrainingData:
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
        if clip.start or clip.end is not None:
            raise CumelError(f"--features {folder}: {clip.where} is a part of a recording; leave --features away")
        row = store.row(clip.path)
        check_same(row, clip.path, folder)
        if row["status"] != "error" and row["n_samples"] != recipe.n_samples:
            raise CumelError(
                f"{clip.path}: has {row['n_samples']} samples, recipe {recipe.name} needs {recipe.n_samples}; "
                "leave --features away, so that clips are fitted"
            )
        out[i, 0] = rows_first(store[clip.path], store.config.features)
    return TrainingData(out)


def set_aside(
    data: Dataset, train_set: list[int], fold: Fold, recipe: Recipe, seed: int
) -> tuple[list[int], list[int]]:
    """Return the clips to learn from, and those on which patience watches the loss: none where there is no patience.

    Raises
    ------
    CumelError
        When there are too few clips.
    """
    if not recipe.patience:
        return train_set, []
    valid = [] if fold == VALID else data.valid
    taught = sorted({*train_set} - {*valid})
    if not valid:
        taught, valid = data.inner(train_set, seed, recipe.validation)
    if not valid or not taught:
        raise CumelError(
            f"{data.source}: {len(train_set)} clips are too few to set some aside for --patience; leave it away"
        )
    return taught, valid


class Batches:
    """Makes the batches of each epoch; all clips stay on the device, samples as int16.

    Parameters
    ----------
    training_data : TrainingData
        The training clips.
    hot : ndarray [n_clips, n_classes], float32
        1 where a clip has a label, else 0.
    recipe : Recipe
    device : torch.device
    world : World
        The processes that train together; each gets its part of every batch.
    """

    def __init__(
        self,
        training_data: TrainingData,
        hot: NDArray[np.float32],
        recipe: Recipe,
        device: torch.device,
        world: World,
    ) -> None:
        clips = training_data.features if recipe.augment != "wave" else training_data.samples
        if clips is None:
            raise CumelError(f"recipe {recipe.name} changes samples; features alone will not do")
        self.recipe, self.device, self.world = recipe, device, world
        self.clips = torch.from_numpy(clips).to(device)
        self.labels = torch.from_numpy(hot).to(device)
        self.weights = class_weights(hot)
        self.n_batches = -(-len(hot) // recipe.batch_size)
        if len(hot) // self.n_batches < world.size:
            raise CumelError(
                f"batch_size={recipe.batch_size}: batches of {len(hot) // self.n_batches} clips do not do for "
                f"{world.size} processes; use larger ones, or fewer processes"
            )

    def epoch(self, order: torch.Generator, mixing: bool, first: int = 0) -> Iterator[tuple[Tensor, Tensor, float]]:
        """Yield batches in a random order, from number `first` on: features, soft labels, this process's loss's weight.

        The clips are dealt into batches of nearly equal size: none is left out, and no last batch is tiny. The weight
        is the number of this process's clips / (clips of the batch / processes): 1.0 where all parts are equal.
        """
        for batch in self._drawn(order).to(self.device).tensor_split(self.n_batches)[first:]:
            part = self.world.part(batch)
            x, labels = self._changed(self.clips[part], self.labels[part], mixing)
            yield x, labels, len(part) * self.world.size / len(batch)

    def _drawn(self, order: torch.Generator) -> Tensor:
        """Return the clips of an epoch: each once, or as many, of which the classes are equally likely."""
        if self.recipe.balance != "sampling":
            return torch.randperm(len(self.clips), generator=order)
        labels = self.labels.cpu()
        chances = (labels @ self.weights) / labels.sum(dim=1)
        return torch.multinomial(chances, len(chances), replacement=True, generator=order)

    def _changed(self, clips: Tensor, labels: Tensor, mixing: bool) -> tuple[Tensor, Tensor]:
        if self.recipe.augment == "none":
            return clips.float(), labels
        change = changed_samples if self.recipe.augment == "wave" else changed_features
        return change(clips, labels, self.recipe, mixing)


def class_weights(hot: NDArray[np.float32]) -> Tensor:
    """Return a weight per class [n_classes], in inverse ratio to its clips, 1 on average over these; 0 without any."""
    counts = torch.from_numpy(hot).sum(dim=0)
    return torch.where(counts > 0, counts.sum() / ((counts > 0).sum() * counts.clamp(min=1)), 0.0)


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
