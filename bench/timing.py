"""Shared by all benchmarks: timing in turn, peak memory, and rows that say where they were measured."""

import csv
import ctypes
import datetime as dt
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from cumel.kernels import PRESETS, FeatureConfig

# The front ends that are timed, in dB, which librosa can express; `whisper` is without the model's last steps.
FRONT_ENDS = {name: PRESETS[name] for name in ("esc50", "compact", "librosa", "panns")} | {
    "whisper": FeatureConfig(sr=16000, n_fft=400, hop_length=160, n_mels=80, pad_mode="reflect")
}
SLICE = {"cpu": 0.25, "cuda": 0.1}  # seconds for each peer in each round
LEAST_CALLS, LEAST_ROUNDS = 50, 3  # a peer needs both, or MOST_SECONDS
MOST_SECONDS = 2.0  # seconds of calls after which a slow peer needs no more
BLOCK, MOST_CALLS = 0.005, 100  # most seconds and calls between two CUDA events
PACKAGES = ("torch", "torchaudio", "librosa")
RESULTS = Path(os.environ.get("CUMEL_BENCH_RESULTS", Path(__file__).parent / "results"))
COPIED = 2**28  # bytes of the copy that measures the memory rate; more than caches hold

Call = Callable[[], object]
Result = TypeVar("Result")


@dataclass
class Times:
    """Seconds of single calls, round by round."""

    rounds: list[np.ndarray] = field(default_factory=list)

    @property
    def calls(self) -> np.ndarray:
        """Seconds of every call."""
        return np.concatenate(self.rounds)

    @property
    def enough(self) -> bool:
        """Whether there are enough calls and rounds."""
        n_calls, seconds = sum(map(len, self.rounds)), sum(map(np.sum, self.rounds))
        return seconds >= MOST_SECONDS or (n_calls >= LEAST_CALLS and len(self.rounds) >= LEAST_ROUNDS)

    @property
    def medians(self) -> np.ndarray:
        """Median of each round."""
        return np.array([np.median(seconds) for seconds in self.rounds])

    @property
    def median(self) -> float:
        """Median of all calls."""
        return float(np.median(self.calls))

    def ratio(self, other: "Times") -> float:
        """Return a call's time as a multiple of that of `other`: the median over rounds, so that drift cancels."""
        n = min(len(self.rounds), len(other.rounds))  # a slow peer has fewer rounds
        return float(np.median(self.medians[:n] / other.medians[:n]))

    def columns(self, unit: str, scale: float) -> dict[str, float | int]:
        """Return median, 20th and 80th percentile and the number of calls, as columns of a row."""
        p20, p80 = np.percentile(self.calls, [20, 80]) * scale
        short = unit.partition("_")[0]
        return {unit: self.median * scale, f"p20_{short}": p20, f"p80_{short}": p80, "repeats": len(self.calls)}


def compare(
    calls: Mapping[str, Call], *, device: str = "cpu", seconds: float | None = None, rounds: int = 1
) -> dict[str, Times]:
    """Time the calls in turn, round after round, until each has enough calls and `rounds` rounds.

    Each round takes `seconds` for each call. Taking turns treats all alike on a machine whose speed drifts. A CPU is
    timed by torch.utils.benchmark, a GPU by CUDA events around as many calls as take five milliseconds, so that the
    gap between two launches counts only where it exceeds the time of the kernel.
    """
    times, seconds = {name: Times() for name in calls}, seconds or SLICE[device]
    while waiting := [name for name in calls if not times[name].enough or len(times[name].rounds) < rounds]:
        for name in waiting:
            times[name].rounds.append(_slice(calls[name], device, seconds))
    return times


def _slice(call: Call, device: str, seconds: float) -> np.ndarray:
    """Run for some seconds, and return the seconds of each call."""
    if device == "cpu":
        first = _once(call)
        if first > MOST_SECONDS:  # too long for warm caches to matter
            return np.array([first])
        if first > seconds:
            return np.array([_once(call)])
        from torch.utils.benchmark import Timer  # imported here, since it needs setuptools and takes seconds

        timer = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
        return np.array(timer.blocked_autorange(min_run_time=seconds).times)
    return _by_events(call, seconds)


