"""How good a network's answers are, and how sure these numbers are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Z = 1.959964  # a normal variable is within so many deviations of its mean with a probability of 95 %
NAMED = 0.5  # probability from which one of several labels counts as named
THRESHOLDS = (0.0, 0.3, 0.5, 0.7, 0.9, 0.95)
TINY = 1e-12  # least probability whose logarithm is taken

Scores = NDArray[np.float64]  # probabilities [n_clips, n_classes]
Truth = NDArray[Any]  # numbers of the clips' classes [n_clips], or 1 where a clip has a label [n_clips, n_classes]


def right(scores: Scores, truth: Truth) -> NDArray[np.bool_]:
    """Return whether the highest score of each clip is its class, or one of its labels [n_clips]."""
    best = scores.argmax(axis=1)
    return best == truth if truth.ndim == 1 else np.take_along_axis(truth, best[:, None], axis=1)[:, 0] > 0


def accuracy(scores: Scores, truth: Truth) -> float:
    """Return the share of clips that are `right`."""
    return float(right(scores, truth).mean())


def interval(share: float, n: int) -> tuple[float, float]:
    """Return the bounds between which a share of `n` clips lies with a confidence of 95 % (Wilson's score interval)."""
    if n == 0:
        return 0.0, 1.0
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    reach = Z / (1 + Z**2 / n) * (share * (1 - share) / n + Z**2 / (4 * n**2)) ** 0.5
    return max(0.0, middle - reach), min(1.0, middle + reach)


def confusion_matrix(scores: Scores, truth: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count clips [n_classes, n_classes]: row = true class, column = predicted class."""
    n_classes = scores.shape[1]
    return np.bincount(truth * n_classes + scores.argmax(axis=1), minlength=n_classes**2).reshape(n_classes, n_classes)


def macro_f1(confusion: NDArray[np.int64]) -> float:
    """Return the mean F1 of the classes that have clips, or were answered."""
    clips, given, hits = confusion.sum(axis=1), confusion.sum(axis=0), confusion.diagonal()
    counted = clips + given > 0
    return float((2 * hits[counted] / (clips + given)[counted]).mean())


def average_precision(scores: NDArray[np.float64], truth: NDArray[Any]) -> float:
    """Return the area under one label's curve of precision over recall, from scores and 0 or 1 [n_clips]."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order] > 0)
    last = np.append(np.diff(scores[order]) != 0, True)  # clips of one score are told together
    precision, recall = hits[last] / (1 + np.flatnonzero(last)), hits[last] / hits[-1]
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def loss_of(scores: Scores, hot: NDArray[Any], loss: str) -> float:
    """Return the mean loss of probabilities, by the name that `Recipe.loss` has."""
    gained = hot * np.log(np.maximum(scores, TINY))
    if loss == "bce":
        return float(-(gained + (1 - hot) * np.log(np.maximum(1 - scores, TINY))).mean())
    return float(-gained.sum(axis=1).mean())


def by_threshold(scores: Scores, truth: Truth) -> list[dict[str, float]]:
    """Return what is gained when answers below a probability count as none: a row per threshold.

    Each has the ``threshold``, the share of clips that are ``answered``, and the ``accuracy`` among these.
    """
    best, correct = scores.max(axis=1), right(scores, truth)
    rows = []
    for threshold in THRESHOLDS:
        answered = best >= threshold
        if answered.any():
            share = float(answered.mean())
            rows.append({"threshold": threshold, "answered": share, "accuracy": float(correct[answered].mean())})
    return rows


def per_class(confusion: NDArray[np.int64], labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return a row per class that has clips: recall, precision, F1 and its commonest wrong answer."""
    rows = []
    for target, name in enumerate(labels):
        n_clips, n_given, hits = confusion[target].sum(), confusion[:, target].sum(), confusion[target, target]
        if n_clips == 0:
            continue
        wrong = confusion[target].copy()
        wrong[target] = 0
        rows.append(
            {
                "label": name,
                "clips": int(n_clips),
                "recall": float(hits / n_clips),
                "precision": float(hits / n_given) if n_given else None,
                "f1": float(2 * hits / (n_clips + n_given)),
                "mistaken_for": labels[int(wrong.argmax())] if wrong.any() else None,
            }
        )
    return rows


def per_label(scores: Scores, hot: NDArray[Any], labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return a row per label that has clips, where a clip may have several: as `per_class`, and average precision."""
    rows, named = [], scores >= NAMED
    for target, name in enumerate(labels):
        has, given = hot[:, target] > 0, named[:, target]
        if not has.any():
            continue
        hits = (has & given).sum()
        rows.append(
            {
                "label": name,
                "clips": int(has.sum()),
                "recall": float(hits / has.sum()),
                "precision": float(hits / given.sum()) if given.any() else None,
                "f1": float(2 * hits / (has.sum() + given.sum())),
                "average_precision": average_precision(scores[:, target], has),
                "mistaken_for": None,
            }
        )
    return rows
