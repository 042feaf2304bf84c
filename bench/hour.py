"""Times one hour of samples at once, and takes the memory beyond the samples: each way in a process of its own.

One thread. The features themselves are in that memory.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from cumel.kernels import PRESETS, log_mel

from frontends import OURS, TIMED, clips
from originals import of
from timing import machine, peak_mb, write_rows

HOUR = 3600  # seconds
CALLS = 3
LIMIT = 500  # MB that ours may take


def measure(preset: str, package: str, seconds: int) -> dict[str, float]:
    """Compute once for the memory, then time some calls; return both, and the size of the features."""
    torch.set_num_threads(1)
    if package == OURS:
        compute = lambda y: log_mel(y, preset)  # noqa: E731
    else:
        compute = next(peer for peer in of(preset) if peer.package == package).make()
    (y,) = clips(PRESETS[preset].sr, seconds)
    compute(y[: PRESETS[preset].sr])  # imports, tables and pools
    with torch.inference_mode():
        peak, features = peak_mb(lambda: compute(y))
        times = []
        for _ in range(CALLS):
            begin = time.perf_counter()
            compute(y)
            times.append(time.perf_counter() - begin)
    features_mb = features.size * np.dtype(np.float32).itemsize / 2**20
    return {"seconds": float(np.median(times)), "peak_mb": peak, "features_mb": features_mb}


def apart(preset: str, package: str, seconds: int) -> dict[str, float]:
    """Measure in a new process, on one thread."""
    command = [sys.executable, Path(__file__), "--one", preset, package, "--length", str(seconds)]
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(command, env=os.environ | one, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{preset}, {package}: exit code {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])  # packages may print before


def main() -> None:
    """Measure each way, append the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="*", choices=sorted(TIMED), default=("whisper128", "kaldi"))
    parser.add_argument("--length", type=int, default=HOUR, help="seconds of samples")
    parser.add_argument("--one", nargs=2, metavar=("PRESET", "PACKAGE"), help="measure one way, and print it as JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one, options.length)))
        return
    rows = []
    for preset in options.presets:
        for package in (*(peer.package for peer in of(preset)), OURS):
            what = {
                "preset": preset,
                "peer": package,
                "package": "" if package == OURS else f"{package} {version(package)}",
            }
            rows.append(what | apart(preset, package, options.length))
    write_rows("hour", rows, machine(packages=("torch", "numpy")))
    worst = max(float(row["peak_mb"]) for row in rows if row["peer"] == OURS)
    if worst > LIMIT:
        raise SystemExit(f"cumel took {worst:.0f} MB beyond the samples, where {LIMIT} are allowed")


if __name__ == "__main__":
    main()
