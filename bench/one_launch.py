"""Launches the fused kernel for a profiler: 512 clips of 5 s in one launch, and one clip of ten minutes in two."""

import torch

from cumel.kernels import PRESETS, log_mel

from timing import demand

CFG = PRESETS["esc50"]
SHAPES = ((512, 5), (1, 600))  # numbers of clips and their seconds


def main() -> None:
    """Launch each shape once."""
    demand("cuda")
    for n_clips, seconds in SHAPES:
        y = 0.1 * torch.randn(n_clips, seconds * CFG.sr, device="cuda")
        log_mel(y, CFG)
        torch.cuda.synchronize()
    print("launched", *(f"{n} x {seconds} s" for n, seconds in SHAPES))


if __name__ == "__main__":
    main()
