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


@torch.no_grad()
def probabilities(
    net: nn.Module, features: Tensor, batch_size: int, precision: str, views: int = 1
) -> NDArray[np.float64]:
    """Classify clips; average the probabilities over `views` rolled copies of each.

    Parameters
    ----------
    net : nn.Module
    features : Tensor [n_clips, 1, n_mels, n_frames]
        On the network's device.
    batch_size : int
    precision : {"fp32", "bf16"}
    views : int

    Returns
    -------
    ndarray [n_clips, n_classes]
    """
    training = net.training
    net.eval()
    scores = []
    for batch in features.split(batch_size):
        with autocast(features.device, precision):
            outputs = [
                net(view.contiguous(memory_format=torch.channels_last)) for view in rolled_views(batch.float(), views)
            ]
        scores.append(torch.stack([logits.double().softmax(dim=1) for logits in outputs]).mean(dim=0).cpu().numpy())
    net.train(training)
    return np.concatenate(scores)


def accuracy(scores: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """Share of clips whose highest score is their own class."""
    return float((scores.argmax(axis=1) == truth).mean())


def confusion_matrix(scores: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count clips [n_classes, n_classes]: row = true class, column = predicted class."""
    n_classes = scores.shape[1]
    return np.bincount(truth * n_classes + scores.argmax(axis=1), minlength=n_classes**2).reshape(n_classes, n_classes)


@defaults()
def evaluate(
    checkpoint: Checkpoint,
    data: Dataset,
    device: torch.device,
    *,
    fold: Fold = None,
    workers: int = 2,
    training_data: TrainingData | None = None,
) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Test a run's checkpoint on the fold that it held out.

    Returns
    -------
    report : dict
        Accuracy and a row per class: clips, recall, precision, and the class it is most often taken for.
    confusion : ndarray [n_classes, n_classes]

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
    truth = np.array([clip.target for clip in held_out.clips])
    tested = torch.from_numpy(features).to(device)
    scores = probabilities(net, tested, recipe.batch_size, recipe.precision, recipe.views)
    confusion = confusion_matrix(scores, truth)
    report = {
        "recipe": recipe.name,
        "fold": fold,
        "clips": len(truth),
        "accuracy": accuracy(scores, truth),
        "chance": 1 / len(data.labels),
        "views": recipe.views,
        "device": describe(device),
        "classes": per_class(confusion, data.labels),
    }
    return report, confusion


def per_class(confusion: NDArray[np.int64], labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return a row per class that has clips: recall, precision and its commonest wrong answer."""
    rows = []
    for target, name in enumerate(labels):
        n_clips, n_given, right = confusion[target].sum(), confusion[:, target].sum(), confusion[target, target]
        if n_clips == 0:
            continue
        wrong = confusion[target].copy()
        wrong[target] = 0
        rows.append(
            {
                "label": name,
                "clips": int(n_clips),
                "recall": float(right / n_clips),
                "precision": float(right / n_given) if n_given else None,
                "mistaken_for": labels[int(wrong.argmax())] if wrong.any() else None,
            }
        )
    return rows
