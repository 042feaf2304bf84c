"""The clips of a run, kept in its folder with their folds: a table that `--data` reads, and a later test follows."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

from ...kernels import CumelError
from ..inputs import records
from ..system import replacing
from .dataset import Clip, Dataset

CLIPS = "clips.csv"
COLUMNS = ("path", "labels", "target", "fold", "split", "group", "start", "end")
Key = tuple[str, float, float | None]


def keep(data: Dataset, run: Path) -> Path:
    """Write the clips of a run, with their folds, into its folder."""
    extra = list(dict.fromkeys(name for clip in data.clips for name in clip.extra if name not in COLUMNS))
    path = run / CLIPS
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*COLUMNS, *extra])
        for clip in data.clips:
            named = isinstance(clip.fold, str)
            table.writerow(
                [
                    _name(data, clip),
                    ";".join(data.labels[target] for target in clip.targets),
                    "" if clip.others else clip.target,
                    "" if named else clip.fold,
                    clip.fold if named else "",
                    clip.group or "",
                    clip.start or "",
                    "" if clip.end is None else clip.end,
                    *(_text(clip.extra.get(name, "")) for name in extra),
                ]
            )
    return path


def as_kept(data: Dataset, run: Path | None) -> Dataset:
    """Give the clips the folds, and the classes the numbers, that they have in a run's folder.

    Clips that the run does not have are left out, and counted in a note, as those are that it has and the data lacks.
    """
    path = None if run is None else run / CLIPS
    if path is None or not path.is_file():
        return data
    kept: dict[Key, dict[str, str]] = {}
    for where, row in records(path):
        try:
            kept[row["path"], float(row["start"] or 0), float(row["end"]) if row["end"] else None] = row
        except (KeyError, TypeError, ValueError):
            raise CumelError(f"{path}, {where}: not as it was written; train again") from None
    clips = []
    for clip in data.clips:
        row = kept.pop((_name(data, clip), clip.start, clip.end), None)
        if row is None:
            continue
        names = ";".join(data.labels[target] for target in clip.targets)
        if row["labels"] != names:
            raise CumelError(f"{clip.where}: is {names} here, and was {row['labels']} in {path}; mend one of them")
        clips.append(replace(clip, fold=row["split"] or int(row["fold"]), group=row["group"] or None))
    if not clips:
        raise CumelError(f"{data.source}: has none of the clips of {path}; is it another dataset?")
    new, gone = len(data.clips) - len(clips), len(kept)
    said = [f"{data.source}: {new} clips are not among those of {path}, and are left out"] * bool(new)
    said += [f"{data.source}: {gone} clips of {path} are gone"] * bool(gone)
    return replace(data, clips=tuple(clips), split_by=f"kept in {path}", said=(*data.said, *said))


def _name(data: Dataset, clip: Clip) -> str:
    """Return a clip's path below the root of its data, or all of it where it lies elsewhere."""
    path, root = os.path.abspath(clip.path), os.path.abspath(data.root)  # noqa: PTH100 (links stay)
    below = os.path.relpath(path, root)
    return path if below.startswith(os.pardir) else below


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
