"""What a call costs the host before a GPU has anything to do: microseconds of Python, by a launcher without a device.

Checking the lengths, laying out the batch and collecting the arguments of every launch, for clips whose lengths no call
had before. What CuPy and the driver take for a launch comes on top, and a copy of the lengths of a ragged batch.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import cycle

import numpy as np
import torch
from torch import Tensor

from cumel.kernels import PRESETS, checks
from cumel.kernels.frontend import Argument, Clips, Frontend
from cumel.kernels.plan import Grid, Kernel

from timing import machine, write_rows

CFG = PRESETS["esc50"]
BATCHES = (1, 120, 256, 1024, 4096)
SAMPLES = 2205, 4410  # of the shortest and the longest clip: nothing is computed, and memory shall not be what is timed
VARIETY = 97  # batches, more than any cache has places
CALLS = 400


class Nowhere:
    """A launcher without a device."""

    def __init__(self) -> None:
        self._zeros = torch.zeros(max(BATCHES), 2, dtype=torch.int32), torch.zeros(max(BATCHES), dtype=torch.int32)

    def launch(self, kernel: Kernel, grid: Grid, arguments: Sequence[Argument]) -> None:
        """Start nothing."""

    def keep(self, *tensors: Tensor) -> None:
        """Keep nothing."""

    def workspace(self, n_clips: int) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Return zeros."""
        return self._zeros


def calls(n_clips: int) -> dict[str, Callable[[], None]]:
    """Return what is timed for batches of so many clips."""
    frontend, rng = Frontend(Nowhere()), np.random.default_rng(0)
    ragged = cycle([rng.integers(*SAMPLES, n_clips) for _ in range(VARIETY)])
    y, memory = torch.zeros(n_clips, SAMPLES[1]), torch.zeros(n_clips * SAMPLES[1])

    def even() -> None:
        lengths, _ = checks.clip_lengths(None, y, CFG)
        frontend.log_mel(Clips.of(y, lengths, CFG), CFG)

    def padded() -> None:
        lengths, _ = checks.clip_lengths(next(ragged), y, CFG)
        frontend.log_mel(Clips.of(y, lengths, CFG), CFG)

    def packed() -> None:
        given = next(ragged)
        samples = memory[: int(given.sum())]
        lengths, _ = checks.clip_lengths(given, samples, CFG)
        frontend.log_mel(Clips.of(samples, lengths, CFG), CFG)

    return {"even": even, "padded": padded, "packed": packed}


def microseconds(call: Callable[[], None]) -> float:
    """Return the median of single calls: a loaded machine disturbs some of them."""
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e6 * statistics.median(times)


def main() -> None:
    """Time every layout, print, and append the rows when asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--rows", action="store_true", help="append to host.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for n in options.batches:
        for name, call in calls(n).items():
            rows.append({"layout": name, "clips": n, "us": microseconds(call)})
            print(f"{n:5} clips, {name}: {rows[-1]['us']:.1f} us")
    if options.rows:
        write_rows("host", rows, machine())


if __name__ == "__main__":
    main()
