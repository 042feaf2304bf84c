"""What the benchmarks borrow from the tests: their signals, the emulator, and how close to librosa a path must come."""

import sys
from pathlib import Path

# The tests are no package that could be installed; after everything else, so that nothing of theirs hides ours.
sys.path.append(str(Path(__file__).parents[1] / "tests"))

from simt.emulator import compile_many
from support.emulation import FEATURES, PLANS, Emulated, kernels, together
from support.signals import CONFIGS, KINDS, Oracle, librosa_input, signal

__all__ = [
    "CONFIGS",
    "FEATURES",
    "KINDS",
    "PLANS",
    "Emulated",
    "Oracle",
    "compile_many",
    "kernels",
    "librosa_input",
    "signal",
    "together",
]
