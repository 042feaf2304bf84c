"""A dataset in ESC-50's layout: `audio/` beside `meta/esc50.csv` with its official folds."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

from ...kernels import CumelError
from ...kernels.kinds import KINDS, Feature

COLUMNS = ("filename", "fold", "target", "category")
FEATURES: dict[str, Feature] = {kind: KINDS[kind] for kind in ("image", "logmel")}  # input of a network


@dataclass(frozen=True)
class Clip:
    """One row of the csv."""

    path: Path
    fold: int
    target: int
    category: str


@dataclass(frozen=True)
class Esc50:
    """The clips of a dataset and the names of its classes."""

    root: Path
    clips: tuple[Clip, ...]
    labels: tuple[str, ...]  # names by target

    @classmethod
    def read(cls, root: Path | str) -> Esc50:
        """Read and check `root`'s csv; the recordings may be .wav, .flac or .ogg, as it names them.

        Raises
        ------
        CumelError
            When the folder or its csv is missing or malformed, or names a recording that is absent.
        """
        root = Path(root)
        table = root / "meta" / "esc50.csv"
        if not root.is_dir():
            raise CumelError(f"{root}: no such folder; `cumel download` or `cumel synth` makes one")
        if not table.is_file():
            raise CumelError(
                f"{root}: not a dataset: meta/esc50.csv is missing; `cumel download` or `cumel synth` makes one"
            )
        clips = _clips(root, table)
        if not clips:
            raise CumelError(f"{table}: lists no clips; fetch the dataset again")
        absent = [clip.path.name for clip in clips if not clip.path.is_file()]
        if absent:
            shown = ", ".join(absent[:3]) + (", ..." if len(absent) > 3 else "")
            raise CumelError(f"{table}: {len(absent)} of {len(clips)} recordings are not in {root / 'audio'}: {shown}")
        return cls(root, clips, _labels(table, clips))

    @property
    def folds(self) -> list[int]:
        """Folds that the data has, sorted."""
        return sorted({clip.fold for clip in self.clips})

    @property
    def fingerprint(self) -> str:
        """A digest of which clips there are, in which order, fold and class."""
        rows = [(clip.path.name, clip.fold, clip.target) for clip in self.clips]
        return hashlib.sha256(repr(rows).encode()).hexdigest()

    def notes(self, folds: list[int]) -> list[str]:
        """Say what keeps a network from learning some classes when each of `folds` is held out, a line each."""
        table, notes = self.root / "meta" / "esc50.csv", []
        present = {clip.target for clip in self.clips}
        empty = [target for target in range(len(self.labels)) if target not in present]
        if empty:
            notes.append(
                f"{table}: no clip has target {_some(empty)}; the network gets an output for each all the same"
            )
        for fold in folds:
            learned = {clip.target for clip in self.clips if clip.fold != fold}
            unknown = [self.labels[target] for target in sorted(present - learned)]
            if unknown:
                notes.append(f"{table}: fold {fold} alone has {_some(unknown)}, which no other fold can teach")
        return notes

    def split(self, fold: int) -> tuple[list[int], list[int]]:
        """Return the indices of the clips outside `fold` (for training) and inside it (for testing)."""
        if fold not in self.folds:
            raise CumelError(f"fold {fold} is not in {self.root}; it has {', '.join(map(str, self.folds))}")
        test = [i for i, clip in enumerate(self.clips) if clip.fold == fold]
        train = [i for i, clip in enumerate(self.clips) if clip.fold != fold]
        if not train:
            raise CumelError(f"{self.root}: fold {fold} is the only one, so nothing is left to train on")
        return train, test


def _clips(root: Path, table: Path) -> tuple[Clip, ...]:
    """Read the rows; each recording may stand in one fold only."""
    clips: dict[str, Clip] = {}
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise CumelError(f"{table}: column {', '.join(missing)} is missing; ESC-50 has {', '.join(COLUMNS)}")
            for line, row in enumerate(reader, start=2):
                clip = _clip(root, table, line, row)
                if clip.path.name in clips:
                    raise CumelError(f"{table}, line {line}: {clip.path.name} is listed twice")
                clips[clip.path.name] = clip
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CumelError(f"{table}: not readable as CSV in UTF-8 ({error}); fetch the dataset again") from None
    return tuple(clips.values())


def _clip(root: Path, table: Path, line: int, row: dict[str, str]) -> Clip:
    try:
        fold, target = int(row["fold"]), int(row["target"])
    except (TypeError, ValueError):
        raise CumelError(f"{table}, line {line}: fold and target must be whole numbers") from None
    name = row["filename"] or ""
    if target < 0 or not name or Path(name).name != name:
        raise CumelError(f"{table}, line {line}: needs a bare filename and a target of 0 or more")
    return Clip(root / "audio" / name, fold, target, row["category"] or f"class_{target}")


def _labels(table: Path, clips: tuple[Clip, ...]) -> tuple[str, ...]:
    names: dict[int, str] = {}
    for clip in clips:
        if names.setdefault(clip.target, clip.category) != clip.category:
            raise CumelError(f"{table}: target {clip.target} is called both {names[clip.target]} and {clip.category}")
    most = max(1000, len(clips))
    if max(names) >= most:
        raise CumelError(f"{table}: target {max(names)} is too high for {len(clips)} clips; targets count from 0")
    targets: dict[str, int] = {}
    for target, name in names.items():
        if targets.setdefault(name, target) != target:
            raise CumelError(f"{table}: {name} has two targets, {targets[name]} and {target}; name each class once")
    return tuple(names.get(target, f"class_{target}") for target in range(max(names) + 1))


def _some(values: list) -> str:
    return ", ".join(map(str, values[:3])) + (f" and {len(values) - 3} more" if len(values) > 3 else "")
