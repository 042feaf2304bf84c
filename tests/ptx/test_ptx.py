"""What NVRTC makes of the kernels gives the emulator's bits, in every order, and breaks no rule of CUDA."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cupy_backends.cuda.libs.nvrtc", reason="NVRTC comes with CuPy: pip install 'cumel[gpu]'")
from ptx.arithmetic import exact_log2
from simt.emulator import compile_many
from support.emulation import Emulated, kernels
from support.interpreted import Interpreted
from support.launches import LAUNCHES, Launch, large_blocks, small
from support.signals import Oracle, signal

MAIN, OTHER_COMPILER, OLDEST = "sm_90", "sm_100", "sm_75"  # NVRTC has two compilers: one for sm_100 and later
RUNS = [  # configs, and whether their blocks are large
    *((MAIN, order, large) for order in ("forward", "backward", "random") for large in (False, True)),
    (OTHER_COMPILER, "forward", False),
    (OTHER_COMPILER, "forward", True),
    (OLDEST, "forward", True),
]


@pytest.fixture(scope="module")
def expected() -> dict[tuple[str, bool], np.ndarray]:
    """Compute every launch on the emulator, in small blocks and in large ones."""
    compile_many(
        {
            kernel
            for launch in LAUNCHES.values()
            for kernel in kernels(launch.cfg, ["half" if launch.half else launch.feature], int16=launch.kind == "quiet")
        }
    )
    seen, results = Emulated(), {}
    for large in (False, True):
        with large_blocks() if large else nullcontext():
            results |= {(name, large): launch.run(seen) for name, launch in LAUNCHES.items()}
    return results


@pytest.mark.each_value
@pytest.mark.parametrize("name", LAUNCHES)
@pytest.mark.parametrize(("arch", "order", "large"), RUNS)
def test_ptx_gives_the_emulators_bits(
    expected: dict[tuple[str, bool], np.ndarray], arch: str, order: str, large: bool, name: str
) -> None:
    with large_blocks() if large else nullcontext():
        out = LAUNCHES[name].run(Interpreted(arch, order=order))
    np.testing.assert_array_equal(out.view(np.uint8), expected[name, large].view(np.uint8))


def test_lanes_go_apart_and_meet_again() -> None:
    interpreted = Interpreted(MAIN, order="random")
    LAUNCHES["400-image"].run(interpreted)
    assert interpreted.launcher.machine.late_meetings > 0


@pytest.mark.parametrize("seed", range(3))
def test_other_orders_give_the_same_bits(seed: int) -> None:
    """Blocks that wait for one another, on few multiprocessors."""
    launch = Launch("log_mel", small(256, n_mels=8), n_frames=(18, 14, 1), packed=True)
    out = launch.run(Interpreted(MAIN, order="random", seed=seed, resident=512))
    np.testing.assert_array_equal(out, launch.run(Emulated()))


WORST_LG2 = 2.0**-22  # error of lg2.approx, absolute between 0.5 and 2 and else relative, by the PTX ISA


def worst_log2(x: np.ndarray) -> np.ndarray:
    """Return logarithms that are as wrong as a device may have them, up and down in turn."""
    exact = np.log2(x.astype(np.float64))
    size = np.where((x > 0.5) & (x < 2), 1.0, np.abs(exact)) * WORST_LG2
    wrong = exact + size * np.where(np.arange(x.size).reshape(x.shape) % 2, 1, -1)
    return np.where(np.isfinite(exact), wrong, exact).astype(np.float32)


@pytest.mark.parametrize("lg2", [exact_log2, worst_log2])
@pytest.mark.parametrize("kind", ["noise", "tone"])
def test_decibels_hold_whatever_a_devices_logarithm_is(kind: str, lg2: Any) -> None:
    cfg = small(512, n_mels=40)
    y = signal(kind, 20 * cfg.n_fft + 1, cfg.sr)
    interpreted, oracle = Interpreted(MAIN, lg2=lg2, races=False), Oracle(y, cfg)
    oracle.check_log_mel(interpreted("log_mel", y, cfg))
    oracle.check_image(interpreted("mel_image", y, cfg))
