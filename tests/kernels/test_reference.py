"""`reference` against librosa in float64: two implementations of the same formulas, which must agree to rounding."""

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from cumel.kernels import PRESETS, FeatureConfig, reference

from support.drawn import librosa_config
from support.signals import (
    CASES,
    CONFIGS,
    SMALL,
    Oracle,
    librosa_db,
    librosa_input,
    librosa_mel,
    oracle,
    signal,
)

STFT_ATOL = 1e-14  # share of the clip's largest |STFT|; worst 8.2e-16: prime, chirp
MEL_RTOL = 1e-10  # share of the value, besides:
MEL_ATOL = 1e-15  # share of the filter's ceiling; worst 0.07 of both together: magnitude, chirp
DB_ATOL = 1e-7  # worst 1.5e-9: l1, chirp, 130 dB below the maximum
MFCC_ATOL = 1e-7  # worst 7.7e-10: l1, chirp

# librosa warns of a clip shorter than n_fft, and then computes what we do.
pytestmark = pytest.mark.filterwarnings("ignore:n_fft=.* is too large for input signal of length:UserWarning")


def check(ours: Oracle) -> None:
    y, cfg = ours.y, ours.cfg
    stft, mel = librosa.stft(librosa_input(y), **cfg.librosa_stft()), librosa_mel(y, cfg)
    db = librosa_db(mel, cfg)
    mfcc = librosa.feature.mfcc(S=db, n_mfcc=cfg.n_mfcc, lifter=cfg.lifter)
    assert ours.mel.shape == mel.shape == (cfg.n_mels, cfg.n_frames(y.size))
    np.testing.assert_allclose(ours.stft, stft, rtol=0, atol=STFT_ATOL * np.abs(stft).max())
    tolerance = MEL_RTOL * mel + MEL_ATOL * ours.ceiling
    np.testing.assert_array_less(np.abs(ours.mel - mel) - tolerance, 1e-300)
    np.testing.assert_allclose(ours.log_mel, db, rtol=0, atol=DB_ATOL)
    np.testing.assert_allclose(reference.mfcc(y, cfg), mfcc, rtol=0, atol=MFCC_ATOL)


@pytest.mark.pairwise
@pytest.mark.parametrize(("name", "kind", "length"), [case for case in CASES if case[2] != "even"])
def test_equals_librosa(name: str, kind: str, length: str) -> None:
    check(oracle(name, kind, length))


@given(librosa_config(), st.integers(1, 3000), st.integers(0, 2**32 - 1))
def test_equals_librosa_for_any_config(cfg: FeatureConfig, n_samples: int, seed: int) -> None:
    if cfg.hop_length > cfg.n_fft // 2:  # librosa then mirrors the last frames about the wrong samples now and then
        cfg = cfg.replace(pad_mode="constant")
    y = np.random.default_rng(seed).standard_normal(n_samples if cfg.center else n_samples + cfg.n_fft)
    check(Oracle(y, cfg.replace(lifter=min(cfg.lifter, 10.0))))


def test_defaults_are_librosas() -> None:
    y, cfg = signal("noise", 22050, 22050).astype(np.float64), CONFIGS["librosa"]
    mel = librosa.feature.melspectrogram(y=y, dtype=np.float64)
    np.testing.assert_allclose(reference.melspectrogram(y, cfg), mel, rtol=MEL_RTOL)
    np.testing.assert_allclose(reference.log_mel(y, cfg), librosa.power_to_db(mel), rtol=0, atol=DB_ATOL)
    expected = librosa.feature.mfcc(y=y, dtype=np.float64)
    np.testing.assert_allclose(reference.mfcc(y, cfg), expected, rtol=0, atol=MFCC_ATOL)


def test_whisper_is_openais_formula() -> None:
    """whisper/audio.py: log_mel_spectrogram, written in torch's STFT, without the last frame."""
    y = signal("chirp", 16000, 16000)
    window = torch.hann_window(400, dtype=torch.float64)
    stft = torch.stft(torch.from_numpy(y).double(), 400, 160, window=window, return_complex=True)
    power = stft[..., :-1].abs().square().numpy()
    log = np.log10(np.maximum(librosa.filters.mel(sr=16000, n_fft=400, n_mels=80, dtype=np.float64) @ power, 1e-10))
    expected = (np.maximum(log, log.max() - 8.0) + 4.0) / 4.0
    np.testing.assert_allclose(reference.log_mel(y, PRESETS["whisper"]), expected, rtol=0, atol=DB_ATOL)


def test_int16_counts_in_steps_of_a_32768th() -> None:
    pcm = signal("quiet", 4000, 16000)
    np.testing.assert_array_equal(reference.log_mel(pcm, SMALL), reference.log_mel(pcm / 32768.0, SMALL))


def test_image_is_the_baselines() -> None:
    """Its `spec_to_image`: z-score, stretched over 0..255, truncated. The z-score cancels but for its rounding."""
    for kind in ("noise", "chirp"):
        y = signal(kind, 40000, 16000)
        db = reference.log_mel(y, SMALL)
        scaled = (db - db.mean()) / (db.std() + 1e-6)
        expected = (255 * (scaled - scaled.min()) / (scaled.max() - scaled.min())).astype(np.uint8)
        difference = np.abs(reference.mel_image(y, SMALL).astype(int) - expected)
        assert difference.max() <= 1
        assert np.count_nonzero(difference) <= 1


@pytest.mark.parametrize("cfg", [SMALL, SMALL.replace(top_db=0.0)], ids=["silence", "top_db=0"])
def test_image_of_a_constant_is_zero(cfg: FeatureConfig) -> None:
    kind = "silence" if cfg.top_db else "noise"
    np.testing.assert_array_equal(reference.mel_image(signal(kind, 4000, 16000), cfg), 0)
