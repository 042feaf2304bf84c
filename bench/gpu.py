"""Times the fused kernel at other settings than the shipped ones, or runs every kernel once on small shapes.

`--check-only` does the latter; compute-sanitizer needs no more. The settings are how many blocks share a
multiprocessor, how many frames a block has, and how much of the L1 cache is asked for as shared memory.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cumel.kernels import PRESETS, FeatureConfig, cuda, launcher, log_mel, mfcc, plan, reference, stft
from cumel.kernels.cuda import Clips
from cumel.kernels.plan import Stage
from cumel.kernels.tolerance import NOISE_DB

from peers import packages
from timing import compare, demand, machine, write_rows

CFG = PRESETS["esc50"]
N_CLIPS = 512  # clips of 5 s; their 450 MB of float32 exceed an L2 cache
LEVERS = {"blocks asked for": (3, 4, 5), "frames of a block": (8, 16, 32), "carveout": (-1, 100)}
MODELS = ("kaldi", "parakeet", "whisper")  # presets
MODEL_ERROR = 2e-4  # in the presets' own units, near the floor
# The shipped sizes; blocks as in a large batch, with several rounds of a warp; clips that a second launch finishes.
SIZES: tuple[dict[str, int], ...] = ({}, {"FEW_BLOCKS": 0}, {"FEW_BLOCKS": 0, "ONE_BLOCK_BYTES": 0})


@contextmanager
def changed(**settings: Any) -> Iterator[None]:
    """Replace constants of `plan`, or the launcher's carveout of shared memory, inside a with block."""
    before, carveout = {name: getattr(plan, name) for name in settings if hasattr(plan, name)}, launcher.CARVEOUT
    try:
        for name, value in settings.items():
            setattr(plan if name in before else launcher, name, value)
        forget()
        yield
    finally:
        launcher.CARVEOUT = carveout
        for name, value in before.items():
            setattr(plan, name, value)
        forget()


def forget() -> None:
    """Clear the caches of plans and of loaded kernels."""
    for cache in (plan.fused, cuda._prepared, launcher._function):
        cache.cache_clear()


def levers(y: Tensor) -> list[dict[str, Any]]:
    """Time the fused kernel at each combination of settings."""
    rows = []
    shipped = log_mel(y, CFG)
    for blocks, frames, carveout in product(*LEVERS.values()):
        minimum = plan.MIN_BLOCKS | {CFG.n_fft: blocks}
        with changed(MIN_BLOCKS=minimum, MOST_FRAMES=frames, CARVEOUT=carveout):
            if not torch.equal(log_mel(y, CFG), shipped):
                raise SystemExit(f"{blocks} blocks, {frames} frames: other features than as shipped: not timed")
            times = compare({"cumel": lambda: log_mel(y, CFG)}, device="cuda")["cumel"]
        settings = dict(zip(LEVERS, (blocks, frames, carveout), strict=True))
        rows.append(settings | times.columns("us_per_clip", 1e6 / N_CLIPS) | {"clips_per_s": N_CLIPS / times.median})
    return rows


def every_kernel() -> None:
    """Run each kernel and plan on small shapes, which include edges, last blocks and second rounds of a warp."""
    for sizes in SIZES:
        with changed(**sizes):
            for n_fft in (*plan.RADICES, 500):
                run_kernels(n_fft)
            for name in MODELS:
                run_model(name)
    torch.cuda.synchronize()
    print("every kernel ran, and log_mel equals the reference")


def run_kernels(n_fft: int) -> None:
    """Run every kernel of an n_fft, with enough frames for several rounds of a warp in the largest blocks."""
    rng = np.random.default_rng(0)
    cfg = FeatureConfig(sr=16000, n_fft=n_fft, hop_length=n_fft // 4 + 1, n_mels=20, pad_mode="reflect", n_mfcc=13)
    y = torch.from_numpy(rng.normal(0, 0.1, (2, 12 * n_fft + 37)).astype(np.float32)).cuda()
    lengths = [y.shape[1], 5 * n_fft]
    frontends = launcher.frontend(y.device)
    for stage in Stage:
        cuda.compute(frontends.launcher, Clips.of(y, lengths, cfg), cfg, stage)
    for dtype in (torch.float16, torch.uint8):
        cuda.compute(frontends.launcher, Clips.of(y, lengths, cfg), cfg, Stage.DECIBEL, dtype)
    pcm = (32768 * y).to(torch.int16)
    out = log_mel(pcm, cfg, torch.tensor(lengths, device="cuda"))
    for clip, n in enumerate(lengths):
        truth = reference.log_mel(pcm[clip, :n].cpu().numpy(), cfg)
        error = np.abs(out[clip, :, : truth.shape[1]].cpu().numpy() - truth).max()
        if not error <= NOISE_DB:
            raise SystemExit(f"n_fft={n_fft}: {error:.1e} dB from the reference")
    stft(y, cfg, lengths), mfcc(y, cfg, lengths)


def run_model(name: str) -> None:
    """Run the kernels of a model's front end on two clips, and compare with the reference."""
    cfg = PRESETS[name].replace(time_major=False)
    lengths = [40 * cfg.hop_length + cfg.n_fft + 7, cfg.n_fft]
    y = 0.1 * torch.randn(2, lengths[0], generator=torch.Generator().manual_seed(0))
    out = log_mel(y.cuda(), cfg, lengths).cpu().numpy()
    for clip, n in enumerate(lengths):
        truth = reference.log_mel(y[clip, :n].numpy(), cfg)
        error = np.abs(out[clip, :, : truth.shape[1]] - truth).max()
        if not error <= MODEL_ERROR:
            raise SystemExit(f"{name}: {error:.1e} from the reference")


def main() -> None:
    """Run every kernel once, or time the settings and append the rows."""
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
