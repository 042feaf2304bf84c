"""A run in one call, from any data to a checkpoint: `cumel.train`, and the command `cumel train`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...kernels import CumelError, UnavailableError
from ..datasets import AUTO, Dataset, Description, Fold, Lengths, Measured, chosen, keep
from ..system import CORES, choose, say
from . import loop
from .checkpoint import NAME
from .data import from_store
from .distributed import SOLO, World, local_device
from .recipes import ALIASES, MOST_SECONDS, RECIPES, Recipe

if TYPE_CHECKING:
    import torch

    from .data import TrainingData

NONE = "none"  # what --fold calls holding nothing out
LEAST_SECONDS = 0.1


@dataclass(frozen=True)
class Start:
    """What a run begins with."""

    data: Dataset
    recipe: Recipe
    description: Description

    @classmethod
    def of(
        cls,
        data: Dataset | Path | str,
        recipe: Recipe | str,
        *,
        root: Path | str | None = None,
        group: str | None = None,
        seconds: float | str | None = None,
        seed: int = 0,
        kept: Path | None = None,
        workers: int = CORES,
    ) -> Start:
        """Read the data, measure its clips, and choose the length that all are fitted to."""
        own = isinstance(recipe, Recipe) and seconds is None
        recipe = named(recipe)
        dataset = (
            data if isinstance(data, Dataset) else Dataset.read(data, root=root, group=group, seed=seed, kept=kept)
        )
        measured = Measured.of(dataset, workers)
        if seconds in (None, AUTO) and not own:
            length, why = chosen(measured.seconds)
        elif own:
            length, why = recipe.seconds, f"recipe {recipe.name}"
        else:
            length, why = _seconds(seconds), "as asked for"
        recipe = recipe.replace(seconds=length)
        return cls(dataset, recipe, Description.of(dataset, Lengths.of(measured.seconds, length, why), measured))

    def keep(self, run: Path) -> None:
        """Write the clips with their folds, and what is known about the data, into a run's folder."""
        keep(self.data, run)
        self.description.save(run)

    def fold(self, asked: Fold) -> Fold:
        """Return the fold that is meant: one of the data's, or None for no fold."""
        if asked is None or asked == NONE:
            return None
        if asked == AUTO:
            return self.data.default_fold
        fold = int(asked) if isinstance(asked, str) and asked.removeprefix("-").isdecimal() else asked
        self.data.split(fold)
        return fold

    def say(self, notes: list[str]) -> None:
        """Tell the user what the data is, and what is noteworthy in it."""
        for note in notes:
            say(f"note: {note}")
        for line in self.description.lines():
            say(line)


def train(
    data: Dataset | Path | str,
    out: Path | str,
    recipe: Recipe | str = "quick",
    fold: Fold = AUTO,
    device: torch.device | str = AUTO,
    *,
    root: Path | str | None = None,
    group: str | None = None,
    seconds: float | str | None = None,
    features: Path | str | None = None,
    seed: int = 0,
    resume: bool = False,
    workers: int = CORES,
    training_data: TrainingData | None = None,
    world: World = SOLO,
    **options: Any,
) -> dict[str, Any]:
    """Train a network on every fold of a dataset but one, and report its accuracy on that one.

    The run's folder also gets clips.csv, the clips with their folds, and data.json, what is known about the data.

    Parameters
    ----------
    data : Dataset, or path
        A folder or a table of any layout that `Dataset.read` takes.
    out : path
        The run's folder; made if missing.
    recipe : Recipe or str
        A recipe, or the name of one.
    fold : int, str or None
        The fold held out for testing; ``"auto"`` is the last one, or the split ``test``. With None or ``"none"`` all
        clips are trained on, and no accuracy is measured.
    device : torch.device or str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    root, group : optional
        As for `Dataset.read`.
    seconds : float or "auto", optional
        Length to which every clip is fitted: a long one is cut at its end, a short one mirrored at both. Auto chooses
        it from the data; so does None, unless `recipe` is a `Recipe`, which has its own.
    features : path, optional
        A store of extracted features.
    seed : int
        Of the training, and of the split that data without folds gets.
    resume, workers, training_data, world, **options
        As for `loop.train`.

    Returns
    -------
    dict
        The report of `loop.train`; its ``data`` says what was learned from.

    Raises
    ------
    CumelError
        For data that cannot be read or learned from, and as `loop.train`.
    """
    out = Path(out)
    where = fitting(named(recipe), device)
    start = Start.of(
        data,
        recipe,
        root=root,
        group=group,
        seconds=seconds,
        seed=seed,
        kept=out if resume else None,
        workers=workers,
    )
    held_out = start.fold(fold)
    start.data.check(held_out)
    if world.is_main:
        start.say(start.data.notes([held_out]))
    if features is not None:
        training_data = from_store(Path(features), start.data, start.recipe)
    if world.is_main and not resume and not (out / NAME).exists():
        start.keep(out)
    report = loop.train(
        start.data,
        out,
        start.recipe,
        held_out,
        where,
        seed=seed,
        resume=resume,
        workers=workers,
        training_data=training_data,
        world=world,
        **options,
    )
    return report | {"data": start.description.to_dict()} if report else report


def named(recipe: Recipe | str) -> Recipe:
    """Return the recipe of a name; a `CumelError` when there is none."""
    if isinstance(recipe, Recipe):
        return recipe
    name = ALIASES.get(recipe, recipe)
    if name not in RECIPES:
        raise CumelError(f"--recipe {name}: must be one of {', '.join(RECIPES)}")
    return RECIPES[name]


def fitting(recipe: Recipe, asked: torch.device | str) -> torch.device:
    """Return the device, or refuse one on which the recipe takes days and which nobody has named."""
    device = choose(local_device(asked)) if isinstance(asked, str) else asked
    if recipe.needs_gpu and device.type != "cuda" and asked == AUTO:
        raise UnavailableError(
            f"recipe {recipe.name} is made for a GPU, and torch sees none; --recipe quick is made for a CPU, "
            "--device cpu runs this one there all the same, for days"
        )
    return device


def _seconds(asked: float | str | None) -> float:
    try:
        seconds = float(asked or 0)
    except ValueError:
        seconds = math.nan
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise CumelError(f"--seconds {asked}: must be auto, or from {LEAST_SECONDS:g} to {MOST_SECONDS:g}")
    return seconds
