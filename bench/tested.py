"""What the benchmarks borrow from the tests: their signals, how close to librosa a path must come, the emulator."""

import sys
from pathlib import Path

# The tests are no package that could be installed; after everything else, so that nothing of theirs hides ours.
sys.path.append(str(Path(__file__).parents[1] / "tests"))

from emulated import Emulated, kernels
from signals import KINDS, NOISY, NOISY_DB, TONAL_DB, Oracle, librosa_db, librosa_input, librosa_mel, signal
from simt.emulator import compile_many

__all__ = [
    "KINDS",
    "NOISY",
    "NOISY_DB",
    "TONAL_DB",
    "Emulated",
    "Oracle",
    "compile_many",
    "kernels",
    "librosa_db",
    "librosa_input",
    "librosa_mel",
    "signal",
]
