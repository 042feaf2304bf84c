"""The public functions against `reference` and librosa, within the tolerances of `signals`."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings, strategies as st

from cumel import kernels
from cumel.kernels import PRESETS, FeatureConfig, log_mel, mel_image, melspectrogram, reference, stft, tensors

from support.drawn import any_config
from support.signals import (
    CASES,
    CONFIGS,
    IN_DB,
    KINDS,
    MEAN_DB,
    NOISY,
    NOISY_DB,
    STFT_ATOL,
    TONAL_DB,
    Oracle,
    librosa_db,
    librosa_input,
    librosa_mel,
    oracle,
    signal,
)

REAL_CLIPS = 20
LONG_FRAMES = slice(2600, 2680)  # frames of a minute at 44.1 kHz; 200 make a chunk


def check_all(expected: Oracle, y: np.ndarray | torch.Tensor, kind: str) -> None:
    """Compare every function of `y`, the oracle's clip, with the oracle."""
    expected.check_all(lambda feature: np.asarray(getattr(kernels, feature)(y, expected.cfg)), kind)


@pytest.mark.pairwise
@pytest.mark.parametrize(("name", "kind", "length"), CASES)
def test_equals_the_reference(name: str, kind: str, length: str) -> None:
    expected = oracle(name, kind, length)
    check_all(expected, expected.y, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", IN_DB)
def test_equals_librosa(name: str, kind: str) -> None:
    expected = oracle(name, kind, "odd")
    y, cfg = expected.y, expected.cfg
    librosas = librosa.stft(librosa_input(y), **cfg.librosa_stft())
    np.testing.assert_allclose(stft(y, cfg), librosas, rtol=0, atol=STFT_ATOL * np.abs(librosas).max())
    librosas = librosa_db(librosa_mel(y, cfg), cfg)
    expected.check_log_mel(log_mel(y, cfg), NOISY_DB if kind in NOISY else TONAL_DB, librosas)


@settings(max_examples=200)
@given(any_config(), st.data())
def test_equals_the_reference_for_any_config(cfg: FeatureConfig, data: st.DataObject) -> None:
    n_samples = data.draw(st.integers(cfg.least_samples, cfg.least_samples + 4 * cfg.n_fft), "n_samples")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), "seed"))
    y = (0.3 * rng.standard_normal(n_samples)).astype(np.float32)
    if data.draw(st.booleans(), "int16"):
        y = (y * 10000).astype(np.int16)
    check_all(Oracle(y, cfg), y, "any")


@pytest.mark.parametrize("name", CONFIGS)
def test_chunks_meet_without_a_seam(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = oracle(name, "noise", "odd")
    monkeypatch.setattr(tensors, "CHUNK_SAMPLES", 3 * max(expected.cfg.n_fft, expected.cfg.hop_length))
    check_all(expected, expected.y, "noise")


def test_a_minute_equals_the_reference() -> None:
    cfg = PRESETS["esc50"].replace(top_db=None)
    y = signal("noise", 60 * cfg.sr, cfg.sr)
    first = LONG_FRAMES.start * cfg.hop_length - cfg.edges[0]
    last = (LONG_FRAMES.stop - 1) * cfg.hop_length - cfg.edges[0] + cfg.n_fft
    part = Oracle(y[first:last], cfg.replace(center=False))
    assert part.mel.shape[1] == LONG_FRAMES.stop - LONG_FRAMES.start
    ours = log_mel(y, cfg)
    assert ours.shape == (128, cfg.n_frames(y.size)) == (128, 5168)
    part.check_mel(melspectrogram(y, cfg)[:, LONG_FRAMES])
    part.check_log_mel(ours[:, LONG_FRAMES], NOISY_DB)


def test_real_recordings_equal_librosa(real_data: Path) -> None:
    cfg = PRESETS["esc50"]
    paths = sorted((real_data / "esc50-44k" / "audio").iterdir())
    paths = paths[:: max(1, len(paths) // REAL_CLIPS)][:REAL_CLIPS]
    assert len(paths) == REAL_CLIPS
    for path in paths:
        y, sr = soundfile.read(path, dtype="int16")
        assert (sr, y.ndim) == (cfg.sr, 1)
        error = np.abs(log_mel(y, cfg) - librosa_db(librosa_mel(y, cfg), cfg))
        assert error.max() <= TONAL_DB, path.name  # 2.5e-3 in all 100: 4-151242-A-37
        assert error.mean() <= MEAN_DB, path.name  # 7.4e-6: 4-111671-A-42


def test_the_baselines_image() -> None:
    """128 bands by 431 frames of uint8 that reach from 0 to 255, for five seconds at 44.1 kHz."""
    cfg = PRESETS["esc50"]
    image = mel_image(signal("chirp", 5 * cfg.sr, cfg.sr), cfg)
    assert (image.dtype, image.shape, image.min(), image.max()) == (np.uint8, (128, 431), 0, 255)
    low = mel_image(signal("tone", 5 * cfg.sr, cfg.sr), cfg)
    assert low.max(axis=1).argmax() == reference.mel_image(signal("tone", 5 * cfg.sr, cfg.sr), cfg).max(axis=1).argmax()
