"""Runs every benchmark of one device into one folder, then the report: `make bench`, `make bench-gpu`.

When a step fails, the others run all the same. It is named at the end, and the exit code is 1.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from timing import demand, print_table

BENCH = Path(__file__).resolve().parent
BUDGET = 480  # seconds for all steps on a GPU; each ends by then, and steps that have not begun are left out and named
REPORT = 60  # seconds for the report after the steps on a GPU
LEAST = 20  # seconds that a step gets once it begins; its imports alone take ten
LIMIT = {"cpu": 3600, "cuda": 300}  # seconds for one step; a kernel on its first run might hang
# Environment variables that would change the precision of peers, or the stream of CuPy.
REMOVED = ("CUPY_TF32", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "CUPY_CUDA_PER_THREAD_DEFAULT_STREAM")
Step = tuple[str, ...]


def script(name: str, *options: str) -> Step:
    """Return the command of one benchmark."""
    return (sys.executable, str(BENCH / f"{name}.py"), *options)


STEPS: dict[str, tuple[Step, ...]] = {
    "cpu": (
        script("accuracy"),
        script("features", "--batches", "1", "16"),
        script("features", "--presets", "esc50", "--batches", "256"),
        script("features", "--threads", "2", "--presets", "esc50", "--batches", "1", "16"),
        script("scaling"),
        script("extract"),
        script("inference"),
        script("routes", "--no-compile"),
        # A front end of each kind; `bench/frontends.py` alone times all of them, in seven minutes.
        script("frontends", "--presets", "whisper", "parakeet", "kaldi", "seamless", "clap", "--seconds", "30"),
        script("wrapped", "--extractors", "Whisper", "SeamlessM4T"),
        script("train", "--threads", "1", "--scaling", "2"),
        script("static"),
    ),
    "cuda": (  # the most important steps come first
        script("gpu", "--check-only"),
        script("accuracy", "--device", "cuda"),
        script("features", "--device", "cuda"),
        script("gpu"),
        script("scaling", "--device", "cuda"),
        script("train", "--recipe", "best", "--device", "cuda"),
        script("extract", "--device", "cuda"),
        script("routes", "--device", "cuda", "--no-compile"),
        script("train", "--recipe", "baseline", "--device", "cuda"),
    ),
}


def label(step: Step) -> str:
    """Return a command without its interpreter and its folders."""
    return " ".join(Path(word).name for word in step if word != sys.executable)


def run(step: Step, environment: dict[str, str], limit: float) -> int | str:
    """Run a step, and return its exit code, or why it has none."""
    try:
        return subprocess.run(step, env=environment, timeout=limit, check=False).returncode
    except subprocess.TimeoutExpired:
        return f"stopped after {limit:.0f} s"


def main() -> None:
    """Run and time the steps, then write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("device", choices=sorted(STEPS))
    parser.add_argument("--out", type=Path, help="folder for rows, plots and page; bench/ itself when absent")
    options = parser.parse_args()
    demand(options.device)
    environment, report = {k: v for k, v in os.environ.items() if k not in REMOVED}, script("report")
    if options.out is not None:
        results = options.out.resolve() / "results"
        environment["CUMEL_BENCH_RESULTS"] = str(results)
        report += ("--results", str(results), "--out", str(options.out.resolve() / "report"))
    table: list[tuple[str, str, str]] = []
    failed, began = [], time.monotonic()
    for step in (*STEPS[options.device], report):
        start = time.monotonic()
        left = LIMIT["cpu"] if options.device == "cpu" else REPORT if step == report else BUDGET + began - start
        if left <= 0:
            code = f"left out: {BUDGET} s are over"
        else:
            code = run(step, environment, min(max(left, LEAST), LIMIT[options.device]))
        failed += [label(step)] if code else []
        table.append((label(step), f"{time.monotonic() - start:.0f}", str(code)))
    print_table(("step", "seconds", "exit code"), table)
    print(f"{time.monotonic() - began:.0f} s in all")
    if failed:
        raise SystemExit(f"failed: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