def _by_events(call: Call, seconds: float) -> np.ndarray:
    """Run for some seconds, and return the seconds of a call by the device's clock, for each block of calls."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def block(n: int) -> float:
        begin.record()
        for _ in range(n):
            call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3 / n

    first = block(1)
    if first > MOST_SECONDS:
        return np.array([first])
    n = max(1, min(MOST_CALLS, int(BLOCK / block(1))))
    blocks, stop = [block(n)], time.perf_counter() + seconds
    while time.perf_counter() < stop:
        blocks.append(block(n))
    return np.array(blocks)


def _once(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_mb(call: Callable[[], Result], device: str = "cpu") -> tuple[float, Result]:
    """Return the peak memory of a call in MB, beyond what was in use before, and the call's result.

    On a GPU, the memory of torch and CuPy counts.
    """
    if device == "cpu":
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before = _status("VmRSS")
        result = call()
        return max(0, _status("VmHWM") - before) / 1024, result
    import cupy

    call()  # a first call allocates what stays, such as tables
    torch.cuda.synchronize()
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() + pool.total_bytes()
    result = call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() + pool.total_bytes() - before) / 2**20, result


def _status(name: str) -> int:
    """Return a line of /proc/self/status, in KiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


def demand(device: str) -> None:
    """Exit when a CUDA device is asked for and there is none."""
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device: nothing to measure")


def copy_rate(device: str = "cpu", *, pinned: bool = False) -> float:
    """Return bytes per second of a large copy from pinned memory, or within the device, both ways counted."""
    target = torch.ones(COPIED // 4, device=device)
    source = torch.ones(COPIED // 4, pin_memory=True) if pinned else torch.ones_like(target)
    fastest = np.min(_slice(lambda: target.copy_(source, non_blocking=True), device, SLICE[device]))
    return (1 if pinned else 2) * COPIED / float(fastest)


def machine(device: str = "cpu", packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return where, when and with which versions rows are measured; `device` is "cpu" or torch's name of a GPU."""
    git = shutil.which("git")  # a bare machine may lack it
    command = [str(git), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout if git else ""
    return {
        "device": _processor() if device == "cpu" else torch.cuda.get_device_name(device),
        "driver": "-" if device == "cpu" else _driver(),
        "versions": ", ".join(f"{name} {number}" for name in packages if (number := installed(name))),
        "date": dt.date.today().isoformat(),
        "commit": commit.strip() or "unknown",
    }


def installed(package: str) -> str | None:
    """Return a package's version, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return f"{model}, {os.cpu_count()} cores"


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    if shutil.which(command[0]) is None:
        return "unknown"
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.partition("\n")[0] or "unknown"


def write_rows(topic: str, rows: list[dict[str, Any]], where: dict[str, str] | None = None) -> None:
    """Print the rows, and append them to results/<topic>.csv; all have the keys of the first."""
    where, names = where or machine(), list(rows[0])
    print(f"{topic}: {where['device']}; {where['versions']}")
    print_table(names, [[_text(value) for value in row.values()] for row in rows])
    append_rows(topic, rows, where)


def print_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text in columns, without rich, which a bare machine lacks."""
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    for row in (names, *rows):
        print("  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip())


def append_rows(topic: str, rows: list[dict[str, Any]], where: dict[str, str]) -> None:
    """Append the rows, each with `where`, to results/<topic>.csv; all have the keys of the first.

    The environment variable CUMEL_BENCH_RESULTS names another folder.
    """
    names = [*rows[0], *where]
    path = RESULTS / f"{topic}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    header = path.read_text().partition("\n")[0] if path.exists() else ""
    if header and next(csv.reader([header])) != names:
        raise SystemExit(f"{path}: its columns are not those of these rows; move it away, and run again")
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        if not header:
            writer.writeheader()
        writer.writerows({name: _text(value) for name, value in row.items()} | where for row in rows)


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
