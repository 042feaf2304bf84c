"""What one call costs on a GPU machine by the clock on the wall: microseconds until it returns, and until it is done.

Clips of half a second, one, and many of different lengths; torch's tensors, CuPy's arrays on their default stream, and
a replay of a CUDA graph.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from cumel.kernels import PRESETS, log_mel

from features import in_a_graph
from timing import demand, machine, print_table, write_rows
from warm import first_line

CFG = PRESETS["esc50"]
SECONDS = 0.5
BATCHES = (1, 120, 1024, 4096)
SERIES, CALLS = 7, 50


def microseconds(call: Callable[[], object]) -> tuple[float, float]:
    """Return the median over series of calls: until a call returns, and with the wait for the last, for each."""
    call(), call()
    torch.cuda.synchronize()
    returned, done = [], []
    for _ in range(SERIES):
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        returned.append(time.perf_counter() - start)
        torch.cuda.synchronize()
        done.append(time.perf_counter() - start)
    return (float(np.median(returned)) / CALLS * 1e6, float(np.median(done)) / CALLS * 1e6)


def ways() -> dict[tuple[str, int], Callable[[], Callable[[], object]]]:
    """Return what builds each call, so that one that fails does not take the others with it."""
    n = round(SECONDS * CFG.sr)

    def even(n_clips: int) -> Callable[[], object]:
        y = 0.1 * torch.randn(n_clips, n, device="cuda")
        return lambda: log_mel(y, CFG)

    def ragged(n_clips: int) -> Callable[[], object]:
        rng = np.random.default_rng(0)
        lengths = [rng.integers(n // 2, n, n_clips).tolist() for _ in range(CALLS)]  # no call had them before
        y, turn = 0.1 * torch.randn(n_clips, n, device="cuda"), iter(range(10**9))
        return lambda: log_mel(y, CFG, lengths[next(turn) % CALLS])

    def of_cupy() -> Callable[[], object]:
        import cupy

        y = cupy.zeros(n, np.float32)
        return lambda: log_mel(y, CFG)

    def replayed() -> Callable[[], object]:
        return in_a_graph(0.1 * torch.randn(1, n, device="cuda"), CFG)

    found = {("even", size): (lambda size=size: even(size)) for size in BATCHES}
    found |= {("ragged", size): (lambda size=size: ragged(size)) for size in BATCHES}
    return found | {("CuPy", 1): of_cupy, ("CUDA graph", 1): replayed}


def main() -> None:
    """Time every way, print, append the rows."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    demand("cuda")
    rows, failed = [], []
    for (name, n_clips), build in ways().items():
        try:
            returned, done = microseconds(build())
        except Exception as error:
            failed.append((name, str(n_clips), first_line(error)))
            continue
        rows.append({"call": name, "clips": n_clips, "us_returned": returned, "us_done": done})
    if rows:
        write_rows("calls", rows, machine("cuda", ("torch", "cupy-cuda13x", "cupy-cuda12x")))
    if failed:
        print_table(("call", "clips", "reason"), failed)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
