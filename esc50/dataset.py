"""A dataset in ESC-50's layout: `audio/` beside `meta/esc50.csv` with its official folds."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from ..kernels import CumelError, FeatureConfig, InputError, log_mel, mel_image
from .audio import fit_length, load_all
from .progress import track
from .recipes import Recipe
from .store import Store

COLUMNS = ("filename", "fold", "target", "category")
BATCH = 32  # clips whose features are computed at once


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
    labels: tuple[str, ...]  # name of each target

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
    return tuple(names.get(target, f"class_{target}") for target in range(max(names) + 1))


FEATURES: dict[str, Callable] = {"image": mel_image, "logmel": log_mel}  # what a network can be trained on


def load_features(
    data: Esc50, cfg: FeatureConfig, kind: str, seconds: float, workers: int, device: torch.device | None = None
) -> NDArray:
    """Compute the features of every clip, each fitted to `seconds`, in the order of `data.clips`, on `device`.

    Returns
    -------
    ndarray [n_clips, 1, n_mels, n_frames]
        uint8 for the image, float32 dB for logmel.

    Raises
    ------
    CumelError
        When recordings cannot be used, naming the first ones: a training set must be whole.
    """
    n_samples = round(seconds * cfg.sr)
    shape = (len(data.clips), 1, cfg.n_mels, cfg.n_frames(n_samples))
    out = np.empty(shape, np.uint8 if kind == "image" else np.float32)
    batch: list[NDArray[np.float32]] = []
    clips = load_all([clip.path for clip in data.clips], cfg.sr, workers)
    failures: list[str] = []
    for i, loaded in enumerate(track(clips, "features", len(data.clips), "clips")):
        if isinstance(loaded, InputError):
            failures.append(str(loaded))
        failed = isinstance(loaded, InputError)
        batch.append(np.zeros(n_samples, np.float32) if failed else fit_length(loaded[0], n_samples))
        if len(batch) == BATCH or i + 1 == len(data.clips):
            out[i + 1 - len(batch) : i + 1, 0] = FEATURES[kind](np.stack(batch), cfg, device=device)
            batch.clear()
    if failures:
        first = "; ".join(failures[:3])
        raise CumelError(f"{data.root}: {len(failures)} of {len(data.clips)} recordings cannot be used: {first}")
    return out


def stored_features(folder: Path, data: Esc50, recipe: Recipe) -> NDArray:
    """Take the features of every clip from an extracted store, whose config must be the recipe's.

    Returns
    -------
    ndarray [n_clips, 1, n_mels, n_frames]

    Raises
    ------
    CumelError
        When the store has other features, or a clip is missing, changed since, or not `recipe.seconds` long.
    """
    store = Store(folder)
    differing = store.config.features.differences(recipe.features)
    if store.config.kind != recipe.kind:
        differing.insert(0, f"features={store.config.kind}, not {recipe.kind}")
    if differing:
        raise CumelError(f"{folder}: recipe {recipe.name} needs other features; the store has {'; '.join(differing)}")
    dtype = np.uint8 if recipe.kind == "image" else np.float32
    out = np.empty((len(data.clips), *recipe.input_shape), dtype)
    for i, clip in enumerate(data.clips):
        row, status = store.row(clip.path), clip.path.stat()
        if (row["size"], row["mtime_ns"]) != (status.st_size, status.st_mtime_ns):
            raise CumelError(f"{clip.path}: changed since {folder} was extracted; extract it again")
        if row["status"] != "error" and row["n_samples"] != recipe.n_samples:
            raise CumelError(
                f"{clip.path}: has {row['n_samples']} samples, recipe {recipe.name} needs {recipe.n_samples}; "
                "leave --features away, so that clips are fitted"
            )
        out[i, 0] = store[clip.path]
    return out


def loader(
    features: NDArray, targets: list[int], batch_size: int, generator: torch.Generator | None = None
) -> DataLoader:
    """Batches of (features, target) as tensors; shuffled by `generator`, in order without one."""
    dataset = TensorDataset(torch.from_numpy(features), torch.tensor(targets, dtype=torch.long))
    return DataLoader(dataset, batch_size, shuffle=generator is not None, generator=generator)


def to_device(features: Tensor, targets: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Move a batch as the document does: features as float32, targets as long."""
    return features.to(device, dtype=torch.float32), targets.to(device, dtype=torch.long)
