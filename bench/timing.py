"""What every benchmark shares: interleaved timing, and rows that say where they were measured."""

import csv
import datetime as dt
import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import librosa
import torch
import torchaudio
from rich.console import Console
from rich.table import Table

SLICE = 0.2  # seconds


@dataclass(kw_only=True)
class Row:
    """One peer in one run."""

    op: str
    peer: str
    threads: int
    batch: int
    ms_per_clip: float  # median
    spread_ms: float  # from the 20th to the 80th percentile
    speed_of_librosa: float  # how many times as fast; median of the rounds' ratios
    speed_of_torchaudio: float
    max_db: float  # from librosa in float64
    mean_db: float


def compare(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Time the calls in turn, round after round: each warms up once, then runs for SLICE seconds; seconds per call."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()  # its own memory and caches, after the peer before it
            start, done = time.perf_counter(), 0
            while done == 0 or time.perf_counter() - start < SLICE:
                call()
                done += 1
            seconds[name].append((time.perf_counter() - start) / done)
    return seconds


def machine() -> dict[str, str]:
    """Where and when, and with which versions."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    model = next(
        (line.split(":")[1].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")),
        platform.processor(),
    )
    return {
        "device": f"{model}, {os.cpu_count()} cores",
        "versions": f"torch {torch.__version__}, torchaudio {torchaudio.__version__}, librosa {librosa.__version__}",
        "date": dt.date.today().isoformat(),
        "commit": commit.stdout.strip(),
    }


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def write_rows(path: Path, rows: list[Row]) -> None:
    """Print the rows, and append them to `path`."""
    where = machine()
    names = [field.name for field in fields(Row)]
    table = Table(*names, box=None, title=f"{where['device']}; {where['versions']}")
    for row in rows:
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in asdict(row).values()))
    Console(width=160).print(table)
    path.parent.mkdir(exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [*names, *where], lineterminator="\n")
        if new:
            writer.writeheader()
        for row in rows:
            values = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in asdict(row).items()}
            writer.writerow(values | where)
