"""One run per fold and seed, each tested on the fold that it has not seen.

The protocol is in the construction: whole folds of the dataset's own are held out, `train` takes its statistics from
the others, nothing is chosen by what the held-out fold says, and the last epoch counts.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...kernels import CumelError
from ..datasets import Dataset
from ..system import defaults, describe
from .checkpoint import NAME, Checkpoint
from .data import TrainingData, prepare
from .evaluation import judged
from .loop import SCORES, train
from .metrics import accuracy, interval
from .recipes import Recipe


@defaults()
def cross_validate(
    data: Dataset,
    out: Path,
    recipe: Recipe,
    folds: list[Any],
    seeds: list[int],
    device: torch.device,
    *,
    resume: bool = False,
    workers: int = 2,
    training_data: TrainingData | None = None,
) -> tuple[dict[str, Any], NDArray[np.int64] | None]:
    """Train and test once per fold and seed; the features are computed once.

    Returns
    -------
    report : dict
        ``runs``, a row per fold and seed (as `train` reports). Per seed the mean over the folds and its standard
        deviation; ``mean`` and ``spread`` are those of the seeds' means. Per fold the accuracy of the ``ensemble``,
        the mean probability of all seeds. Macro F1, a row per class.
    confusion : ndarray [n_classes, n_classes] or None
        Of all runs together: each clip counts once per seed. None where clips have several labels.
    """
    if data.multi_label:
        recipe = recipe.replace(loss="bce")
    runs = {(seed, fold): out / f"seed-{seed}" / f"fold-{fold}" for seed in seeds for fold in folds}
    for (_, fold), run in runs.items():
        data.split(fold)  # a fold that is absent is reported before an hour of training
        if not resume and (run / NAME).exists():
            raise CumelError(f"{run}: holds a run already; --resume continues it")
    if training_data is None:
        training_data = prepare(data, recipe, workers, device)
    rows = []
    for (seed, fold), run in runs.items():
        keep = resume and (run / NAME).exists()
        rows.append(
            train(data, run, recipe, fold, device, seed=seed, resume=keep, workers=workers, training_data=training_data)
            | {"history": Checkpoint.load(run).history}
        )
    scores = {key: np.load(run / SCORES) for key, run in runs.items()}
    return _report(data, recipe, folds, seeds, rows, scores, device)


def _report(
    data: Dataset,
    recipe: Recipe,
    folds: list[Any],
    seeds: list[int],
    rows: list[dict[str, Any]],
    scores: dict[tuple[int, int], NDArray[np.float64]],
    device: torch.device,
) -> tuple[dict[str, Any], NDArray[np.int64] | None]:
    tested = {fold: data.split(fold)[1] for fold in folds}
    truth = {fold: data.hot()[clips] for fold, clips in tested.items()}
    by_seed = {seed: [accuracy(scores[seed, fold], truth[fold]) for fold in folds] for seed in seeds}
    together = [accuracy(np.mean([scores[seed, fold] for seed in seeds], axis=0), truth[fold]) for fold in folds]
    means = [float(np.mean(accuracies)) for accuracies in by_seed.values()]
    every = replace(data, clips=tuple(data.clips[i] for _, fold in scores for i in tested[fold]))
    facts, confusion = judged(np.concatenate(list(scores.values())), every, recipe)
    mean = float(np.mean(means))
    facts |= {"accuracy": mean, "interval": interval(mean, sum(map(len, tested.values())))}
    report = {
        "recipe": recipe.name,
        "views": recipe.views,
        "seeds": [
            {"seed": seed, "mean": float(np.mean(values)), "spread": _spread(values)}
            for seed, values in by_seed.items()
        ],
        "folds": [
            {
                "fold": fold,
                "clips": len(truth[fold]),
                "accuracies": [values[i] for values in by_seed.values()],
                "ensemble": together[i],
            }
            for i, fold in enumerate(folds)
        ],
        "mean": mean,
        "spread": _spread(means),
        "ensemble": float(np.mean(together)),
        "chance": 1 / len(data.labels),
        "device": describe(device),
        "clips": sum(map(len, tested.values())),
        **facts,
        "runs": rows,
    }
    return report, confusion


def _spread(values: list[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def parse_numbers(option: str, text: str) -> list[int]:
    """Read ``1,2,3`` as a list of numbers, given to an option such as ``--folds``."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise CumelError(f"{option} {text}: must be numbers separated by commas, as in 1,2,3")
    return sorted({int(part) for part in parts})
