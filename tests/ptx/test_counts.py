"""What kernels execute on the interpreter confirms the model by which bench/static.py counts their instructions."""

import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

pytest.importorskip("cupy_backends.cuda.libs.nvrtc", reason="NVRTC comes with CuPy: pip install 'cumel[gpu]'")
from cumel.kernels import plan

from ptx.access import Access
from ptx.program import numpy_type
from ptx.wave import WARP
from sass.counts import SECONDS
from sass.regression import baselines
from static import CONFIGS
from support.interpreted import Interpreted

ARCH = "sm_90"
CSV = Path(__file__).parents[2] / "bench" / "results" / "static.csv"
ROWS = baselines(CSV, ARCH, CONFIGS)
BANKS, WORD = 32, 4
REMEDY = "run bench/static.py if the kernels changed; if they did not, its model is wrong"

# Kinds of static.csv as PTX has them, and how far their counts may be apart, of static.csv's. The model counts the last
# block of a clip as full where PTX runs what is there. PTX's negations count as none: ptxas folds them into operands.
KINDS = {
    "FMA": (r"fma\..*", 0.001),  # worst 0.0002: the row has four digits
    "add, mul": (r"(add|sub|mul)\.(rn\.)?ftz\.f32", 0.001),  # worst 0.0003
    "shared": (r"(ld|st)\.shared\..*", 0.01),  # worst 0.0085
    "global": (r"(ld|st|atom)\.global\..*", 0.01),  # worst 0.0046
    "shuffle": (r"shfl\..*", 0.001),  # worst 0.0003
}
WAVEFRONTS = 0.01  # share of static.csv's; worst 0.0042
CONFLICTS = 0.005  # share of all wavefronts; worst 0.0027
# By default, two presets and the plan that ptxas treats apart; each config takes two seconds.
BY_DEFAULT = ("esc50", "whisper", "n_fft 256")
NAMES = [pytest.param(name, marks=[] if name in BY_DEFAULT else [pytest.mark.exhaustive]) for name in CONFIGS]
JOINED = 256  # n_fft whose float4 stores of the exchange PTX has as four stores each, which ptxas joins
JOINED_SHARED, JOINED_CONFLICTS = 0.04, 0.04  # for that one; worst 0.034


class Ran(NamedTuple):
    """What the log-mel of one clip took."""

    executed: Counter[str]  # warp instructions
    conflicts: int  # wavefronts of shared memory more than without conflicts
    n_frames: int

    def per_frame(self, pattern: str) -> float:
        """Return the instructions of some names."""
        return sum(n for op, n in self.executed.items() if re.fullmatch(pattern, op)) / self.n_frames

    @property
    def wavefronts(self) -> float:
        """Return the wavefronts of 128 bytes per frame, of neighbouring lanes at neighbouring addresses."""
        ops = (op for op in self.executed if re.match(r"(ld|st|atom)\.(global|shared)\.|shfl\.", op))
        return sum(self.executed[op] * words(op) for op in ops) / self.n_frames


def words(op: str) -> int:
    """Return the words of a lane."""
    width = re.search(r"\.v(\d)\.", op)
    return max(1, np.dtype(numpy_type(op.rpartition(".")[2])).itemsize * int(width[1] if width else 1) // WORD)


def bank_conflicts(threads: np.ndarray, addresses: np.ndarray, size: int) -> int:
    """Return how many wavefronts an access to shared memory takes beyond one for 128 bytes of neighbouring lanes."""
    together = BANKS * WORD // size  # lanes that are served at once
    groups, group = np.unique(threads // together, return_inverse=True)
    touched = (addresses // WORD)[:, None] + np.arange(size // WORD)
    group, word = np.unique(np.stack([np.repeat(group, size // WORD), touched.ravel()]), axis=1)
    each = np.bincount(group * BANKS + word % BANKS, minlength=len(groups) * BANKS)
    return int((each.reshape(-1, BANKS).max(1) - 1).sum())


@cache
def ran(name: str) -> Ran:
    """Compute the log-mel spectrogram of one clip, in blocks as of a large batch."""
    cfg, conflicts = CONFIGS[name], 0

    def watch(access: Access, size: int, addresses: np.ndarray) -> None:
        nonlocal conflicts
        if "shared" in access.instruction.parts:
            conflicts += bank_conflicts(access.threads, addresses, size)

    y = (0.3 * np.random.default_rng(5).standard_normal(SECONDS * cfg.sr)).astype(np.float32)
    interpreted = Interpreted(ARCH, races=False, watch=watch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "FEW_BLOCKS", 1)
        out = interpreted("log_mel", y, cfg)
    return Ran(interpreted.launcher.machine.executed(), conflicts, out.shape[1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_instructions_that_ran_are_those_counted(name: str, kind: str) -> None:
    pattern, rtol = KINDS[kind]
    if kind == "shared" and CONFIGS[name].n_fft == JOINED:
        rtol = JOINED_SHARED
    np.testing.assert_allclose(
        ran(name).per_frame(pattern), float(ROWS[name][f"{kind} instructions"]), rtol, err_msg=REMEDY
    )


@pytest.mark.parametrize("name", NAMES)
def test_wavefronts_are_those_counted(name: str) -> None:
    assert ran(name).n_frames == int(ROWS[name]["frames"])
    np.testing.assert_allclose(ran(name).wavefronts, float(ROWS[name]["wavefronts"]), WAVEFRONTS, err_msg=REMEDY)


@pytest.mark.parametrize("name", NAMES)
def test_bank_conflicts_are_those_counted(name: str) -> None:
    most = JOINED_CONFLICTS if CONFIGS[name].n_fft == JOINED else CONFLICTS
    counted, wavefronts = (float(ROWS[name][column]) for column in ("bank_conflicts", "wavefronts"))
    np.testing.assert_allclose(
        ran(name).conflicts / ran(name).n_frames, counted, atol=most * wavefronts, err_msg=REMEDY
    )


def test_conflicts_are_counted() -> None:
    lanes = np.arange(WARP)
    assert bank_conflicts(lanes, WORD * lanes, WORD) == 0
    assert bank_conflicts(lanes, 0 * lanes, WORD) == 0  # one word for all
    assert bank_conflicts(lanes, 2 * WORD * lanes, WORD) == 1
    assert bank_conflicts(lanes, BANKS * WORD * lanes, WORD) == WARP - 1
    assert bank_conflicts(lanes, 4 * WORD * lanes, 4 * WORD) == 0
    assert bank_conflicts(np.append(lanes, lanes + WARP), np.tile(2 * WORD * lanes, 2), WORD) == 2  # two warps
