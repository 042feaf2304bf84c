"""Counts of an extraction, for its progress line and its report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ..store import StoreConfig
from ..store.shards import INDEX
from ..system import SETTLED_SECONDS, rate
from .job import Result
from .resume.todo import Todo, copies_noted

MOST_NAMED = 10_000  # failures, and silent recordings, that a report names; the index has all


class Counts:
    """Counts of one run."""

    def __init__(self, sr: int) -> None:
        self.sr = sr
        self.started = time.monotonic()
        self.files = self.failed = self.n_silent = 0
        self.dropped = 0  # cancelled rows of failures
        self.shards = 0
        self.audio_seconds = 0.0
        self.failures: list[dict[str, str]] = []
        self.silent: list[str] = []

    def refuse(self, failures: list[dict[str, str]]) -> None:
        """Count inputs that are no recordings."""
        self.files += len(failures)
        self.failed += len(failures)
        self.failures += failures[:MOST_NAMED]

    def add(self, result: Result) -> None:
        """Count one recording."""
        self.files += 1
        self.audio_seconds += result.n_samples / self.sr
        if result.error is not None:
            self.failed += 1
            if len(self.failures) < MOST_NAMED:
                self.failures.append({"path": str(result.path), "error": result.error})
        elif result.silent:
            self.n_silent += 1
            if len(self.silent) < MOST_NAMED:
                self.silent.append(str(result.path))

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return max(time.monotonic() - self.started, 1e-9)

    @property
    def speeds(self) -> dict[str, float]:
        """Files and hours of audio per second."""
        hours = self.audio_seconds / 3600
        return {"files_per_s": round(self.files / self.seconds, 2), "audio_hours_per_s": round(hours / self.seconds, 4)}

    def __str__(self) -> str:
        said = [f"{self.failed} failed"] * bool(self.failed)
        if self.seconds >= SETTLED_SECONDS:
            said = [
                rate(self.files, self.seconds, "files"),
                f"{self.audio_seconds / self.seconds:.0f} x real time",
                *said,
            ]
        return ", ".join(said)

    def report(self, todo: Todo, config: StoreConfig, out: Path) -> dict[str, Any]:
        """Return the counts, the speeds, the recordings to name, and what was there before, once there is an index."""
        copies, note = copies_noted(out / INDEX)
        return {
            "files": self.files,
            "extracted": self.files - self.failed,
            "failed": self.failed,
            "n_silent": self.n_silent,
            "silent": self.silent,
            "shards": self.shards,
            "audio_seconds": round(self.audio_seconds, 2),
            "seconds": round(self.seconds, 2),
            **self.speeds,
            "failures": (self.failures + todo.failures)[:MOST_NAMED],
            "kept": todo.kept,
            "failed_before": todo.failed_before,
            **todo.facts,
            "dropped": self.dropped,
            **copies,
            "notes": todo.notes + note,
            "device": config.device,
            "resampler": config.resampler,
            "store": str(out),
        }
