"""How much of a recording is decoded, classified and held: its beginning alone, or all of it by windows."""

from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest

from cumel.esc50.audio import Recording, fit_length, load, recording
from cumel.esc50.datasets import FEATURES
from cumel.esc50.system.pipeline import CORES
from cumel.esc50.training.recipes import Recipe
from cumel.export.prediction import segments
from cumel.export.prediction.classifier import Model, load_model, predict

from support.onnx_models import HZ, LABELS, probabilities, save
from support.recordings import tiny_recipe, tone, write


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(save(tmp_path_factory.mktemp("model") / "model.onnx", tiny_recipe()), provider="cpu")


def expected(recipe: Recipe, path: Path) -> np.ndarray:
    """Return the probabilities that the graph means, by librosa's decoder and NumPy."""
    y, _ = librosa.load(path, sr=recipe.features.sr)
    return probabilities(recipe, FEATURES[recipe.kind](fit_length(y, recipe.n_samples), recipe.features))


@pytest.mark.parametrize("sr", [500, 8000, 11025, 44100, 96000])
def test_only_the_beginning_is_decoded(model: Model, tmp_path: Path, sr: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "long.wav", np.random.default_rng(0).normal(0, 0.1, 60 * sr), sr)
    decoded, read = [], Recording._next

    def counting(*given: Any) -> np.ndarray:
        decoded.append(read(*given))
        return decoded[-1]

    monkeypatch.setattr(Recording, "_next", counting)
    (result,) = predict(model, [path])["results"]
    assert sum(map(len, decoded)) <= 3 * sr  # The recording has sixty seconds, and the model takes one.
    assert (result["seconds"], result["start"], result["end"]) == (60.0, 0.0, 1.0)
    truth = dict(zip(LABELS, expected(model.recipe, path), strict=True))
    for row in result["top"]:
        assert row["probability"] == pytest.approx(truth[row["label"]], abs=1e-5)


@pytest.mark.parametrize("sr", [8000, 44100])
def test_the_beginning_has_the_bits_of_the_whole(tmp_path: Path, sr: int) -> None:
    path = write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, (3 * sr + 17, 2)), sr)
    whole = load(path, 8000)[0]
    for n in (1, 8000, 8001, len(whole), len(whole) + 5):
        with Recording(path) as opened:
            np.testing.assert_array_equal(opened.beginning(n, 8000), whole[:n])


@pytest.mark.parametrize("sr", [8000, 22050])
def test_a_whole_recording_by_windows(model: Model, tmp_path: Path, sr: int) -> None:
    """A second of each sound, one after another, with a second of silence in the middle, and a rest at the end."""
    seconds = [tone(sr=sr, hz=HZ["low"]), tone(sr=sr, hz=HZ["high"]), np.zeros(sr), tone(sr=sr, hz=HZ["middle"])]
    path = write(tmp_path / "a.wav", np.concatenate([*seconds, tone(0.4, sr, HZ["middle"])]), sr)
    report = predict(model, [path], hop_seconds=1.0, top=1)
    spans = [(row["start"], row["end"]) for row in report["results"]]
    np.testing.assert_allclose(spans, [(0, 1), (1, 2), (2, 3), (3, 4), (3.4, 4.4)])
    labels = [row["top"][0]["label"] if row["top"] else "silence" for row in report["results"]]
    if sr == 8000:
        assert labels == ["low", "high", "silence", "middle", "middle"]
    else:  # a resampler's filter rings into the silence
        assert [labels[i] for i in (0, 1, 3, 4)] == ["low", "high", "middle", "middle"]
    assert {row["seconds"] for row in report["results"]} == {4.4}
    assert (report["files"], report["windows"], report["failed"]) == (1, 5, 0)
    assert report["silent"] == labels.count("silence")


def test_windows_are_those_of_the_recording_resampled_as_a_whole(model: Model, tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", np.random.default_rng(0).normal(0, 0.1, 5 * 44100 + 99), 44100)
    y = load(path, 8000)[0]
    for row in predict(model, [path], hop_seconds=0.3)["results"]:
        start = round(row["start"] * 8000)
        window = FEATURES[model.recipe.kind](y[start : start + 8000], model.recipe.features)
        truth = dict(zip(LABELS, probabilities(model.recipe, window), strict=True))
        for answer in row["top"]:
            assert answer["probability"] == pytest.approx(truth[answer["label"]], abs=1e-5)


def test_a_recording_that_breaks_off_keeps_what_came_before(model: Model, tmp_path: Path) -> None:
    y = np.concatenate([tone(3.0), np.full(8000, np.nan, np.float32)])
    path = write(tmp_path / "a.wav", y, subtype="FLOAT")
    other = write(tmp_path / "b.wav", tone())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "BLOCK_BYTES", 4 * 8000)
        report = predict(model, [path, other], hop_seconds=0.5)
    errors = [row["error"] for row in report["results"]]
    assert [error is None for error in errors] == [True] * 5 + [False, True]
    assert "sample 24000 is NaN or infinite" in errors[5]
    assert (report["files"], report["failed"]) == (2, 1)


def test_long_recordings_wait_their_turn(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than may be held: decoded when the model has come so far, with the same results."""
    rng = np.random.default_rng(0)
    files = [write(tmp_path / f"{i}.wav", rng.normal(0, 0.1, 40000 + 1000 * i)) for i in range(6)]
    expected = predict(model, files, hop_seconds=0.25)
    monkeypatch.setattr(segments, "HELD_BYTES", 5 * 4 * 8000)
    assert predict(model, files, hop_seconds=0.25) == expected
    assert expected["files"] == 6


def test_recordings_that_wait_for_their_turn_are_not_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    y = np.random.default_rng(0).normal(0, 0.1, 24000)
    paths = [write(tmp_path / f"{i:02}.wav", y) for i in range(40)]
    monkeypatch.setattr(segments, "HELD_BYTES", 50_000)  # less than the three windows of one
    found = segments.segments_of(paths, tiny_recipe(), 1.0)
    count = most = 0
    for segment in found:
        assert segment.error is None
        count += 1
        held = [handle.resolve() for handle in Path("/proc/self/fd").iterdir()]
        most = max(most, sum(path.parent == tmp_path for path in held))
    assert count == 3 * len(paths)
    assert most <= CORES + 2  # those whose length is looked at, and the one that is decoded
