"""What a layout lists, rows of a table or recordings in folders: found on the disk, and made a `Dataset`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...kernels import CumelError
from ..inputs import RealPaths
from .dataset import FOLDS, Clip, Dataset, groups_of, some
from .folds import dealt

MOST_LABELS, LONGEST_LABEL = 10_000, 200  # labels, and characters of one


@dataclass
class Listed:
    """A clip as its layout lists it."""

    name: str  # path as it stands in the table, or below the root
    where: str  # the place that messages name, such as "line 7"
    labels: tuple[str, ...]
    fold: int | str | None = None
    target: int | None = None
    start: float = 0.0
    end: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    path: Path = Path()  # where it is, once it is found


@dataclass(frozen=True)
class Layout:
    """A list of clips, and what is known about all of them."""

    name: str
    root: Path
    rows: Sequence[Listed]
    table: Path | None = None
    license: str | None = None
    places: tuple[Path, ...] = ()  # folders in which the recordings may lie; empty where the rows have their paths
    suffixes: tuple[str, ...] = ("",)  # what a name may lack
    advice: str = "name their folder by --root"
    said: tuple[str, ...] = ()  # what was noticed when it was listed

    @property
    def source(self) -> Path:
        """What messages name."""
        return self.table or self.root

    @property
    def without_folds(self) -> bool:
        """Whether the rows have no folds of their own."""
        return all(row.fold is None for row in self.rows)

    def dataset(self, group: str | None, seed: int) -> Dataset:
        """Find every recording, check the labels, and give each clip its fold."""
        if not self.rows:
            raise CumelError(f"{self.source}: lists no clips; a row each is needed, with a path and a label")
        self.find()
        self._check_twice()
        targets = self._targets()
        long = next((label for label in targets if len(label) > LONGEST_LABEL), None)
        if long is not None:
            raise CumelError(
                f"{self.source}: the label {long[:40]}... has {len(long)} characters, {LONGEST_LABEL} at most; "
                "is it the right column?"
            )
        groups = self._groups(group)
        clips = [
            Clip(
                row.path,
                row.fold if row.fold is not None else 0,
                targets[row.labels[0]],
                row.labels[0],
                row.start,
                row.end,
                tuple(targets[label] for label in row.labels[1:]),
                key,
                row.extra,
            )
            for row, key in zip(self.rows, groups, strict=True)
        ]
        names: list[str] = [f"class_{target}" for target in range(max(targets.values()) + 1)]
        for label, target in targets.items():
            names[target] = label
        clips, split_by = self._folds(clips, group, seed)
        return Dataset(self.root, tuple(clips), tuple(names), self.name, split_by, self.license, self.table, self.said)

    def find(self, must: bool = True) -> None:
        """Give each row the path at which its recording is; a `CumelError` where it `must` be there, and is not."""
        if not self.places:
            return
        absent, known = [], {}
        for row in self.rows:
            if row.name not in known:
                fold = row.fold if isinstance(row.fold, int) else None
                known[row.name] = next(
                    filter(Path.is_file, candidates(self.places, row.name, fold, self.suffixes)), None
                )
                absent += [] if known[row.name] else [row.name]
            row.path = known[row.name] or Path()
        if not absent or not must:
            return
        looked = some([str(place) for place in self.places])
        if len(absent) == len(known):
            raise CumelError(
                f"{self.source}: none of its {len(known)} recordings is there, such as {absent[0]}; "
                f"looked in {looked}; is it the table of another dataset? Else {self.advice}"
            )
        raise CumelError(
            f"{self.source}: {len(absent)} of {len(known)} recordings are not in {looked}: {some(absent)}; "
            f"put them there, {self.advice}, or leave their rows out"
        )

    def _check_twice(self) -> None:
        """Refuse a clip that is listed twice, by whatever path."""
        real, seen = RealPaths(), {}
        for row in self.rows:
            first = seen.setdefault((real(row.path), row.start, row.end), row)
            if first is row:
                continue
            if first.labels == row.labels:
                raise CumelError(f"{self.source}, {row.where}: {row.name} is listed twice; leave one of them out")
            raise CumelError(
                f"{self.source}, {row.where}: {row.name} is {' and '.join(row.labels)} here and "
                f"{' and '.join(first.labels)} at {first.where}; keep one, or write both into one row as "
                "`labels` separated by a semicolon"
            )

    def _targets(self) -> dict[str, int]:
        """Return the number of each label: the table's own, or its place in the alphabet."""
        if all(row.target is None for row in self.rows):
            names = sorted({label for row in self.rows for label in row.labels})
            if len(names) > MOST_LABELS:
                raise CumelError(f"{self.source}: {len(names)} labels, {MOST_LABELS} at most; is it the right column?")
            return {name: target for target, name in enumerate(names)}
        names_of, targets, most = {}, {}, max(1000, len(self.rows))
        for row in self.rows:
            (name, *others), target = row.labels, row.target
            if target is None or others:
                raise CumelError(f"{self.source}, {row.where}: a target belongs to one label; leave the column out")
            if target >= most:
                raise CumelError(
                    f"{self.source}: target {target} is too high for {len(self.rows)} clips; targets count from 0"
                )
            if names_of.setdefault(target, name) != name:
                raise CumelError(f"{self.source}: target {target} is called both {names_of[target]} and {name}")
            if targets.setdefault(name, target) != target:
                raise CumelError(
                    f"{self.source}: {name} has two targets, {targets[name]} and {target}; name each class once"
                )
        return targets

    def _groups(self, column: str | None) -> list[str | None]:
        """Return what each row belongs to, by the values of a column."""
        if column is None:
            return [None] * len(self.rows)
        if column == "folder":
            return [str(row.path.parent) for row in self.rows]
        known = {name for row in self.rows for name in row.extra}
        if column not in known:
            has = f"its further columns: {', '.join(sorted(known))}" if known else "it has no further columns"
            raise CumelError(f"{self.source}: --group {column}: no such column; {has}; `folder` is always there")
        values = [row.extra.get(column) for row in self.rows]
        return [None if value in (None, "") else str(value) for value in values]

    def _folds(self, clips: list[Clip], group: str | None, seed: int) -> tuple[list[Clip], str]:
        """Deal clips without folds into some; returns them, and where the folds come from."""
        given = [row.fold is not None for row in self.rows]
        if all(given):
            if group is not None:
                _check_groups(self.source, group, clips)
            named = any(isinstance(clip.fold, str) for clip in clips)
            return clips, f"the {'splits' if named else 'folds'} of the dataset"
        if any(given):
            row = self.rows[given.index(False)]
            raise CumelError(f"{self.source}, {row.where}: has no fold, others have; fill it in, or drop the column")
        keys = groups_of(clips)
        order = sorted(range(len(clips)), key=lambda i: (self.rows[i].name, self.rows[i].start))  # not the table's
        of_sorted = dealt([clips[i].targets for i in order], [keys[i] for i in order], FOLDS, seed)
        folds = dict(zip(order, of_sorted, strict=True))
        whole = f", {group} kept whole" if group else ", recordings kept whole" if len(set(keys)) < len(keys) else ""
        by = f"dealt into {FOLDS} folds, stratified by label{whole}, seed {seed}"
        return [replace(clip, fold=folds[i]) for i, clip in enumerate(clips)], by


def candidates(
    places: Iterable[Path], name: str, fold: int | str | None, suffixes: Iterable[str] = ("",)
) -> Iterator[Path]:
    """Yield where a recording may be: in each of the places, or there in the folder of its fold."""
    for place in places:
        for suffix in suffixes:
            yield place / f"{name}{suffix}"
            if fold is not None:
                yield place / f"fold{fold}" / f"{name}{suffix}"


def _check_groups(source: Path, column: str, clips: list[Clip]) -> None:
    """Refuse folds that separate the clips of a group."""
    folds = defaultdict(set)
    for clip in clips:
        folds[clip.group].add(clip.fold)
    torn = [str(group) for group, numbers in folds.items() if group is not None and len(numbers) > 1]
    if torn:
        raise CumelError(
            f"{source}: --group {column}: its folds separate {some(torn)}; drop the column of folds, to deal them anew"
        )


def number(text: Any) -> float | None:
    """Read a value as a finite number; None where it is none."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
