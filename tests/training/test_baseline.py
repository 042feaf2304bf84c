"""The student report's code, unchanged, against what it computed with librosa."""

from pathlib import Path

import librosa
import numpy as np
import pytest

from cumel.esc50 import ESC50Model, get_melspectrogram_db, spec_to_image
from cumel.kernels import PRESETS, CumelError, log_mel, mel_image

from support.recordings import write

MAX_DB = 1e-3  # worst seen 4e-5 on noise


def reports_own(path: Path, sr: int | None = None) -> np.ndarray:
    y, sr = librosa.load(path, sr=sr)
    gap = max(0, int(np.ceil((5 * sr - y.shape[0]) / 2)))
    y = np.pad(y, gap, mode="reflect") if gap else y[: 5 * sr]
    mel = librosa.feature.melspectrogram(y=y, sr=sr, n_fft=2048, hop_length=512, n_mels=128, fmin=20, fmax=8300)
    return librosa.power_to_db(mel, top_db=80)


@pytest.mark.parametrize("seconds", [0.5, 3.00003, 5.0, 7.3])
def test_melspectrogram_db(tmp_path: Path, seconds: float) -> None:
    y = np.random.default_rng(0).normal(0, 0.1, round(seconds * 22050))
    path = write(tmp_path / "clip.wav", y, 22050)
    ours, theirs = get_melspectrogram_db(path), reports_own(path)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=MAX_DB, rtol=0)


def test_a_rate_may_be_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.wav", np.random.default_rng(0).normal(0, 0.1, 50000), 22050)
    np.testing.assert_allclose(get_melspectrogram_db(path, sr=44100), reports_own(path, 44100), atol=MAX_DB, rtol=0)
    assert get_melspectrogram_db(path, sr=44100).shape == (128, 431)


def test_an_fmax_above_half_the_rate_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.wav", np.zeros(8000), 8000)
    with pytest.raises(CumelError, match="fmax=8300"):
        get_melspectrogram_db(path)


def test_image_is_the_baselines_arithmetic() -> None:
    spec = np.random.default_rng(0).normal(-40, 20, (128, 431)).astype(np.float32)
    standard = (spec - spec.mean()) / (spec.std() + 1e-6)
    expected = (255 * (standard - standard.min()) / (standard.max() - standard.min())).astype(np.uint8)
    image = spec_to_image(spec)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, expected)
    assert not spec_to_image(np.full((4, 4), -100.0)).any()


def test_mel_image_is_the_same_picture() -> None:
    y = np.random.default_rng(0).normal(0, 0.1, 220500).astype(np.float32)
    cfg = PRESETS["esc50"]
    ours, baselines = mel_image(y, cfg), spec_to_image(log_mel(y, cfg))
    assert np.abs(ours.astype(int) - baselines).max() <= 1
    assert (ours == baselines).mean() >= 0.999


def test_model_has_the_baselines_size() -> None:
    net = ESC50Model(input_shape=(1, 128, 431), batch_size=16, num_cats=50)
    flatten = net.dense1.weight.numel()
    convolutions = sum(p.numel() for name, p in net.named_parameters() if name.startswith("features"))
    assert flatten == 256 * 16 * 53 * 500
    assert round(convolutions / 1e6, 2) == 1.17
    with pytest.raises(CumelError, match="8 x 8"):
        ESC50Model(input_shape=(1, 4, 431))
