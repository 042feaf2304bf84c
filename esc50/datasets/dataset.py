"""Clips with labels and folds: what every layout is read into, and what training takes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels import CumelError
from .folds import dealt

TRAIN, VALID, TEST = SPLITS = ("train", "valid", "test")
Fold = int | str | None  # a number, a split's name, or None: nothing is held out
FOLDS = 5  # folds that data without any is dealt into


@dataclass(frozen=True)
class Clip:
    """A recording, or a part of one, with its labels."""

    path: Path
    fold: int | str  # a number, or one of SPLITS
    target: int  # number of the first label
    category: str  # name of the first label
    start: float = 0.0  # s
    end: float | None = None  # s; None for the end of the recording
    others: tuple[int, ...] = ()  # numbers of further labels
    group: str | None = None  # clips of one group never stand on both sides of a split
    extra: Mapping[str, Any] = field(default_factory=dict)  # further columns of its table

    @property
    def targets(self) -> tuple[int, ...]:
        """Numbers of all labels."""
        return (self.target, *self.others)

    @property
    def where(self) -> str:
        """The recording, and which part of it."""
        part = self.start or self.end is not None
        return (
            f"{self.path}{f' from {self.start:g} s' if part else ''}{'' if self.end is None else f' to {self.end:g} s'}"
        )


@dataclass(frozen=True)
class Dataset:
    """The clips of a dataset and the names of its classes."""

    root: Path
    clips: tuple[Clip, ...]
    labels: tuple[str, ...]  # names by target
    layout: str = "ESC-50"
    split_by: str = "the folds of its table"
    license: str | None = None  # the data's own, where it states one
    table: Path | None = None  # the file that lists the clips
    said: tuple[str, ...] = ()  # what was noticed when it was read

    @classmethod
    def read(
        cls,
        data: Path | str,
        *,
        root: Path | str | None = None,
        group: str | None = None,
        seed: int = 0,
        kept: Path | None = None,
    ) -> Dataset:
        """Read a dataset of any layout that is known; `layouts.LAYOUTS` lists them, in the order of detection.

        Parameters
        ----------
        data : path
            A folder, or a table (.csv, .tsv, .jsonl, .parquet).
        root : path, optional
            Folder of the recordings, where they lie neither relative to their table nor beside it.
        group : str, optional
            Column whose values keep clips together when the data is dealt into folds; ``folder`` is the one that a
            recording lies in.
        seed : int
            Of the split that data without folds gets.
        kept : Path, optional
            A run's folder: its clips keep the folds that they had there.

        Raises
        ------
        CumelError
            When the layout is unknown, a table is malformed, a recording is absent, or labels contradict each other.
        """
        from .layouts import read

        return read(Path(data), None if root is None else Path(root), group, seed, kept)

    @property
    def source(self) -> Path:
        """What messages name: the table, or the folder."""
        return self.table or self.root

    @property
    def folds(self) -> list[Any]:
        """Folds that may be held out, sorted: numbers, or of splits the test (else the valid) one."""
        there = {clip.fold for clip in self.clips}
        named = [name for name in (TEST, VALID) if name in there][:1]
        return named or sorted(fold for fold in there if isinstance(fold, int))

    @property
    def default_fold(self) -> Fold:
        """The fold that is held out where nobody names one: the last."""
        if not self.folds:
            raise CumelError(f"{self.source}: has neither a test nor a valid split; name one, or use --fold none")
        return self.folds[-1]

    @property
    def valid(self) -> list[int]:
        """Indices of the clips in the split ``valid``."""
        return [i for i, clip in enumerate(self.clips) if clip.fold == VALID]

    @property
    def multi_label(self) -> bool:
        """Whether a clip has several labels."""
        return any(clip.others for clip in self.clips)

    @property
    def fingerprint(self) -> str:
        """A digest of which clips there are, in which order, fold and class."""
        rows = [
            (clip.path.name, clip.fold, clip.target)
            if (clip.start, clip.end, clip.others) == (0.0, None, ())
            else (clip.path.name, clip.fold, clip.targets, clip.start, clip.end)
            for clip in self.clips
        ]
        return hashlib.sha256(repr(rows).encode()).hexdigest()

    def hot(self) -> NDArray[np.float32]:
        """Return 1 where a clip has a label, else 0 [n_clips, n_classes]."""
        out = np.zeros((len(self.clips), len(self.labels)), np.float32)
        for row, clip in zip(out, self.clips, strict=True):
            row[list(clip.targets)] = 1
        return out

    def split(self, fold: Fold) -> tuple[list[int], list[int]]:
        """Return the indices of the clips to train on, and of those held out for testing.

        Without a `fold` all clips are trained on, and the second list is empty. Clips of the split ``valid`` are in
        neither list, unless it is the one that is held out.
        """
        if fold is None:
            return list(range(len(self.clips))), []
        if fold not in self.folds:
            raise CumelError(f"fold {fold} is not in {self.source}; it has {', '.join(map(str, self.folds))}")
        test = [i for i, clip in enumerate(self.clips) if clip.fold == fold]
        train = [i for i, clip in enumerate(self.clips) if clip.fold not in (fold, VALID)]
        if not train:
            raise CumelError(f"{self.source}: fold {fold} is the only one, so nothing is left to train on")
        return train, test

    def inner(self, train: Sequence[int], seed: int, share: float = 0.1) -> tuple[list[int], list[int]]:
        """Deal training clips into those that teach, and a `share` of them for validation, stratified by label.

        Clips of one group, and parts of one recording, stay on one side. The first list is never empty.
        """
        clips = [self.clips[i] for i in train]
        folds = dealt([clip.targets for clip in clips], groups_of(clips), max(2, round(1 / share)), seed)
        last = max(folds)
        chosen = ([i for i, f in zip(train, folds, strict=True) if (f == last) is held] for held in (False, True))
        teach, valid = chosen
        return (teach, valid) if teach else (valid, [])

    def check(self, fold: Fold) -> None:
        """Refuse a held-out `fold` with a label that no other clip can teach, and data of one label."""
        train, test = self.split(fold)
        taught = {target for i in train for target in self.clips[i].targets}
        if len(taught) < 2 and not self.multi_label:
            raise CumelError(
                f"{self.source}: every clip to train on is {some([self.labels[i] for i in taught])}; "
                "a classifier needs two labels or more: add clips of something else"
            )
        for target in sorted({target for i in test for target in self.clips[i].targets} - taught):
            clips = [clip for clip in self.clips if target in clip.targets]
            label, n = self.labels[target], len(clips)
            if n == 1:
                why = f"{label} has one clip ({clips[0].where}), which cannot be both learned and tested"
            elif len(set(groups_of(clips))) == 1:
                why = f"all {n} clips of {label} are of one group ({groups_of(clips)[0]}), which is held out as a whole"
            else:
                why = f"only {held(fold)} has {label} ({n} clips), so nothing can teach it"
            raise CumelError(
                f"{self.source}: {why}; add clips of it to learn from, leave it out, or hold nothing out (--fold none)"
            )

    def notes(self, folds: Iterable[Fold]) -> list[str]:
        """Say what keeps a network from learning some classes when each of `folds` is held out, a line each."""
        notes = list(self.said)
        present = {target for clip in self.clips for target in clip.targets}
        empty = [target for target in range(len(self.labels)) if target not in present]
        if empty:
            notes.append(
                f"{self.source}: no clip has target {some(empty)}; the network gets an output for each all the same"
            )
        for fold in folds:
            if fold is None:
                continue
            learned = {target for clip in self.clips if clip.fold not in (fold, VALID) for target in clip.targets}
            unknown = [self.labels[target] for target in sorted(present - learned)]
            if unknown:
                notes.append(f"{self.source}: {held(fold)} alone has {some(unknown)}, which no other fold can teach")
        return notes


def groups_of(clips: Sequence[Clip]) -> list[str]:
    """Return what keeps each clip together with others: its group, or else its recording."""
    return [str(clip.path) if clip.group is None else f"group {clip.group}" for clip in clips]


def held(fold: Fold) -> str:
    """Name a fold in a sentence."""
    return f"fold {fold}" if isinstance(fold, int) else f"the {fold} split"


def some(values: Sequence[Any]) -> str:
    """Return the first three values as text, and how many more there are."""
    return ", ".join(map(str, values[:3])) + (f" and {len(values) - 3} more" if len(values) > 3 else "")
