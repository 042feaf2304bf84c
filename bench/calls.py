"""Times single calls by the wall clock: microseconds until a call returns, and until its result is computed.

Batches have one clip or many, of equal lengths, or of lengths that no call had before: padded, or packed right after
one another. On a GPU there are also lengths on the device, a CuPy array on its default stream, and a replayed CUDA
graph. `--device cpu` needs no GPU, since its launcher starts nothing. It times Python's share: checking the lengths,
laying out the batch and collecting the arguments of each launch. The launch itself, by CuPy and the driver, comes on
top, and so does the copy of a ragged batch's lengths.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cumel.kernels import PRESETS, interchange, log_mel
from cumel.kernels.cuda import Argument, Clips, Frontend
from cumel.kernels.plan import Grid, Kernel

from features import in_a_graph
from timing import demand, machine, print_table, write_rows
from warm import first_line

CFG = PRESETS["esc50"]
BATCHES = (1, 120, 256, 1024, 4096)
SAMPLES = {"cpu": 4410, "cuda": 22050}  # samples in the longest clip; on the CPU nothing is computed
VARIETY = 97  # number of batches, each with lengths of its own
SERIES, CALLS = 7, 50
PACKAGES = ("torch", "cupy-cuda13x", "cupy-cuda12x")


class Nowhere:
    """A launcher that has no device and starts nothing."""

    def __init__(self) -> None:
        self._zeros = torch.zeros(max(BATCHES), 2, dtype=torch.int32), torch.zeros(max(BATCHES), dtype=torch.int32)

    def launch(self, kernel: Kernel, grid: Grid, arguments: Sequence[Argument]) -> None:
        """Start nothing."""

    def keep(self, *tensors: Tensor) -> None:
        """Keep nothing."""

    def workspace(self, n_clips: int) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Return zeros."""
        return self._zeros


def on_host() -> Callable[[Tensor, Any], Tensor]:
    """Return a function that calls the front end on a launcher that starts nothing."""
    frontend = Frontend(Nowhere())

    def compute(y: Tensor, lengths: Any) -> Tensor:
        checked, _ = interchange.clip_lengths(lengths, y, CFG)
        return frontend.log_mel(Clips.of(y, checked, CFG), CFG)

    return compute


def microseconds(call: Callable[[], object], device: str) -> tuple[float, float]:
    """Return median microseconds until a call returns, and per call of a series that ends when all are computed."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    call(), call(), wait()
    returned, done = [], []
    for _ in range(SERIES):
        start = before = time.perf_counter()
        for _ in range(CALLS):
            call()
            now = time.perf_counter()
            returned.append(now - before)
            before = now
        wait()
        done.append(time.perf_counter() - start)
    return 1e6 * float(np.median(returned)), 1e6 * float(np.median(done)) / CALLS


def ways(device: str) -> dict[tuple[str, int], Callable[[], Callable[[], object]]]:
    """Return functions that build the calls, so that a call that cannot be built does not stop the others."""
    n = SAMPLES[device]
    compute = on_host() if device == "cpu" else lambda y, lengths: log_mel(y, CFG, lengths)

    def clips(n_clips: int) -> Tensor:
        return 0.1 * torch.randn(n_clips, n, device=device)

    def ragged(n_clips: int) -> list[np.ndarray]:
        rng = np.random.default_rng(0)
        return [rng.integers(n // 2, n, n_clips) for _ in range(VARIETY)]

    def even(n_clips: int) -> Callable[[], object]:
        y = clips(n_clips)
        return lambda: compute(y, None)

    def padded(n_clips: int) -> Callable[[], object]:
        y, lengths = clips(n_clips), cycle(ragged(n_clips))
        return lambda: compute(y, next(lengths))

    def packed(n_clips: int) -> Callable[[], object]:
        memory = clips(n_clips).reshape(-1)
        each = cycle([(memory[: int(lengths.sum())], lengths) for lengths in ragged(n_clips)])
        return lambda: compute(*next(each))

    def lengths_on_device(n_clips: int) -> Callable[[], object]:
        y, lengths = clips(n_clips), torch.from_numpy(ragged(n_clips)[0]).to(device)
        return lambda: compute(y, lengths)

    def of_cupy() -> Callable[[], object]:
        import cupy

        y = cupy.zeros(n, np.float32)
        return lambda: log_mel(y, CFG)

    layouts: dict[str, Callable[[int], Callable[[], object]]] = {"even": even, "padded": padded, "packed": packed}
    if device == "cuda":
        layouts["lengths there"] = lengths_on_device
    builders = {
        (name, size): (lambda size=size, make=make: make(size)) for name, make in layouts.items() for size in BATCHES
    }
    if device == "cpu":
        return builders
    return builders | {("CuPy", 1): of_cupy, ("CUDA graph", 1): lambda: in_a_graph(clips(1), CFG)}


def main() -> None:
    """Time every way, print, append the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=tuple(SAMPLES), default="cuda")
    device = parser.parse_args().device
    demand(device)
    if device == "cpu":
        torch.set_num_threads(1)
    rows, failed = [], []
    for (name, n_clips), build in ways(device).items():
        try:
            returned, done = microseconds(build(), device)
        except Exception as error:
            failed.append((name, str(n_clips), first_line(error)))
            continue
        rows.append({"call": name, "clips": n_clips, "us_returned": returned, "us_done": done})
    if rows:
        write_rows("calls", rows, machine(device, PACKAGES))
    if failed:
        print_table(("call", "clips", "reason"), failed)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
