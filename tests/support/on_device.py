"""What the tests on a GPU share."""

from typing import Any

import torch

from cumel import kernels as functions
from cumel.kernels import log_mel

from support.signals import SMALL

GRADIENT_ATOL = 1e-5  # share of the largest gradient of the CPU; no GPU yet
SMOOTH = SMALL.replace(top_db=None, amin=1e-12)  # its log-mel of noise is differentiable: nothing is clamped


def compute(feature: str, y: Any, cfg: functions.FeatureConfig, *given: Any, **options: Any) -> Any:
    """Call the public function."""
    if feature == "half":
        return log_mel(y, cfg, *given, dtype="float16", **options)
    return getattr(functions, feature)(y, cfg, *given, **options)


def noise(n_samples: int = 40_000, *, seed: int = 0, n_clips: int | None = None) -> torch.Tensor:
    shape = (n_samples,) if n_clips is None else (n_clips, n_samples)
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
