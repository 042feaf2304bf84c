"""Every benchmark of one device, one after another, into one folder, then the report: `make bench`, `make bench-gpu`.

A step that fails does not keep the others from running; it is named at the end, and the exit code is 1.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

BENCH = Path(__file__).resolve().parent
TESTS = BENCH.parent / "tests"
Step = tuple[str, ...]
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--require-gpu", "-m", "gpu", str(TESTS))


def script(name: str, *options: str) -> Step:
    """Return the command of one benchmark."""
    return (sys.executable, str(BENCH / f"{name}.py"), *options)


def sanitized(tool: str) -> Step:
    """Return the command that runs every kernel under one of CUDA's checkers."""
    return ("compute-sanitizer", "--tool", tool, "--error-exitcode", "1", *script("gpu", "--check-only"))


STEPS: dict[str, tuple[Step, ...]] = {
    "cpu": (
        script("accuracy"),
        script("features"),
        script("features", "--threads", "2", "--presets", "esc50", "--batches", "16"),
        script("scaling"),
        script("extract"),
        script("inference"),
        script("routes", "--no-compile"),
        script("train", "--threads", "1", "--scaling", "2"),
        script("static"),
    ),
    "cuda": (  # what matters most comes first, in case the time is short
        script("gpu", "--check-only"),
        script("accuracy"),
        script("features", "--device", "cuda"),
        script("scaling", "--device", "cuda"),
        script("gpu"),
        script("train", "--recipe", "best", "--device", "cuda"),
        script("train", "--recipe", "document", "--device", "cuda"),
        script("routes", "--device", "cuda"),
        script("extract", "--device", "cuda"),
        sanitized("memcheck"),
        sanitized("racecheck"),
        PYTEST,
    ),
}


def label(step: Step) -> str:
    """Return a command without interpreter and folders."""
    return " ".join(Path(word).name for word in step if word != sys.executable)


def main() -> None:
    """Run the steps, time each, write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("device", choices=sorted(STEPS))
    parser.add_argument("--out", type=Path, help="folder for rows, plots and page; bench/ itself when absent")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device: nothing to measure")
    environment, report = dict(os.environ), script("report")
    if options.out is not None:
        results = options.out.resolve() / "results"
        environment["CUMEL_BENCH_RESULTS"] = str(results)
        report += ("--results", str(results), "--out", str(options.out.resolve() / "report"))
    table, failed, began = Table("step", "seconds", "exit code", box=None), [], time.monotonic()
    for step in (*STEPS[options.device], report):
        if shutil.which(step[0]) is None:
            code, seconds = f"{step[0]} is not installed", 0.0
        else:
            start = time.monotonic()
            code = subprocess.run(step, env=environment, check=False).returncode
            seconds = time.monotonic() - start
        failed += [label(step)] if code else []
        table.add_row(label(step), f"{seconds:.0f}", str(code))
    console = Console(width=120)
    console.print(table)
    console.print(f"{time.monotonic() - began:.0f} s in all")
    if failed:
        raise SystemExit(f"failed: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
