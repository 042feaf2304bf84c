"""Names that the benchmarks import from the tests: signals, the emulator, and the oracle with its tolerances."""

import sys
from pathlib import Path
from typing import Any

# The tests are not installed as a package. Their folder comes last, so that none of their modules hides one of ours.
sys.path.append(str(Path(__file__).parents[1] / "tests"))

from simt.emulator import compile_many
from support.emulation import FEATURES, PLANS, Emulated, kernels, together
from support.golden import FILE as GOLDEN, clip as golden_clip
from support.model_clips import CONFIGS as FRONT_ENDS
from support.signals import CONFIGS, KINDS, Oracle, librosa_input, signal


def lively_run(folder: Path, recipe: Any) -> Path:
    """Save an untrained network whose answers depend on its input, as a run."""
    from support import exported  # here, as it reads recordings, which a bare machine cannot

    return exported.lively_run(folder, recipe)


__all__ = [
    "CONFIGS",
    "FEATURES",
    "FRONT_ENDS",
    "GOLDEN",
    "KINDS",
    "PLANS",
    "Emulated",
    "Oracle",
    "compile_many",
    "golden_clip",
    "kernels",
    "librosa_input",
    "lively_run",
    "signal",
    "together",
]
