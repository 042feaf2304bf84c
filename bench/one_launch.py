"""What a profiler looks at: 512 clips of 5 s in one launch, and one of ten minutes in two, the second finishing it."""

import torch

from cumel.kernels import PRESETS, log_mel

from timing import demand

CFG = PRESETS["esc50"]
SHAPES = ((512, 5), (1, 600))  # clips, seconds


def main() -> None:
    """Launch."""
    demand("cuda")
    for n_clips, seconds in SHAPES:
        y = 0.1 * torch.randn(n_clips, seconds * CFG.sr, device="cuda")
        log_mel(y, CFG)
        torch.cuda.synchronize()
    print("launched", *(f"{n} x {seconds} s" for n, seconds in SHAPES))


if __name__ == "__main__":
    main()
