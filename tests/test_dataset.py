import re
from pathlib import Path

import librosa
import numpy as np
import pytest

from cumel.esc50.dataset import Esc50, load_features, stored_features
from cumel.esc50.device import choose
from cumel.esc50.document import spec_to_image
from cumel.esc50.extraction.extract import extract
from cumel.kernels import PRESETS, CumelError, log_mel, mel_image

from recordings import TINY, tiny_recipe, write, write_dataset

CSV = Path("meta") / "esc50.csv"


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_read(tmp_path: Path, suffix: str) -> None:
    data = Esc50.read(write_dataset(tmp_path, suffix=suffix))
    assert len(data.clips) == 18
    assert data.labels == ("sound_0", "sound_1", "sound_2")
    assert data.folds == [1, 2, 3]
    train, test = data.split(2)
    assert sorted(train + test) == list(range(18))
    assert {data.clips[i].fold for i in test} == {2}
    assert 2 not in {data.clips[i].fold for i in train}


def test_an_absent_fold_names_those_present(tmp_path: Path) -> None:
    data = Esc50.read(write_dataset(tmp_path))
    with pytest.raises(CumelError, match=r"fold 5 is not in .*; it has 1, 2, 3$"):
        data.split(5)


def test_one_fold_cannot_be_split(tmp_path: Path) -> None:
    with pytest.raises(CumelError, match="nothing is left to train on"):
        Esc50.read(write_dataset(tmp_path, folds=1)).split(1)


BROKEN = {
    "no such folder": lambda root: __import__("shutil").rmtree(root),
    "meta/esc50.csv is missing": lambda root: (root / CSV).unlink(),
    "column fold is missing": lambda root: _edit(root, "fold", "part"),
    "lists no clips": lambda root: (root / CSV).write_text("filename,fold,target,category\n"),
    "fold and target must be whole numbers": lambda root: _edit(root, r"wav,1,0", "wav,one,0"),
    "needs a bare filename": lambda root: _edit(root, "1-00-A-0.wav", "../1-00-A-0.wav"),
    "1 of 18 recordings are not in": lambda root: (root / "audio" / "1-00-A-0.wav").unlink(),
    "is listed twice": lambda root: _edit(root, "1-01-A-0.wav", "1-00-A-0.wav"),
    "not readable as CSV in UTF-8": lambda root: (root / CSV).write_bytes(b"filename,fold\n\xff\xfe,1\n"),
    "target 5000 is too high for 18 clips": lambda root: _edit(root, "wav,1,0", "wav,1,5000"),
    "target 0 is called both": lambda root: _edit(root, "sound_0,False,1", "other,False,1"),
}


def _edit(root: Path, old: str, new: str) -> None:
    (root / CSV).write_text(re.sub(old, new, (root / CSV).read_text(), count=1))


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_dataset_is_one_line(tmp_path: Path, message: str) -> None:
    root = write_dataset(tmp_path / "data")
    BROKEN[message](root)
    with pytest.raises(CumelError, match=message) as caught:
        Esc50.read(root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("kind", "function"), [("image", mel_image), ("logmel", log_mel)])
def test_features_of_clips_of_any_length(tmp_path: Path, kind: str, function: object) -> None:
    root = write_dataset(tmp_path)
    rng = np.random.default_rng(0)
    write(root / "audio" / "1-00-A-0.wav", rng.normal(0, 0.1, 3001))
    write(root / "audio" / "1-01-A-0.wav", rng.normal(0, 0.1, 30001))
    data = Esc50.read(root)
    features = load_features(data, TINY, kind, 1.0, workers=2)
    assert features.shape == (18, 1, 16, TINY.n_frames(8000))
    assert features.dtype == (np.uint8 if kind == "image" else np.float32)
    y = __import__("soundfile").read(root / "audio" / "1-01-A-0.wav", dtype="float32")[0][:8000]
    np.testing.assert_array_equal(features[1, 0], function(y, TINY))


def test_a_bad_recording_stops_the_training_set(tmp_path: Path) -> None:
    root = write_dataset(tmp_path)
    (root / "audio" / "2-00-A-0.wav").write_bytes(b"")
    with pytest.raises(CumelError, match=r"1 of 18 recordings cannot be used: .*2-00-A-0\.wav: the file is empty"):
        load_features(Esc50.read(root), TINY, "logmel", 1.0, workers=2)


def test_stored_features_are_the_computed_ones(tmp_path: Path) -> None:
    data = Esc50.read(write_dataset(tmp_path / "data"))
    recipe, store = tiny_recipe(), tmp_path / "store"
    extract([clip.path for clip in data.clips], store, TINY, device=choose("cpu"))
    np.testing.assert_array_equal(
        stored_features(store, data, recipe), load_features(data, TINY, "logmel", 1.0, workers=1)
    )
    with pytest.raises(CumelError, match=r"n_mels=16, not 20"):
        stored_features(store, data, recipe.replace(features=TINY.replace(n_mels=20)))
    with pytest.raises(CumelError, match="features=logmel, not image"):
        stored_features(store, data, tiny_recipe("document"))
    with pytest.raises(CumelError, match="has 8000 samples, recipe quick needs 16000"):
        stored_features(store, data, recipe.replace(seconds=2.0))
    write(data.clips[3].path, np.zeros(8000))
    with pytest.raises(CumelError, match="changed since"):
        stored_features(store, data, recipe)


def test_the_real_recordings(real_data: Path) -> None:
    """1,600 clips at 16 kHz, resampled to 44.1 kHz: the image is the document's own, from librosa end to end."""
    data = Esc50.read(real_data / "esc50")
    assert (len(data.clips), len(data.labels), data.folds) == (1600, 50, [1, 2, 3, 4])
    with pytest.raises(CumelError, match=r"fold 5 is not in .*; it has 1, 2, 3, 4$"):
        data.split(5)
    few = Esc50(data.root, data.clips[::400], data.labels)
    images = load_features(few, PRESETS["esc50"], "image", 5.0, workers=2)
    assert images.shape == (4, 1, 128, 431)
    for clip, image in zip(few.clips, images[:, 0], strict=True):
        y, _ = librosa.load(clip.path, sr=44100)
        mel = librosa.feature.melspectrogram(y=y[:220500], **PRESETS["esc50"].librosa_mel())
        documents = spec_to_image(librosa.power_to_db(mel, top_db=80))
        assert np.abs(image.astype(int) - documents).max() <= 1
        assert (image == documents).mean() >= 0.999
