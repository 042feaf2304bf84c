"""Training sees the features of whole recordings, stored or computed, and stops at a bad one."""

import shutil
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch

from cumel.esc50 import spec_to_image
from cumel.esc50.datasets import Dataset
from cumel.esc50.extraction.local import extract
from cumel.esc50.system.device import choose
from cumel.esc50.training.data import changed_features, from_store, prepare
from cumel.esc50.training.recipes import RECIPES
from cumel.kernels import CumelError, FeatureConfig, Normalize, log_mel, mel_image

from support.recordings import TINY, tiny_recipe, write, write_dataset


@pytest.mark.parametrize(("kind", "function"), [("image", mel_image), ("logmel", log_mel)])
def test_features_of_clips_of_any_length(tmp_path: Path, kind: str, function: object) -> None:
    root = write_dataset(tmp_path)
    rng = np.random.default_rng(0)
    write(root / "audio" / "1-00-A-0.wav", rng.normal(0, 0.1, 3001))
    write(root / "audio" / "1-01-A-0.wav", rng.normal(0, 0.1, 30001))
    data, recipe = Dataset.read(root), tiny_recipe()
    features = prepare(data, recipe.replace(kind=kind, augment="none"), workers=2).features
    assert features.shape == (18, 1, 16, TINY.n_frames(8000))
    assert features.dtype == (np.uint8 if kind == "image" else np.float32)
    y = __import__("soundfile").read(root / "audio" / "1-01-A-0.wav", dtype="float32")[0][:8000]
    np.testing.assert_array_equal(features[1, 0], function(y, TINY))


def test_a_bad_recording_stops_the_training_set(tmp_path: Path) -> None:
    root = write_dataset(tmp_path)
    (root / "audio" / "2-00-A-0.wav").write_bytes(b"")
    with pytest.raises(CumelError, match=r"1 of 18 recordings cannot be used: .*2-00-A-0\.wav: the file is empty"):
        prepare(Dataset.read(root), tiny_recipe(), workers=2)


def test_stored_features_are_the_computed_ones(tmp_path: Path) -> None:
    data = Dataset.read(write_dataset(tmp_path / "data"))
    recipe, store = tiny_recipe(), tmp_path / "store"
    extract([clip.path for clip in data.clips], store, TINY, device=choose("cpu"))
    np.testing.assert_array_equal(from_store(store, data, recipe).features, prepare(data, recipe, workers=1).features)
    frames_first, other = TINY.replace(time_major=True), tmp_path / "other"
    extract([clip.path for clip in data.clips], other, frames_first, device=choose("cpu"))
    again = from_store(other, data, tiny_recipe(features=frames_first))
    np.testing.assert_array_equal(again.features, from_store(store, data, recipe).features)
    with pytest.raises(CumelError, match=r"n_mels=16, not 20"):
        from_store(store, data, recipe.replace(features=TINY.replace(n_mels=20)))
    with pytest.raises(CumelError, match="features=logmel, not image"):
        from_store(store, data, tiny_recipe("baseline"))
    with pytest.raises(CumelError, match="has 8000 samples, recipe quick needs 16000"):
        from_store(store, data, recipe.replace(seconds=2.0))
    with pytest.raises(CumelError, match="computes fresh features each step; leave it away"):
        from_store(store, data, recipe.replace(augment="wave"))
    write(data.clips[3].path, np.zeros(8000))
    with pytest.raises(CumelError, match=r"changed since .* the same `cumel extract` as for .* takes it again"):
        from_store(store, data, recipe)


def test_features_found_by_the_end_of_a_path_count_where_the_content_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative --data, at another place than the one that was extracted; what the error advises then helps."""
    data, recipe, store = Dataset.read(write_dataset(tmp_path / "a" / "data")), tiny_recipe(), tmp_path / "store"
    extract([clip.path for clip in data.clips], store, TINY, device=choose("cpu"))
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copyfile)  # with times of its own
    monkeypatch.chdir(tmp_path / "b")
    copy = Dataset.read("data")
    np.testing.assert_array_equal(from_store(store, copy, recipe).features, from_store(store, data, recipe).features)
    write(copy.clips[5].path, np.zeros(8000))
    with pytest.raises(
        CumelError, match=r"no features of it, only of another recording of that name, .*/a/.* adds them"
    ):
        from_store(store, copy, recipe)
    extract([clip.path for clip in copy.clips], store, TINY, device=choose("cpu"))
    np.testing.assert_array_equal(from_store(store, copy, recipe).features, prepare(copy, recipe, workers=1).features)


@pytest.mark.parametrize("log", ["db", "ln", "log10"])
def test_changes_are_those_of_decibels_in_any_unit(log: str) -> None:
    scaled = TINY.replace(log=log, mean=-3.0, std=2.0)
    y = np.random.default_rng(0).normal(0, 0.1, (4, 8000)).astype(np.float32)
    labels = torch.eye(4)

    def changed(cfg: FeatureConfig) -> torch.Tensor:
        torch.manual_seed(0)
        recipe = tiny_recipe(features=cfg)
        return changed_features(torch.from_numpy(log_mel(y, cfg))[:, None], labels, recipe, mixing=True)[0]

    expected = changed(TINY) * (scaled.levels.gain / 10) - scaled.levels.shift
    torch.testing.assert_close(changed(scaled), expected, rtol=1e-5, atol=1e-4)


def test_features_without_a_level_are_not_changed_as_if_they_had_one() -> None:
    for changes in ({"log": None}, {"normalize": Normalize()}, {"std": tuple(range(1, 17))}):
        with pytest.raises(CumelError, match="augment='mel': changes levels, which features with"):
            tiny_recipe(features=TINY.replace(**changes))
        assert tiny_recipe(features=TINY.replace(**changes), augment="wave").augment == "wave"


def test_samples_are_kept_as_int16(tmp_path: Path) -> None:
    data = Dataset.read(write_dataset(tmp_path))
    training_data = prepare(data, tiny_recipe(augment="wave"), workers=2)
    assert training_data.samples is not None
    assert (training_data.samples.dtype, training_data.samples.shape) == (np.int16, (18, 8000))
    y = __import__("soundfile").read(data.clips[3].path, dtype="int16")[0]
    np.testing.assert_array_equal(training_data.samples[3], y)
    np.testing.assert_array_equal(training_data.features, prepare(data, tiny_recipe(), workers=2).features)
    assert training_data.of([3]).samples.shape == (1, 8000)


def test_the_real_recordings(real_data: Path) -> None:
    """1,600 clips at 16 kHz, resampled to 44.1 kHz: the image is the baseline's own, from librosa end to end."""
    data = Dataset.read(real_data / "esc50")
    assert (len(data.clips), len(data.labels), data.folds) == (1600, 50, [1, 2, 3, 4])
    with pytest.raises(CumelError, match=r"fold 5 is not in .*; it has 1, 2, 3, 4$"):
        data.split(5)
    few = Dataset(data.root, data.clips[::400], data.labels)
    images = prepare(few, RECIPES["baseline"], workers=2).features
    assert images.shape == (4, 1, 128, 431)
    for clip, image in zip(few.clips, images[:, 0], strict=True):
        y, _ = librosa.load(clip.path, sr=44100)
        mel = librosa.feature.melspectrogram(y=y[:220500], **RECIPES["baseline"].features.librosa_mel())
        baselines = spec_to_image(librosa.power_to_db(mel, top_db=80))
        assert np.abs(image.astype(int) - baselines).max() <= 1
        assert (image == baselines).mean() >= 0.999
