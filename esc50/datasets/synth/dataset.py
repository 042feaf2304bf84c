"""A small synthetic dataset in ESC-50's layout, to try everything without a download."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from ....kernels import CumelError
from ...system import bar, replacing
from .sounds import HIGHEST_HZ, SOUNDS
from .synthesizer import make_sound

VERSION = 1  # version of the sounds: the same parameters and version make the same clips
FOLDS = 5
MIN_SR, MAX_SR = 8000, 192_000  # Hz; MIN_SR is a little more than twice HIGHEST_HZ
MIN_SECONDS, MAX_SECONDS = 0.1, 60.0
COLUMNS: tuple[str, ...] = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
ESC10 = frozenset({0, 1, 10, 11, 12, 20, 21, 38, 40, 41})  # targets that ESC-50 marks; the mark means nothing here


def synthesize(
    root: Path,
    *,
    classes: int = 50,
    clips_per_class: int = 8,
    seconds: float = 5.0,
    sr: int = 44100,
    seed: int = 0,
) -> Path:
    """Make a dataset of procedural sounds: ``root/audio/*.wav`` and ``root/meta/esc50.csv``.

    Clip i of a class lies in fold i % 5 + 1. With fewer than 5 clips per class the last folds are empty and
    cannot be held out. A clip depends on its class, its number, `seconds`, `sr` and `seed` only, so a small dataset
    is a part of a larger one. A finished dataset is left as it is; an interrupted one is made again.

    Parameters
    ----------
    root : Path
        A folder that is new, empty, or holds a dataset made with the same parameters.
    classes : int
        The first `classes` of `SOUNDS`.
    clips_per_class : int
        At least 1; 5 or more fill every fold.
    seconds : float
        Length of a clip.
    sr : int
        Samples per second.
    seed : int
        Another seed makes other clips of the same classes.

    Returns
    -------
    root : Path

    Raises
    ------
    CumelError
        If a value is out of range or `root` holds something else.
    """
    _check(classes, clips_per_class, seconds, sr, seed)
    root = Path(root)
    audio, table = root / "audio", root / "meta" / "esc50.csv"
    _claim(
        root,
        {
            "version": VERSION,
            "classes": classes,
            "clips_per_class": clips_per_class,
            "seconds": float(seconds),
            "sr": sr,
            "seed": seed,
        },
    )
    clips = [_clip(target, number) for number in range(clips_per_class) for target in range(classes)]
    if table.exists() and all((audio / clip["filename"]).exists() for clip in clips):
        return root
    table.unlink(missing_ok=True)
    n = round(seconds * sr)
    with bar("making clips", len(clips), unit="clips") as advance:
        for index, clip in enumerate(clips):
            number, target = divmod(index, classes)
            y = make_sound(clip["category"], np.random.default_rng([seed, target, number]), n, sr)
            sf.write(audio / clip["filename"], np.round(y * 32767).astype(np.int16), sr, subtype="PCM_16")
            advance()
    with (
        replacing(table) as part,
        part.open("w", newline="", encoding="utf-8") as file,
    ):  # with its table a dataset is whole
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(clips, key=lambda clip: clip["filename"]))
    return root


def _clip(target: int, number: int) -> dict[str, Any]:
    """Return the row of esc50.csv for one clip of a class. Every clip is a recording of its own, hence take A."""
    fold, src_file = number % FOLDS + 1, 100_000 + number * len(SOUNDS) + target
    return {
        "filename": f"{fold}-{src_file}-A-{target}.wav",
        "fold": fold,
        "target": target,
        "category": list(SOUNDS)[target],
        "esc10": target in ESC10,
        "src_file": src_file,
        "take": "A",
    }


def _check(classes: int, clips_per_class: int, seconds: float, sr: int, seed: int) -> None:
    if not 1 <= classes <= len(SOUNDS):
        raise CumelError(f"classes={classes}: there are {len(SOUNDS)} sound classes; use 1 to {len(SOUNDS)}")
    if clips_per_class > 10_000:
        raise CumelError(f"clips_per_class={clips_per_class}: use 10000 or fewer")
    if clips_per_class < 1:
        raise CumelError(f"clips_per_class={clips_per_class}: a class needs a clip; use 1 or more, 5 to fill each fold")
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise CumelError(
            f"seconds={seconds}: a clip lasts from {MIN_SECONDS} to {MAX_SECONDS:.0f} s; ESC-50's last 5, use seconds=5"
        )
    if not MIN_SR <= sr <= MAX_SR:
        raise CumelError(
            f"sr={sr}: the classes reach {HIGHEST_HZ:.0f} Hz and files {MAX_SR} samples per second; "
            f"use {MIN_SR} <= sr <= {MAX_SR}"
        )
    if seed < 0:
        raise CumelError(f"seed={seed}: a seed is not negative; use 0 or more")


def _claim(root: Path, parameters: dict[str, Any]) -> None:
    """Make the folders of `root` and note the parameters there, or refuse to mix two datasets."""
    if root.exists() and not root.is_dir():
        raise CumelError(f"root={root} is a file; name a folder")
    audio, table, note = root / "audio", root / "meta" / "esc50.csv", root / "meta" / "synth.json"
    noted = _read(note)
    if noted != parameters and (table.exists() or any(audio.glob("*"))):
        differing = [
            f"{name}={noted.get(name)}, not {new}" for name, new in parameters.items() if noted.get(name) != new
        ]
        made = f"made with {', '.join(differing)}" if noted and differing else "that `cumel synth` did not make"
        raise CumelError(f"root={root} already holds a dataset {made}; choose another folder or remove this one")
    audio.mkdir(parents=True, exist_ok=True)
    note.parent.mkdir(exist_ok=True)
    with replacing(note) as part:
        part.write_text(json.dumps(parameters, indent=2) + "\n", encoding="utf-8")


def _read(note: Path) -> dict[str, Any]:
    """Return the parameters noted there, or none."""
    try:
        noted = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}
