"""What every benchmark shares: interleaved timing, and rows that say where they were measured."""

import csv
import datetime as dt
import os
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

SLICE = 0.2  # seconds that a peer runs in each round
PACKAGES = ("torch", "torchaudio", "librosa")
RESULTS = Path(__file__).parent / "results"


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


def machine(device: str | None = None, packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Where and when, and with which versions; the device is the processor, unless it is another."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    model = next(
        (line.split(":")[1].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")),
        platform.processor(),
    )
    return {
        "device": device or f"{model}, {os.cpu_count()} cores",
        "versions": ", ".join(f"{name} {version(name)}" for name in packages),
        "date": dt.date.today().isoformat(),
        "commit": commit.stdout.strip(),
    }


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def spread(seconds: list[float]) -> float:
    """Return the distance from the 20th to the 80th percentile."""
    low, high = np.percentile(seconds, [20, 80])
    return float(high - low)


def write_rows(topic: str, rows: list[dict[str, Any]], where: dict[str, str] | None = None) -> None:
    """Print the rows, and append them to results/<topic>.csv; all have the keys of the first."""
    where, names = where or machine(), list(rows[0])
    table = Table(*names, box=None, title=f"{topic}: {where['device']}; {where['versions']}")
    for row in rows:
        table.add_row(*map(_text, row.values()))
    Console(width=160).print(table)
    append_rows(topic, rows, where)


def append_rows(topic: str, rows: list[dict[str, Any]], where: dict[str, str]) -> None:
    """Append the rows, with where they come from, to results/<topic>.csv; all have the keys of the first."""
    names = list(rows[0])
    path = RESULTS / f"{topic}.csv"
    path.parent.mkdir(exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [*names, *where], lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows({name: _text(value) for name, value in row.items()} | where for row in rows)


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
