"""Every preset against the package that its model was trained with, on clips that are hard in different ways."""

import numpy as np
import pytest

from cumel import PRESETS, log_mel
from cumel.kernels import reference

from originals import LIVE, OTHERS, Peer, differences, limits
from support.golden import FILE, clip

GOLDEN = np.load(FILE)
LONG = ("clap", "clap_fused")  # whose clips are repeated up to 10 s otherwise


def noise(n: int, level: float, seed: int) -> np.ndarray:
    return level * np.random.default_rng(seed).standard_normal(n)


def sounds(sr: int, n: int) -> dict[str, np.ndarray]:
    t = np.arange(n) / n
    pcm = np.clip(32768 * noise(n, 0.5, 1), -32768, 32767).round()
    every = {
        "beside": np.where(t < 0.3, noise(n, 3e-4, 2), 0.4 * np.sin(0.9 * sr * t**2) + noise(n, 0.01, 3)),
        "offset": 0.5 + noise(n, 0.01, 4),
        "drift": 0.2 * t - 0.1 + noise(n, 0.003, 5),
        "full scale": pcm / 32768.0,
        "silence": np.zeros(n),
    }
    return {kind: y.astype(np.float32) for kind, y in every.items()}


def assert_equal(preset: str, theirs: np.ndarray, y: np.ndarray, what: str) -> None:
    cfg = PRESETS[preset]
    ours, truth = log_mel(y, cfg), reference.log_mel(y, cfg)
    truth = truth.T if cfg.time_major else truth
    if cfg.normalize is not None and not y.any():  # Theirs is 0 / 0, or rounding divided by 1e-5.
        assert not ours.any(), what
        return
    most, middle = limits(cfg, truth)
    for result in (ours, truth):
        largest, median = differences(theirs, result, preset)
        assert largest <= most, what
        assert median <= middle, what


@pytest.mark.parametrize("peer", LIVE, ids=lambda peer: f"{peer.preset}-{peer.package}")
def test_equals_the_original(peer: Peer) -> None:
    cfg = PRESETS[peer.preset]
    compute = peer.make()
    n = 10 * cfg.sr if peer.preset in LONG else 25 * cfg.hop_length + 3 * cfg.n_fft
    for kind, y in sounds(cfg.sr, n).items():
        assert_equal(peer.preset, compute(y.copy()), y, kind)
    if peer.preset in LONG:
        return
    for length in (n + k for k in (-cfg.hop_length, -1, 0, 1)):
        whole = (length - sum(cfg.edges)) // cfg.hop_length * cfg.hop_length + cfg.frame_length - sum(cfg.edges)
        for each in (whole - 1, whole, whole + 1):
            y = sounds(cfg.sr, each)["drift"]
            assert_equal(peer.preset, compute(y.copy()), y, f"{each} samples")


@pytest.mark.parametrize("peer", OTHERS, ids=lambda peer: f"{peer.preset}-{peer.package}")
def test_equals_the_golden_arrays(peer: Peer) -> None:
    (name,) = (name for name in GOLDEN.files if name.startswith(f"{peer.preset} {peer.package} "))
    assert_equal(peer.preset, GOLDEN[name], clip(PRESETS[peer.preset].sr), name)


def test_every_preset_has_an_original() -> None:
    own = {"esc50", "compact", "librosa"}
    assert {peer.preset for peer in (*LIVE, *OTHERS)} == PRESETS.keys() - own
