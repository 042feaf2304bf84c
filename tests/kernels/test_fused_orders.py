"""Every kernel gives the same bits in every order of its threads and blocks."""

import numpy as np
import pytest

from cumel.kernels import FeatureConfig, plan

from simt.emulator import compile_many
from support.emulation import FEATURES, PLANS, Emulated, kernels, together
from support.signals import CONFIGS, signal

RESIDENT = 4  # blocks in flight
ORDERS = [Emulated(order=order, resident=RESIDENT) for order in ("forward", "backward")]
ORDERS += [Emulated(order="random", seed=seed, resident=RESIDENT) for seed in range(20)]
MFCC_TILES = 3  # tiles, each of as many frames as a warp has lanes


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Use all processors, once."""
    compile_many({kernel for name in PLANS for kernel in kernels(CONFIGS[name])})


def two_clips(cfg: FeatureConfig, n_frames: int) -> tuple[np.ndarray, list[int]]:
    """Return one clip of so many frames, and one of a few."""
    noise = signal("noise", (n_frames - 1) * cfg.hop_length + cfg.n_fft - 2 * cfg.edges[0], cfg.sr)
    return together([noise, noise[: cfg.n_fft + cfg.hop_length + 1]], packed=True)


def check_orders(feature: str, cfg: FeatureConfig, n_frames: int) -> None:
    y, lengths = two_clips(cfg, n_frames)
    expected = Emulated()(feature, y, cfg, lengths)
    assert expected.shape[2] == n_frames
    assert expected.any(axis=(1, 2)).all()
    for emulated in ORDERS:
        np.testing.assert_array_equal(emulated(feature, y, cfg, lengths), expected)


@pytest.mark.each_value
@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("feature", [feature for feature in FEATURES if feature != "mfcc"])
def test_no_order_changes_a_bit(feature: str, name: str) -> None:
    """A clip of three blocks, the last of them not full, and one of a single block."""
    cfg = CONFIGS[name].replace(hop_length=CONFIGS[name].n_fft // 3, pad_mode="reflect", top_db=40.0)
    fused = plan.fused(cfg, *FEATURES[feature])
    frames = plan.MOST_FRAMES if fused is None else fused.frames(1)
    check_orders(feature, cfg, 2 * frames + 1)


def test_no_order_changes_a_bit_of_mfcc() -> None:
    check_orders("mfcc", CONFIGS["compact"], (MFCC_TILES - 1) * plan.WARP + 1)
