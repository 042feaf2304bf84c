"""What else only a GPU can tell: every kernel under compute-sanitizer, and the main one's levers.

`--check-only` runs every kernel once on small shapes. The levers are how many blocks of it share a multiprocessor, and
how many frames a block has.
"""

import argparse
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cumel.kernels import PRESETS, FeatureConfig, cuda, frontend, log_mel, mfcc, plan, reference, stft
from cumel.kernels.frontend import Clips
from cumel.kernels.plan import Stage

from peers import packages
from timing import compare, demand, machine, write_rows

CFG = PRESETS["esc50"]
N_CLIPS = 512  # of 5 s: 450 MB of float32, more than an L2 cache holds
NOISE_DB = 1e-3
LEVERS = {"blocks asked for": (3, 4, 5), "frames of a block": (8, 16, 32)}


def levers(y: Tensor) -> list[dict[str, Any]]:
    """Time the main kernel at other settings of what kernels may be compiled and launched with."""
    rows, blocks_before, frames_before = [], dict(plan.MIN_BLOCKS), plan.MOST_FRAMES
    shipped = log_mel(y, CFG)
    for blocks, frames in product(*LEVERS.values()):
        plan.MIN_BLOCKS[CFG.n_fft], plan.MOST_FRAMES = blocks, frames
        plan.fused.cache_clear()
        if not torch.equal(log_mel(y, CFG), shipped):
            raise SystemExit(f"{blocks} blocks, {frames} frames: other features than as shipped: not timed")
        times = compare({"cumel": lambda: log_mel(y, CFG)}, device="cuda")["cumel"]
        settings = dict(zip(LEVERS, (blocks, frames), strict=True))
        rows.append(settings | times.columns("us_per_clip", 1e6 / N_CLIPS) | {"clips_per_s": N_CLIPS / times.median})
    plan.MIN_BLOCKS, plan.MOST_FRAMES = blocks_before, frames_before
    plan.fused.cache_clear()
    return rows


def every_kernel() -> None:
    """Run each kernel and plan on small shapes, edges and last blocks included, then again in larger blocks.

    These pass through the loop over frames more than once, and write over what they exchanged.
    """
    shipped = plan.FEW_BLOCKS
    try:
        for plan.FEW_BLOCKS in (shipped, 0):
            each_plan()
    finally:
        plan.FEW_BLOCKS = shipped
    torch.cuda.synchronize()
    print("every kernel ran, and log_mel equals the reference")


def each_plan() -> None:
    """Run each kernel and plan."""
    rng = np.random.default_rng(0)
    for n_fft in (*plan.RADICES, 500):
        cfg = FeatureConfig(sr=16000, n_fft=n_fft, hop_length=n_fft // 4 + 1, n_mels=20, pad_mode="reflect", n_mfcc=13)
        y = torch.from_numpy(rng.normal(0, 0.1, (2, 12 * n_fft + 37)).astype(np.float32)).cuda()
        lengths = [y.shape[1], 5 * n_fft]
        launcher = cuda.frontend(y.device)
        for stage in Stage:
            frontend.compute(launcher.launcher, Clips.of(y, lengths, cfg), cfg, stage)
        for dtype in (torch.float16, torch.uint8):
            frontend.compute(launcher.launcher, Clips.of(y, lengths, cfg), cfg, Stage.DECIBEL, dtype)
        out = log_mel((32768 * y).to(torch.int16), cfg, lengths)
        for clip, n in enumerate(lengths):
            truth = reference.log_mel((32768 * y[clip, :n]).to(torch.int16).cpu().numpy(), cfg)
            error = np.abs(out[clip, :, : truth.shape[1]].cpu().numpy() - truth).max()
            if not error <= NOISE_DB:
                raise SystemExit(f"n_fft={n_fft}: {error:.1e} dB from the reference")
        stft(y, cfg, lengths), mfcc(y, cfg, lengths)


def main() -> None:
    """Check, or time the levers and append the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check-only", action="store_true", help="run every kernel once on small shapes, time nothing")
    options = parser.parse_args()
    demand("cuda")
    if options.check_only:
        return every_kernel()
    rng = torch.Generator("cuda").manual_seed(0)
    y = 0.1 * torch.randn(N_CLIPS, 5 * CFG.sr, generator=rng, device="cuda")
    return write_rows("gpu_levers", levers(y), machine("cuda", packages("cuda")))


if __name__ == "__main__":
    main()
