"""How good a trained network is on the fold that it has not seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...kernels import CumelError
from ..datasets import Dataset, Fold
from ..system import autocast, defaults, describe, to_device
from .augment.spectrogram import rolled_views
from .checkpoint import Checkpoint
from .data import TrainingData, prepare
from .metrics import accuracy, by_threshold, confusion_matrix, interval, macro_f1, per_class, per_label, right
from .recipes import Recipe


@torch.no_grad()
def probabilities(net: nn.Module, features: Tensor, recipe: Recipe, views: int = 1) -> NDArray[np.float64]:
    """Classify clips; average the probabilities over `views` rolled copies of each.

    Parameters
    ----------
    net : nn.Module
    features : Tensor [n_clips, 1, n_mels, n_frames]
        On the network's device.
    recipe : Recipe
        Its batch size, precision and loss.
    views : int

    Returns
    -------
    ndarray [n_clips, n_classes]
        Rows that sum to 1; for several labels per clip (loss ``bce``) each label's own probability.
    """
    training = net.training
    net.eval()
    scores = []
    for batch in features.split(recipe.batch_size):
        with autocast(features.device, recipe.precision):
            outputs = [
                net(view.contiguous(memory_format=torch.channels_last)) for view in rolled_views(batch.float(), views)
            ]
        logits = torch.stack(outputs).double()
        likely = logits.sigmoid() if recipe.loss == "bce" else logits.softmax(dim=2)
        scores.append(likely.mean(dim=0).cpu().numpy())
    net.train(training)
    return np.concatenate(scores)


@defaults()
def evaluate(
    checkpoint: Checkpoint,
    data: Dataset,
    device: torch.device,
    *,
    fold: Fold = None,
    workers: int = 2,
    training_data: TrainingData | None = None,
) -> tuple[dict[str, Any], NDArray[np.int64] | None]:
    """Test a run's checkpoint on the fold that it held out.

    Returns
    -------
    report : dict
        Accuracy with its interval of confidence, macro F1 (and the mean average precision where clips have several
        labels), what a threshold gains, a row per class, and a row per clip that was misheard.
    confusion : ndarray [n_classes, n_classes] or None
        None where clips have several labels.

    Raises
    ------
    CumelError
        When `fold` was trained on, no fold was held out, or the dataset's classes are not the checkpoint's.
    """
    if checkpoint.fold is None:
        raise CumelError(f"{checkpoint.source}: was trained on all of its clips, so none is left to test it on")
    fold = checkpoint.fold if fold is None else fold
    if fold != checkpoint.fold:
        raise CumelError(f"the run was trained on fold {fold}; only fold {checkpoint.fold} was held out")
    if checkpoint.labels != data.labels:
        raise CumelError(f"{data.root}: its classes are not those that the run was trained on")
    recipe = checkpoint.recipe
    _, test_set = data.split(fold)
    held_out = replace(data, clips=tuple(data.clips[i] for i in test_set))
    net = to_device(checkpoint.network(), device)
    if training_data is None:
        features = prepare(held_out, recipe.replace(augment="none"), workers, device).features
    else:
        features = training_data.features[test_set]
    scores = probabilities(net, torch.from_numpy(features).to(device), recipe, recipe.views)
    facts, confusion = judged(scores, held_out, recipe)
    report = {"recipe": recipe.name, "fold": fold, "clips": len(test_set)} | facts
    report |= {"chance": 1 / len(data.labels), "views": recipe.views, "device": describe(device)}
    return report | {"misheard": misheard(scores, held_out)}, confusion


def judged(
    scores: NDArray[np.float64], data: Dataset, recipe: Recipe
) -> tuple[dict[str, Any], NDArray[np.int64] | None]:
    """Return the numbers about answers to the clips of `data`, and their confusion matrix."""
    hot, share = data.hot(), accuracy(scores, data.hot())
    facts = {"accuracy": share, "interval": interval(share, len(hot))}
    if recipe.loss == "bce":
        rows = per_label(scores, hot, data.labels)
        facts["mean_average_precision"] = float(np.mean([row["average_precision"] for row in rows]))
        return facts | {"macro_f1": float(np.mean([row["f1"] for row in rows])), "classes": rows}, None
    confusion = confusion_matrix(scores, np.array([clip.target for clip in data.clips]))
    facts["macro_f1"] = macro_f1(confusion)
    rows = per_class(confusion, data.labels)
    return facts | {"thresholds": by_threshold(scores, hot), "classes": rows}, confusion


def misheard(scores: NDArray[np.float64], data: Dataset) -> list[dict[str, Any]]:
    """Return a row per clip whose most probable label is wrong, the surest first."""
    best = scores.argmax(axis=1)
    wrong = np.flatnonzero(~right(scores, data.hot()))
    return [
        {
            "file": str(clip.path),
            "start": clip.start,
            "end": clip.end,
            "labels": [data.labels[target] for target in clip.targets],
            "said": data.labels[best[i]],
            "probability": float(scores[i, best[i]]),
            "of_its_own": float(max(scores[i, target] for target in clip.targets)),
        }
        for i in wrong[np.argsort(-scores[wrong, best[wrong]], kind="stable")].tolist()
        for clip in (data.clips[i],)
    ]
