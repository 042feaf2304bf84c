"""Small recordings and datasets that tests write to disk."""

import csv
import random
from pathlib import Path

import numpy as np
import soundfile

from cumel.esc50.audio import Recording
from cumel.esc50.training.checkpoint import Checkpoint
from cumel.esc50.training.recipes import RECIPES, Recipe
from cumel.kernels import FeatureConfig, log_mel

TINY = FeatureConfig(sr=8000, n_fft=256, hop_length=128, n_mels=16)


def tone(seconds: float = 1.0, sr: int = 8000, hz: float = 440.0, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * sr)) / sr)).astype(np.float32)


def write(path: Path, y: np.ndarray, sr: int = 8000, **options: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, y, sr, **options)
    return path


def streamed(path: Path) -> np.ndarray:
    """Read a recording in blocks, as an extraction at its own rate does; int16 is scaled to float32 afterwards."""
    with Recording(path) as recording:
        y = np.concatenate(list(recording.blocks(dtype=recording.header.dtype(recording.header.sr))))
    return y * np.float32(1 / 32768) if y.dtype == np.int16 else y


def touch(root: Path, *names: str) -> Path:
    """Make empty files below a folder."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def thirty(folder: Path) -> list[Path]:
    """Write thirty clips of 0.1 to 0.4 s; number 7 is no recording."""
    rng = np.random.default_rng(0)
    paths = [write(folder / f"{i:02}.wav", rng.normal(0, 0.1, 800 + 97 * i)) for i in range(30)]
    paths[7].write_text("not audio")
    return paths


def tiny_log_mel(path: Path) -> np.ndarray:
    """Features of a recording, computed alone."""
    return log_mel(soundfile.read(path, dtype="float32")[0], TINY)


def content(store: Path) -> dict[str, bytes]:
    """Return every file of a store but its lock, which names a process."""
    return {path.name: path.read_bytes() for path in sorted(store.iterdir()) if path.name != ".lock"}


def change(path: Path, at: int, chance: random.Random) -> None:
    """Change one byte."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1 + chance.randrange(255)
    path.write_bytes(data)


def write_dataset(root: Path, *, classes: int = 3, per_fold: int = 2, folds: int = 3, suffix: str = ".wav") -> Path:
    """Each class is a tone of its own, in noise; one second at 8 kHz."""
    rng = np.random.default_rng(0)
    rows = []
    for target in range(classes):
        for fold in range(1, folds + 1):
            for take in range(per_fold):
                name = f"{fold}-{target}{take}-A-{target}{suffix}"
                y = tone(hz=300.0 * 2**target) * rng.uniform(0.3, 1) + rng.normal(0, 0.01, 8000).astype(np.float32)
                write(root / "audio" / name, y)
                rows.append((name, fold, target, f"sound_{target}", False, f"{fold}{target}{take}", "A"))
    (root / "meta").mkdir(exist_ok=True)
    with (root / "meta" / "esc50.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("filename", "fold", "target", "category", "esc10", "src_file", "take"))
        writer.writerows(rows)
    return root


def tiny_recipe(name: str = "quick", **changes: object) -> Recipe:
    """A recipe that trains in a second, on one-second clips at 8 kHz."""
    small = {"features": TINY, "seconds": 1.0, "epochs": 3, "batch_size": 4, "crop_frames": 48}
    return RECIPES[name].replace(**(small | changes))


def tiny_checkpoint(folder: Path, recipe: Recipe, labels: tuple[str, ...] = ("a", "b", "c")) -> Path:
    """An untrained network's checkpoint."""
    net = recipe.build(len(labels))
    folder.mkdir(parents=True, exist_ok=True)
    history = [{"epoch": 1, "loss": 1.0, "accuracy": 0.5, "lr": recipe.lr, "seconds": 0.1}]
    state = {"model": net.state_dict(), "ema": None, "optimizer": {}, "scheduler": None}
    Checkpoint(recipe=recipe, labels=labels, fold=1, seed=0, epoch=1, history=history, **state).save(folder)
    return folder
