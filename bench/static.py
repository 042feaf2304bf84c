"""The fused log-mel kernels counted: warp instructions and L1 wavefronts per frame, and the bounds that follow.

Nothing runs, and no GPU is needed: `counts` says how and how exactly. The bounds in clips per second assume an H200
that never waits; they are computed from the counts, not measured.
"""

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cupy_backends.cuda.libs import nvrtc
from rich.console import Console
from rich.table import Table

from cumel.esc50.system.cores import CORES
from cumel.kernels import PRESETS, FeatureConfig

from sass.counts import KINDS, PHASES, SECONDS, Count, count
from sass.regression import CHECKED, GROWTH, MOST, Counted, check
from timing import RESULTS, append_rows, machine

CONFIGS = PRESETS | {  # every plan
    "n_fft 256": FeatureConfig(sr=16000, n_fft=256, hop_length=128, n_mels=40),
    "n_fft 512": FeatureConfig(sr=16000, n_fft=512, hop_length=160, n_mels=80),
    "n_fft 4096": FeatureConfig(sr=44100, n_fft=4096, hop_length=1024, fmin=20.0),
}

SMS, SCHEDULERS = 132, 4  # of an H200; a scheduler issues one warp instruction a clock
WAVEFRONT = 1  # of 128 bytes, that the L1 cache and shared memory of a multiprocessor move a clock
DRAM = 4.3e12  # bytes per second, as others measured on an H200
BOOST = 1.98  # GHz
REST = ("registers", "spill bytes", "L1 wavefronts", "bank conflicts", "DRAM bytes")


@dataclass(frozen=True)
class Bounds:
    """Clips per second that an H200 cannot exceed."""

    issue: float
    l1: float
    dram: float


def dram_bytes(one: Count) -> int:
    """Bytes per frame, float32 in and out. What top_db lifts is read again from L2, and tables stay in caches."""
    return 4 * (one.work.cfg.hop_length + one.work.cfg.n_mels)


def bounds(one: Count, clock: float) -> Bounds:
    """Compute the bounds at a clock in GHz."""
    n_frames, clocks = one.work.n_frames, SMS * clock * 1e9
    return Bounds(
        issue=clocks * SCHEDULERS / (one.per_frame() * n_frames),
        l1=clocks * WAVEFRONT / (one.wavefronts + one.conflicts),
        dram=DRAM / (dram_bytes(one) * n_frames),
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
    for name, one in counts.items():
        phases.add_row(name, *(f"{one.per_frame(phase=phase):.0f}" for phase in PHASES), f"{one.per_frame():.0f}")
        through_l1 = (f"{n / one.work.n_frames:.0f}" for n in (one.wavefronts, one.conflicts))
        rest = (str(one.resources.registers), str(one.resources.spills), *through_l1, str(dram_bytes(one)))
        kinds.add_row(name, *(f"{one.per_frame(kind=kind):.0f}" for kind in KINDS), *rest)
        most = bounds(one, clock)
        limits.add_row(name, *(f"{value / 1e6:.2f} M" for value in (most.issue, most.l1, most.dram)))
    console = Console(width=160)
    console.print(f"Warp instructions per frame inside a clip, {arch}, by what they are for", phases, sep="\n")
    console.print("the same by kind, and what goes through L1 and DRAM", kinds, sep="\n")
    console.print(
        f"clips/s that an H200 at {clock} GHz cannot exceed: computed from these counts, not measured", limits
    )


def row(name: str, one: Count, clock: float) -> dict[str, object]:
    """Return one row of results/static.csv."""
    most = bounds(one, clock)
    return {
        "op": f"log_mel {name}",
        "n_fft": one.work.cfg.n_fft,
        "clip_s": SECONDS,
        "frames": one.work.n_frames,
        "registers": one.resources.registers,
        "spill_bytes": one.resources.spills,
        "instructions": one.per_frame(),
        **{phase: one.per_frame(phase=phase) for phase in PHASES},
        **{f"{kind} instructions": one.per_frame(kind=kind) for kind in KINDS},
        "wavefronts": one.wavefronts / one.work.n_frames,
        "bank_conflicts": one.conflicts / one.work.n_frames,
        "dram_bytes": dram_bytes(one),
        "clock_ghz": clock,
        "issue_clips_s": most.issue,
        "l1_clips_s": most.l1,
        "dram_clips_s": most.dram,
    }


def count_all(arch: str) -> dict[str, Count]:
    """Count every config. NVRTC takes one at a time, so this runs in processes."""
    with ProcessPoolExecutor(min(CORES, len(CONFIGS)), multiprocessing.get_context("spawn")) as pool:
        return dict(zip(CONFIGS, pool.map(count, CONFIGS.values(), [arch] * len(CONFIGS)), strict=True))


def main() -> None:
    """Count every config, then print and append the rows, or hold the counts to the last ones."""
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
        held = {name: Counted(one.per_frame(), one.resources.spills, one.names) for name, one in counts.items()}
        print(*check(held, options.results / "static.csv", options.arch, compiler), sep="\n")
        return
    show(counts, options.arch, options.clock)
    where = {"arch": options.arch, "nvrtc": compiler}
    here = machine()
    rows = [row(name, one, options.clock) for name, one in counts.items()]
    append_rows("static", rows, where | {name: here[name] for name in ("date", "commit")})


if __name__ == "__main__":
    main()
