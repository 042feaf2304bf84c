"""One run per fold, each tested on the fold that it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..kernels import CumelError
from .checkpoint import NAME
from .dataset import Esc50, load_features
from .device import describe
from .recipes import Recipe
from .train import train


def cross_validate(
    data: Esc50,
    out: Path,
    recipe: Recipe,
    folds: list[int],
    device: torch.device,
    *,
    seed: int = 0,
    resume: bool = False,
    workers: int = 2,
) -> dict[str, Any]:
    """Train and test once per fold; the features are computed once.

    Returns
    -------
    dict
        A row per fold (as `train` reports), the mean accuracy and its standard deviation over the folds.
    """
    for fold in folds:
        data.split(fold)  # a fold that is absent is reported before an hour of training
        if not resume and (out / f"fold-{fold}" / NAME).exists():
            raise CumelError(f"{out / f'fold-{fold}'}: holds a run already; --resume continues it")
    features = load_features(data, recipe.features, recipe.kind, recipe.seconds, workers, device)
    rows = []
    for fold in folds:
        run = out / f"fold-{fold}"
        keep = resume and (run / NAME).exists()
        rows.append(train(data, run, recipe, fold, device, seed=seed, resume=keep, workers=workers, features=features))
    scores = [row["accuracy"] for row in rows]
    return {
        "recipe": recipe.name,
        "seed": seed,
        "folds": rows,
        "mean": float(np.mean(scores)),
        "spread": float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0,
        "device": describe(device),
    }


def parse_folds(text: str) -> list[int]:
    """Read ``1,2,3`` as a list of folds."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise CumelError(f"--folds {text}: must be fold numbers separated by commas, as in 1,2,3")
    return sorted({int(part) for part in parts})
