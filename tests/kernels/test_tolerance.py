"""What float32 may be off by grows with depth, and refuses what is further off; the six signals are what they say."""

import numpy as np
import pytest

from cumel.kernels.tolerance import DB_STEPS, DEPTH_DB, KINDS, db_floor, db_tolerance, mel_ceiling, signal

from support.signals import CONFIGS, oracle


@pytest.mark.parametrize("name", ["magnitude", "l1", "esc50"])
def test_tolerance_grows_with_depth(name: str) -> None:
    cfg = CONFIGS[name].replace(top_db=None, amin=1e-30)
    y = signal("noise", 8 * cfg.n_fft, cfg.sr)
    ceiling = mel_ceiling(y, cfg)
    floor = db_floor(ceiling, cfg)
    depths = np.array([0.0, 20.0, DEPTH_DB, DEPTH_DB + 50.0])
    allowed = db_tolerance(floor + DEPTH_DB - depths, ceiling, cfg)
    amplitude = 20 * np.log10(1 + 2e-7 * np.array([1.0, 10.0, 1e4, 1e4]))  # off by that share of the loudest
    np.testing.assert_allclose(allowed, np.tile(DB_STEPS + amplitude, (cfg.n_mels, 1)), rtol=2e-3)
    slackened = db_tolerance(floor, ceiling, cfg, slack=5.0) - DB_STEPS
    np.testing.assert_allclose(slackened, 5.0 * (db_tolerance(floor, ceiling, cfg) - DB_STEPS))


def test_decibels_that_are_further_off_are_refused() -> None:
    exact = oracle("esc50", "noise", "odd")
    exact.check_log_mel(exact.log_mel + 0.9 * DB_STEPS)
    with pytest.raises(AssertionError):
        exact.check_log_mel(exact.log_mel + 20 * DB_STEPS)


@pytest.mark.parametrize("kind", KINDS)
def test_signals(kind: str) -> None:
    y = signal(kind, 16000, 16000)
    assert y.dtype == (np.int16 if kind == "quiet" else np.float32)
    assert y.shape == (16000,)
    assert y.any() == (kind != "silence")
    np.testing.assert_array_equal(y, signal(kind, 16000, 16000))
    spectrum = np.abs(np.fft.rfft(y.astype(float)))
    if kind == "tone":
        assert spectrum.argmax() == 440
    if kind == "chirp":
        assert abs(np.flatnonzero(spectrum > 0.5 * spectrum.max())[-1] - 0.45 * 16000) < 100
