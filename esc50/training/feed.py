"""The training clips on their device, and the batches that an epoch makes of them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from ...kernels import CumelError
from ..datasets import FEATURES
from .augment import spectrogram, waveform
from .distributed import World
from .material import FULL_SCALE, Material
from .recipes import Recipe


class Feed:
    """Makes the batches; all clips stay on the device, samples as int16.

    Parameters
    ----------
    material : Material
        Of the training clips.
    targets : list of int
        Their classes.
    n_classes : int
    recipe : Recipe
    device : torch.device
    world : World
        Each process gets its part of every batch.
    """

    def __init__(
        self,
        material: Material,
        targets: list[int],
        n_classes: int,
        recipe: Recipe,
        device: torch.device,
        world: World,
    ) -> None:
        clips = material.features if recipe.augment != "wave" else material.samples
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
        """Yield batches in a random order: features, soft labels, and how many of the batch's clips are this part's.

        The clips are dealt into batches as equal as can be: none is left out, and no last batch is tiny. The last
        number is the part's clips times processes per clips of the batch: 1.0 where all parts are equal.
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
    x = spectrogram.crop(x, recipe.crop_frames) if mixing and recipe.crops else spectrogram.roll(x)
    x = spectrogram.gain(spectrogram.shift_bands(x))
    if mixing:
        x, labels = spectrogram.mix(x, labels)
        x = spectrogram.mask(x)
    return x, labels


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
