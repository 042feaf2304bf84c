"""Datasets of empty files in layouts that tests read."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from support.recordings import touch

LABELS = ("cat", "dog", "rain")


def table(path: Path, rows: list[dict], names: list[str] | None = None) -> Path:
    """Write rows in the format of the name's extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(
                file, names or list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",", extrasaction="ignore"
            )
            writer.writeheader()
            writer.writerows(rows)
    return path


def every(n: int = 6) -> list[tuple[str, int]]:
    return [(label, i) for label in LABELS for i in range(n)]


def class_folders(root: Path) -> Path:
    return touch(root, *(f"{label}/{i}.wav" for label, i in every()), "README.md", "dog/deep/9.flac")


def split_folders(root: Path) -> Path:
    return touch(root, *(f"{'test' if i == 0 else 'train'}/{label}/{i}.wav" for label, i in every()))


def any_table(suffix: str, folder: str, column: str = "path", label: str = "label") -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        touch(root / folder, *(f"{label}-{i}.wav" for label, i in every()))
        rows = [{column: f"{name}-{i}.wav", label: name, "recorder": f"r{i % 3}", "n": i} for name, i in every()]
        return table(root / f"sounds{suffix}", rows)

    return make


ROWS = [{"path": f"{label}-{i}.wav", "label": label} for label, i in every()]


def one_clip(root: Path) -> Path:
    return touch(root, "owl/1.wav", *(f"{label}/{i}.wav" for label, i in every()))
