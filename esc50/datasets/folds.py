"""Clips dealt into folds: each label spread evenly, groups kept whole, the same for the same seed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

import numpy as np


def dealt(labels: Sequence[Sequence[int]], groups: Sequence[Hashable], n_folds: int, seed: int) -> list[int]:
    """Return a fold from 1 to `n_folds` for each clip.

    Groups are dealt one after another, those of rare labels and of many clips first, each into the fold that has the
    fewest clips of its labels. Between equal folds the last one, which is held out by default, comes first for a label
    of fewer groups than folds; else the smallest does.

    Parameters
    ----------
    labels : sequence of sequences of int
        The labels of each clip.
    groups : sequence
        What each clip belongs to; clips of one group get the same fold.
    n_folds : int
    seed : int
        Of the order in which groups that are alike are dealt.
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        members[group].append(i)
    counts = [Counter(label for i in clips for label in labels[i]) for clips in members.values()]
    n_groups = Counter(label for count in counts for label in count)
    order = np.random.default_rng(seed).permutation(len(counts)).tolist()
    order.sort(key=lambda g: (min((n_groups[label] for label in counts[g]), default=0), -sum(counts[g].values())))

    has, sizes = [Counter() for _ in range(n_folds)], [0] * n_folds
    fold_of: list[int] = [0] * len(counts)
    clips = list(members.values())
    for g in order:
        rare = min(counts[g], key=lambda label: n_groups[label], default=None)
        few = rare is not None and n_groups[rare] < n_folds

        def load(fold: int, g: int = g, few: bool = few) -> tuple[float, ...]:
            crowd = sum(n * has[fold][label] / n_groups[label] for label, n in counts[g].items())
            return (crowd, -fold) if few else (crowd, sizes[fold], -fold)

        best = min(range(n_folds), key=load)
        fold_of[g] = best
        has[best].update(counts[g])
        sizes[best] += len(clips[g])
    out = [0] * len(labels)
    for g, numbers in enumerate(clips):
        for i in numbers:
            out[i] = fold_of[g] + 1
    return out
