"""Compares every plan, feature and dtype with the reference once, with few and with many frames to a block.

It is meant for the first minute on a GPU, needs NumPy, torch and CuPy, and first compiles in several processes. A case
that fails becomes a row with its reason, and the others go on; the exit code is 1 then. Without a GPU the same cases
run on the emulator or on the CPU path, so that the tests can run this script.
"""

import argparse
import csv
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from cumel import kernels as functions
from cumel.kernels import FeatureConfig, plan, reference
from cumel.kernels.plan import Kernel

from from_tests import CONFIGS, FEATURES, FRONT_ENDS, PLANS, Emulated, Oracle, compile_many, kernels, signal, together
from timing import demand, print_table
from warm import first_line, warm

DTYPES = ("float32", "int16")
# Beside the plans, front ends of models: what they do to samples and levels, in these features.
MODELS = {f"{name} of models": FRONT_ENDS[name] for name in ("kaldi", "parakeet", "whisper")}
OF_MODELS = ("stft", "melspectrogram", "log_mel", "half")
CASES = {name: CONFIGS[name] for name in PLANS} | MODELS
FRAMES = {
    "few": None,
    "many": 0,
}  # frames to a block by plan.FEW_BLOCKS: the shipped value for few, 0 for as many as fit
LONGEST = 9  # windows in the longest of the three clips
COLUMNS = ("plan", "feature", "dtype", "frames", "error", "state", "reason")
Compute = Callable[[str, np.ndarray, FeatureConfig, list[int]], np.ndarray]


class Case(NamedTuple):
    """A feature of three clips of different lengths, packed right after one another."""

    plan: str
    feature: str
    dtype: str
    frames: str


def cases(plans: list[str], features: list[str]) -> Iterator[Case]:
    """Yield every case: each plan and feature with few and many frames, of both dtypes."""
    for name in plans:
        some = [feature for feature in features if name not in MODELS or feature in OF_MODELS]
        for frames in FRAMES:
            yield from (Case(name, feature, dtype, frames) for feature in some for dtype in DTYPES)


def on_cuda(feature: str, y: np.ndarray, cfg: FeatureConfig, lengths: list[int]) -> np.ndarray:
    """Compute with the public functions on the GPU, and copy to the host, where errors of the kernel appear."""
    return public(feature, torch.from_numpy(y).cuda(), cfg, lengths).cpu().numpy()


def on_cpu(feature: str, y: np.ndarray, cfg: FeatureConfig, lengths: list[int]) -> np.ndarray:
    """Compute with the public functions on the CPU."""
    return public(feature, torch.from_numpy(y), cfg, lengths).numpy()


def public(feature: str, y: torch.Tensor, cfg: FeatureConfig, lengths: list[int]) -> torch.Tensor:
    """Call the public function; "half" is log_mel as float16."""
    if feature == "half":
        return functions.log_mel(y, cfg, lengths, dtype="float16")
    return getattr(functions, feature)(y, cfg, lengths)


BACKENDS: dict[str, Callable[[], Compute]] = {"cuda": lambda: on_cuda, "emulator": Emulated, "cpu": lambda: on_cpu}


def needed(each: list[Case]) -> set[Kernel]:
    """Return the kernels of some cases."""
    return {
        kernel
        for case in each
        for kernel in kernels(CASES[case.plan], [case.feature], int16=case.dtype == "int16")
    }  # fmt: skip


def distance(feature: str, got: np.ndarray, oracle: Oracle) -> float:
    """Return the largest error of a clip's feature: in decibels, in levels of an image, or relative to its maximum."""
    if feature == "mel_image":
        return float(np.abs(got.astype(int) - reference.mel_image(oracle.y, oracle.cfg)).max())
    if feature in ("log_mel", "half"):
        return float(np.abs(np.maximum(got, oracle.floor) - np.maximum(oracle.log_mel, oracle.floor)).max())
    if feature == "spectrogram":
        expected = np.abs(oracle.stft) ** oracle.cfg.power
    else:
        expected = getattr(reference, feature)(oracle.y, oracle.cfg)
    return float(np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-30))


