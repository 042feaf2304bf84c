"""Times the front ends of pretrained models, by their own packages and by cumel: clips in memory to features.

Samples are float32 in NumPy arrays, features what the peer returns. A peer's values are compared with ours first; one
that differs is named and not timed, and the exit code is 1. All run on one thread. A peer that takes one clip at a
time has no rows of batches.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cumel.kernels import PRESETS, log_mel

from originals import LIVE, OTHERS, Peer, differences, limits, of
from timing import Times, compare, machine, write_rows

BATCHES = (1, 8)
SECONDS = (5, 30)
# Classifiers and synthesis take short clips; a longer one would be cut, and a shorter one repeated.
TEN = ("ast", "beats", "clap", "clap_fused", "panns", "passt", "efficientat", "vggish", "yamnet", "speecht5", "univnet",
       "clvp", "pop2piano")  # fmt: skip
TIMED = tuple(dict.fromkeys(peer.preset for peer in (*LIVE, *OTHERS)))
OURS = "cumel"
Call = Callable[[], Sequence[NDArray[Any]]]


def clips(sr: int, seconds: float, n_clips: int = 1) -> NDArray[np.float32]:
    """Return clips [n_clips, n_samples]: a sweep with noise on an offset of 0.01, and a quiet first eighth."""
    n, rng = int(sr * seconds), np.random.default_rng(0)
    t = np.arange(n) / sr
    sweep = 0.3 * np.sin(2 * np.pi * (200 + 300 * t / seconds) * t) * (0.6 + 0.4 * np.sin(6 * np.pi * t))
    y = sweep + 0.03 * rng.standard_normal((n_clips, n)) + 0.01
    y[:, : n // 8] *= 0.01
    return y.astype(np.float32)


def lengths(preset: str, wanted: Sequence[int]) -> list[int]:
    """Return the seconds of a preset's clips."""
    return [10] if preset in TEN else list(wanted)


def calls(preset: str, ys: NDArray[np.float32]) -> dict[str, tuple[str, Call]]:
    """Return ways to compute the features of clips, by the peer's name: its version, and the call."""
    ways: dict[str, tuple[str, Call]] = {}
    for peer in of(preset):
        if peer.batch is not None:
            ways[peer.package] = (peer.name, partial(peer.batch(), ys))
        elif len(ys) == 1:
            ways[peer.package] = (peer.name, _one(peer, ys[0]))
    ways[OURS] = ("", lambda: log_mel(ys, preset))
    return ways


def _one(peer: Peer, y: NDArray[np.float32]) -> Call:
    compute = peer.make()
    return lambda: (compute(y),)


def wrong(preset: str, theirs: Sequence[NDArray[Any]], ours: Sequence[NDArray[Any]]) -> str:
    """Say by how much a peer's features differ from ours; nothing where they are equal but for rounding."""
    if len(theirs) != len(ours):
        return f"{len(theirs)} clips, where {len(ours)} were given"
    for number, (their, our) in enumerate(zip(theirs, ours, strict=True)):
        try:
            largest, median = differences(np.asarray(their), our, preset)
        except ValueError as error:
            return str(error)
        most, middle = limits(PRESETS[preset], our)
        if not (largest <= most and median <= middle):
            return f"differs in clip {number} by {largest:.1e}, {median:.1e} in the median"
    return ""


def measure(preset: str, seconds: int, n_clips: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Check every peer, then time it in turn with ours; return the rows, and which peers were left out and why."""
    ys = clips(PRESETS[preset].sr, seconds, n_clips)
    ways = calls(preset, ys)
    ours = np.asarray(ways[OURS][1]())
    place, left_out = f"{preset}, {n_clips} of {seconds} s", []
    for name in [name for name in ways if name != OURS]:
        if reason := wrong(preset, ways[name][1](), ours):
            left_out.append(f"{place}: {name}: {reason}: not timed")
            del ways[name]
    times = compare({name: call for name, (_, call) in ways.items()})
    return [row(preset, seconds, n_clips, name, ways[name][0], times) for name in ways], left_out


def row(preset: str, seconds: int, n_clips: int, name: str, version: str, times: dict[str, Times]) -> dict[str, Any]:
    """Return a row of results/frontends.csv."""
    return {
        "preset": preset,
        "seconds": seconds,
        "batch": n_clips,
        "peer": name,
        "package": version,
        **times[name].columns("ms_per_clip", 1e3 / n_clips),
        "paired_speed_of_cumel": times[name].ratio(times[OURS]),
    }


def main() -> None:
    """Check, time, append the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="*", choices=sorted(TIMED), default=TIMED, metavar="PRESET")
    parser.add_argument("--batches", nargs="*", type=int, default=BATCHES)
    parser.add_argument("--seconds", nargs="*", type=int, default=SECONDS, help="of clips of speech; of others 10")
    options = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)  # NumPy's BLAS
    where, left_out = machine(packages=("torch", "numpy")), []
    with torch.inference_mode():
        for preset in options.presets:
            for seconds in lengths(preset, options.seconds):
                for n_clips in options.batches:
                    rows, reasons = measure(preset, seconds, n_clips)
                    left_out += reasons
                    write_rows("frontends", rows, where)  # written now, since a later peer may fail
    if left_out:
        raise SystemExit("\n".join(["left out:", *left_out]))


if __name__ == "__main__":
    main()
