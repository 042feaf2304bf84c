"""Counts the fused log-mel kernels: warp instructions and L1 wavefronts per frame, and the bounds that follow.

No kernel runs, and no GPU is needed: sass/README.md says how. The bounds in clips per second assume an H200 that
never waits; they are computed from the counts, not measured.
"""

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cupy_backends.cuda.libs import nvrtc
from rich.console import Console
from rich.table import Table

from cumel.esc50.system.pipeline import CORES
from cumel.kernels import FeatureConfig

from sass.counts import KINDS, PHASES, SECONDS, Count, count
from sass.regression import CHECKED, GROWTH, MOST, Counted, check
from timing import FRONT_ENDS, RESULTS, append_rows, machine

CONFIGS = FRONT_ENDS | {  # all fused plans
    "n_fft 256": FeatureConfig(sr=16000, n_fft=256, hop_length=128, n_mels=40),
    "n_fft 512": FeatureConfig(sr=16000, n_fft=512, hop_length=160, n_mels=80),
    "n_fft 4096": FeatureConfig(sr=44100, n_fft=4096, hop_length=1024, fmin=20.0),
}

SMS, SCHEDULERS = 132, 4  # multiprocessors of an H200, and schedulers of each: one warp instruction a clock
WAVEFRONT = 1  # wavefronts of 128 bytes a clock through the L1 cache and shared memory of a multiprocessor
DRAM = 4.3e12  # bytes per second, measured by others on an H200
BOOST = 1.98  # GHz
REST = ("registers", "spill bytes", "L1 wavefronts", "bank conflicts", "DRAM bytes")


@dataclass(frozen=True)
class Bounds:
    """Clips per second that an H200 cannot exceed."""

    issue: float
    l1: float
    dram: float


def dram_bytes(counted: Count) -> int:
    """Return the bytes per frame, float32 in and out. Values that top_db lifts are read from L2, tables from caches."""
    return 4 * (counted.work.cfg.hop_length + counted.work.cfg.n_mels)


def bounds(counted: Count, clock: float) -> Bounds:
    """Compute the bounds at a clock in GHz."""
    n_frames, clocks = counted.work.n_frames, SMS * clock * 1e9
    return Bounds(
        issue=clocks * SCHEDULERS / (counted.per_frame() * n_frames),
        l1=clocks * WAVEFRONT / (counted.wavefronts + counted.conflicts),
        dram=DRAM / (dram_bytes(counted) * n_frames),
    )


def _table(*names: str) -> Table:
    table = Table("", box=None)
    for name in names:
        table.add_column(name, justify="right")
    return table


def show(counts: dict[str, Count], arch: str, clock: float) -> None:
    """Print what was counted."""
    phases, kinds, limits = (
        _table(*names) for names in ((*PHASES, "all"), (*KINDS, *REST), ("issue", "L1, shared", "DRAM"))
    )
    for name, counted in counts.items():
        phases.add_row(
            name, *(f"{counted.per_frame(phase=phase):.0f}" for phase in PHASES), f"{counted.per_frame():.0f}"
        )
        through_l1 = (f"{n / counted.work.n_frames:.0f}" for n in (counted.wavefronts, counted.conflicts))
        rest = (str(counted.resources.registers), str(counted.resources.spills), *through_l1, str(dram_bytes(counted)))
        kinds.add_row(name, *(f"{counted.per_frame(kind=kind):.0f}" for kind in KINDS), *rest)
        limit = bounds(counted, clock)
        limits.add_row(name, *(f"{value / 1e6:.2f} M" for value in (limit.issue, limit.l1, limit.dram)))
    console = Console(width=160)
    console.print(f"Warp instructions per frame inside a clip, {arch}, by what they are for", phases, sep="\n")
    console.print("the same by kind, and what goes through L1 and DRAM", kinds, sep="\n")
    console.print(
        f"clips/s that an H200 at {clock} GHz cannot exceed: computed from these counts, not measured", limits
    )


def row(name: str, counted: Count, clock: float) -> dict[str, object]:
    """Return one row of results/static.csv."""
    limit = bounds(counted, clock)
    return {
        "op": f"log_mel {name}",
        "n_fft": counted.work.cfg.n_fft,
        "clip_s": SECONDS,
        "frames": counted.work.n_frames,
        "registers": counted.resources.registers,
        "spill_bytes": counted.resources.spills,
        "instructions": counted.per_frame(),
        **{phase: counted.per_frame(phase=phase) for phase in PHASES},
        **{f"{kind} instructions": counted.per_frame(kind=kind) for kind in KINDS},
        "wavefronts": counted.wavefronts / counted.work.n_frames,
        "bank_conflicts": counted.conflicts / counted.work.n_frames,
        "dram_bytes": dram_bytes(counted),
        "clock_ghz": clock,
        "issue_clips_s": limit.issue,
        "l1_clips_s": limit.l1,
        "dram_clips_s": limit.dram,
    }


def count_all(arch: str) -> dict[str, Count]:
    """Count every config, in several processes: NVRTC compiles one kernel at a time."""
    with ProcessPoolExecutor(min(CORES, len(CONFIGS)), multiprocessing.get_context("spawn")) as pool:
        return dict(zip(CONFIGS, pool.map(count, CONFIGS.values(), [arch] * len(CONFIGS)), strict=True))


def main() -> None:
    """Count every config, then print and append the rows, or compare the counts with the last ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="sm_90")
    parser.add_argument("--clock", type=float, default=BOOST, help="GHz; an H200's boost clock when absent")
    parser.add_argument(
        "--check",
        action="store_true",
        help=f"only hold each config to {GROWTH:.0%} above its last row, and {CHECKED} to {MOST} instructions",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder whose static.csv --check compares with")
    options = parser.parse_args()
    counts, compiler = count_all(options.arch), "{}.{}".format(*nvrtc.getVersion())
    if options.check:
        current = {
            name: Counted(counted.per_frame(), counted.resources.spills, counted.names)
            for name, counted in counts.items()
        }
        print(*check(current, options.results / "static.csv", options.arch, compiler), sep="\n")
        return
    show(counts, options.arch, options.clock)
    where = {"arch": options.arch, "nvrtc": compiler}
    here = machine()
    rows = [row(name, counted, options.clock) for name, counted in counts.items()]
    append_rows("static", rows, where | {name: here[name] for name in ("date", "commit")})


if __name__ == "__main__":
    main()