def check(case: Case, got: np.ndarray, oracle: Oracle, log_mel: Callable[[], np.ndarray]) -> None:
    """Compare one clip's feature with the reference, within the tolerances of the tests."""
    if case.feature == "half":
        np.testing.assert_array_equal(got, log_mel().astype(np.float16))
    elif case.feature == "mfcc":
        oracle.check_mfcc(got, log_mel())
    else:
        name = {"melspectrogram": "mel", "mel_image": "image"}.get(case.feature, case.feature)
        getattr(oracle, f"check_{name}")(got)


def run(case: Case, compute: Compute) -> tuple[float, str, str]:
    """Compute one case, and return its error, state and reason."""
    cfg = CASES[case.plan]
    kind = "quiet" if case.dtype == "int16" else "noise"
    clips = [signal(kind, n * cfg.n_fft + 1, cfg.sr) for n in (LONGEST, 1, LONGEST // 2)]
    y, lengths = together(clips, packed=True)
    error = float("nan")
    try:
        got = compute(case.feature, y, cfg, lengths)
        base = compute("log_mel", y, cfg, lengths) if case.feature in ("half", "mfcc") else None
        errors = []
        for row, clip in enumerate(clips):
            feature, oracle = got[row, :, : cfg.n_frames(len(clip))], Oracle(clip, cfg)
            errors.append(distance(case.feature, feature, oracle))
            error = float(np.max(errors))  # NaN if any is
            check(case, feature, oracle, lambda row=row, n=feature.shape[1]: base[row, :, :n])
    except AssertionError as wrong:
        lines = [line.strip() for line in str(wrong).splitlines() if line.strip()] or [""]
        return error, "WRONG", next((line for line in lines if "Mismatch" in line or "Max" in line), lines[0])
    except Exception as failed:
        return error, "FAILED", first_line(failed)
    return error, "ok", ""


def table(each: list[Case], compute: Compute) -> Iterator[tuple[str, ...]]:
    """Yield a row for each case."""
    shipped = plan.FEW_BLOCKS
    try:
        for case in each:
            plan.FEW_BLOCKS = shipped if FRAMES[case.frames] is None else FRAMES[case.frames]
            error, state, reason = run(case, compute)
            yield (*case, f"{error:.1e}", state, reason[:100])
    finally:
        plan.FEW_BLOCKS = shipped


def main() -> None:
    """Compile, run every case, and print the cases that are wrong and the largest errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=sorted(BACKENDS), default="cuda")
    parser.add_argument("--plans", nargs="*", choices=sorted(CASES), default=list(CASES))
    parser.add_argument("--features", nargs="*", choices=sorted(FEATURES), default=list(FEATURES))
    parser.add_argument("--out", type=Path, help="a .csv file for the rows; the screen when absent")
    options = parser.parse_args()
    demand(options.backend)
    began, each = time.monotonic(), list(cases(options.plans, options.features))
    if options.backend == "cuda":
        print(*warm(needed(each)), sep="\n", end="", flush=True)
    elif options.backend == "emulator":
        compile_many(needed(each))
    print(f"compiled in {time.monotonic() - began:.0f} s", flush=True)
    rows = []
    with ExitStack() as stack:
        file = sys.stdout if options.out is None else stack.enter_context(options.out.open("w", newline=""))
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in table(each, BACKENDS[options.backend]()):  # written at once, since the next case may hang
            writer.writerow(row)
            file.flush()
            rows.append(row)
    bad = [row for row in rows if row[-2] != "ok"]
    print_table(COLUMNS, bad + worst(rows))
    print(f"{options.backend}: {len(rows) - len(bad)} of {len(rows)} cases are right, {time.monotonic() - began:.0f} s")
    if bad:
        raise SystemExit(1)


def worst(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the row with the largest error of each plan and feature, among the cases that are right."""
    largest: dict[tuple[str, str], tuple[str, ...]] = {}
    for row in rows:
        key = row[0], row[1]
        if row[-2] == "ok" and (key not in largest or float(row[4]) > float(largest[key][4])):
            largest[key] = row
    return list(largest.values())


if __name__ == "__main__":
    main()
