"""A synthetic dataset is laid out as ESC-50, has the same bytes for the same seed, and can be learned."""

import csv
import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from cumel.esc50.datasets.synth import dataset
from cumel.esc50.datasets.synth.dataset import synthesize
from cumel.esc50.datasets.synth.sounds import HIGHEST_HZ, SOUNDS
from cumel.esc50.datasets.synth.synthesizer import PEAK, SETTLED, WITHIN, make_sound
from cumel.kernels.errors import CumelError

SECONDS, SR, N_CLIPS = 2.0, 16000, 5  # size of the dataset that the tests share
SMALL = {"classes": 6, "clips_per_class": 3, "seconds": 0.25, "sr": 8000}
MIN_ACCURACY = 0.3  # nearest centroid on fold 5, chance 0.02; 0.38 to 0.54 with the seeds 0 to 4, 0.54 here
MAX_ACCURACY = 0.8  # the mean level and its change would do then, and the sounds be too easy to tell apart
MIN_RMS = 0.002  # share of full scale; the quietest of 1,250 clips had 0.0034 (embers: a few crackles)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize(tmp_path_factory.mktemp("made"), clips_per_class=N_CLIPS, seconds=SECONDS, sr=SR)


def rows(root: Path) -> list[dict[str, str]]:
    with (root / "meta" / "esc50.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def files(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "audio").iterdir()}


def test_csv_is_laid_out_as_in_esc50(made: Path) -> None:
    text = (made / "meta" / "esc50.csv").read_bytes()
    assert text.startswith(b"filename,fold,target,category,esc10,src_file,take\n1-100000-A-0.wav,1,0,steady_tone,True,")
    assert b"\r" not in text
    table = rows(made)
    assert len(table) == 50 * N_CLIPS
    assert [row["filename"] for row in table] == sorted(row["filename"] for row in table)
    assert len({row["src_file"] for row in table}) == len(table)
    for row in table:
        assert row["filename"] == f"{row['fold']}-{row['src_file']}-{row['take']}-{row['target']}.wav"
        assert row["category"] == list(SOUNDS)[int(row["target"])]
        assert row["esc10"] in ("True", "False")
    assert len({row["target"] for row in table if row["esc10"] == "True"}) == 10
    assert set(files(made)) == {row["filename"] for row in table}
    assert sorted(path.name for path in (made / "meta").iterdir()) == ["esc50.csv", "synth.json"]


def test_there_are_50_names() -> None:
    assert len(SOUNDS) == 50
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in SOUNDS)


def test_parameters_are_kept(made: Path) -> None:
    assert json.loads((made / "meta" / "synth.json").read_text(encoding="utf-8")) == {
        "version": dataset.VERSION,
        "classes": 50,
        "clips_per_class": N_CLIPS,
        "seconds": SECONDS,
        "sr": SR,
        "seed": 0,
    }


def test_folds_are_balanced(tmp_path: Path) -> None:
    table = rows(synthesize(tmp_path, classes=2, clips_per_class=7, seconds=0.1, sr=8000))
    for target in "01":
        folds = [int(row["fold"]) for row in table if row["target"] == target]
        assert sorted(folds) == [1, 1, 2, 2, 3, 4, 5]


def test_few_clips_leave_the_last_folds_empty(tmp_path: Path) -> None:
    table = rows(synthesize(tmp_path, classes=2, clips_per_class=3, seconds=0.1, sr=8000))
    assert {row["fold"] for row in table} == {"1", "2", "3"}


def test_clips_are_16_bit_mono_and_of_the_length_asked_for(made: Path) -> None:
    for row in rows(made):
        info = sf.info(made / "audio" / row["filename"])
        assert (info.frames, info.samplerate, info.channels) == (int(SECONDS * SR), SR, 1)
        assert (info.format, info.subtype) == ("WAV", "PCM_16")


@pytest.mark.parametrize(("seconds", "sr", "n"), [(0.1, 8000, 800), (0.33333, 11025, 3675), (0.50001, 22050, 11025)])
def test_odd_lengths(tmp_path: Path, seconds: float, sr: int, n: int) -> None:
    root = synthesize(tmp_path, clips_per_class=1, seconds=seconds, sr=sr)
    for row in rows(root):
        y, _ = sf.read(root / "audio" / row["filename"])
        assert y.shape == (n,)
        assert PEAK[0] - 1e-4 < np.abs(y).max() < PEAK[1] + 1e-4


def test_no_clip_is_silent_or_clips(made: Path) -> None:
    for row in rows(made):
        y, _ = sf.read(made / "audio" / row["filename"], dtype="int16")
        peak = np.abs(y.astype(int)).max() / 32768
        assert PEAK[0] - 1e-4 < peak < PEAK[1] + 1e-4, row
        assert np.sqrt(np.mean((y / 32768) ** 2)) > MIN_RMS, row
        assert abs(y.mean()) < 0.05 * peak * 32768, row


@pytest.mark.parametrize("name", SOUNDS)
def test_sounds_are_finite_and_end_below_the_nyquist_frequency_of_the_lowest_rate(name: str) -> None:
    y = make_sound(name, np.random.default_rng(1), 4000, dataset.MIN_SR)
    assert y.dtype == np.float32
    assert y.shape == (4000,)
    assert np.isfinite(y).all()
    for layer in SOUNDS[name]:
        if layer.hz:
            bend = 1.0 if layer.glide is None else max(1.0, layer.glide[1] * (1 + WITHIN))
            octaves = layer.depth + 1.5 * layer.wander  # make_sound bounds a wander at 1.5 times its size
            assert layer.hz[1] * layer.spread * bend * 2**octaves * layer.chords[0][0] <= HIGHEST_HZ
    assert HIGHEST_HZ < 0.48 * dataset.MIN_SR


def test_spans_are_ordered_and_positive() -> None:
    for name, layers in SOUNDS.items():
        for layer in layers:
            for field in (*SETTLED, "hz", "band"):
                low, high = getattr(layer, field) or (1, 2)
                assert 0 < low < high, (name, field)


def test_again_gives_the_same_bytes(tmp_path: Path) -> None:
    first, again = synthesize(tmp_path / "1", **SMALL), synthesize(tmp_path / "2", **SMALL)
    assert files(first) == files(again)
    assert (first / "meta" / "esc50.csv").read_bytes() == (again / "meta" / "esc50.csv").read_bytes()


def test_a_small_dataset_is_a_part_of_a_larger_one(tmp_path: Path) -> None:
    large = files(synthesize(tmp_path / "large", **SMALL))
    small = files(synthesize(tmp_path / "small", **{**SMALL, "classes": 3, "clips_per_class": 2}))
    assert len(small) == 6
    assert small.items() < large.items()


def test_another_seed_makes_other_clips(tmp_path: Path) -> None:
    first, other = files(synthesize(tmp_path / "0", **SMALL)), files(synthesize(tmp_path / "1", **SMALL, seed=1))
    assert first.keys() == other.keys()
    assert all(first[name] != other[name] for name in first)


def test_no_two_clips_are_equal(made: Path) -> None:
    held = files(made)
    assert len(set(held.values())) == len(held)


def features(path: Path) -> NDArray[np.float64]:
    """Mean, spread and mean step of the level in 16 bands, over the frames that are not digital silence: [48]."""
    y, sr = sf.read(path)
    frames = np.lib.stride_tricks.sliding_window_view(y, 512)[::256] * np.hanning(512)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    edges = np.geomspace(40, sr / 2, 17) / sr * 512
    bands = np.stack([power[:, int(a) : max(int(b), int(a) + 1)].mean(axis=1) for a, b in pairwise(edges)])
    level = 10 * np.log10(bands[:, bands.sum(axis=0) > 0] + 1e-9)
    level -= level.max()
    return np.concatenate([level.mean(axis=1), level.std(axis=1), np.abs(np.diff(level)).mean(axis=1)])


def accuracy(root: Path) -> float:
    """Share of the clips of fold 5 that are nearest to the mean of their own class in the other folds."""
    table = rows(root)
    x = np.stack([features(root / "audio" / row["filename"]) for row in table])
    target, held_out = np.array([int(row["target"]) for row in table]), np.array([row["fold"] == "5" for row in table])
    x = (x - x[~held_out].mean(axis=0)) / x[~held_out].std(axis=0)
    centroids = np.stack([x[(target == c) & ~held_out].mean(axis=0) for c in range(target.max() + 1)])
    distance = ((x[held_out][:, None] - centroids) ** 2).sum(axis=2)
    return float((distance.argmin(axis=1) == target[held_out]).mean())


def test_classes_are_distinct_but_not_trivial(made: Path) -> None:
    assert MIN_ACCURACY < accuracy(made) < MAX_ACCURACY


def test_a_finished_dataset_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = synthesize(tmp_path, **SMALL)
    monkeypatch.setattr(dataset, "make_sound", None)  # a call would fail
    assert synthesize(tmp_path, **SMALL) == root


def test_an_interrupted_run_has_no_csv_and_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = synthesize(tmp_path / "whole", **SMALL)
    calls = iter(range(7))

    def stop(name: str, rng: np.random.Generator, n: int, sr: int) -> NDArray[np.float32]:
        if next(calls) == 6:
            raise KeyboardInterrupt
        return make_sound(name, rng, n, sr)

    cut = tmp_path / "cut"
    with monkeypatch.context() as patch:
        patch.setattr(dataset, "make_sound", stop)
        with pytest.raises(KeyboardInterrupt):
            synthesize(cut, **SMALL)
    assert len(files(cut)) == 6
    assert not (cut / "meta" / "esc50.csv").exists()
    with pytest.raises(CumelError, match=r"already holds a dataset made with seed=0, not 1; choose another folder"):
        synthesize(cut, **SMALL, seed=1)
    synthesize(cut, **SMALL)
    assert files(cut) == files(whole)


def test_a_lost_clip_is_made_again(tmp_path: Path) -> None:
    held = files(synthesize(tmp_path, **SMALL))
    (tmp_path / "audio" / min(held)).unlink()
    assert files(synthesize(tmp_path, **SMALL)) == held


def test_progress_is_shown_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    synthesize(tmp_path, **SMALL)
    out, err = capsys.readouterr()
    assert out == ""
    assert "making clips: 18 of 18 clips" in err


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"classes": 0}, "classes=0: there are 50 sound classes; use 1 to 50"),
        ({"classes": 51}, "classes=51: there are 50 sound classes; use 1 to 50"),
        ({"clips_per_class": 0}, "clips_per_class=0: a class needs a clip; use 1 or more, 5 to fill each fold"),
        ({"seconds": 0.0}, "seconds=0.0: a clip lasts from 0.1 to 60 s; ESC-50's last 5, use seconds=5"),
        ({"seconds": -1}, "seconds=-1: a clip lasts from 0.1 to 60 s; ESC-50's last 5, use seconds=5"),
        ({"seconds": 3600}, "seconds=3600: a clip lasts from 0.1 to 60 s; ESC-50's last 5, use seconds=5"),
        ({"seconds": np.nan}, "seconds=nan: a clip lasts from 0.1 to 60 s; ESC-50's last 5, use seconds=5"),
        (
            {"sr": 7999},
            "sr=7999: the classes reach 3800 Hz and files 192000 samples per second; use 8000 <= sr <= 192000",
        ),
        (
            {"sr": 192001},
            "sr=192001: the classes reach 3800 Hz and files 192000 samples per second; use 8000 <= sr <= 192000",
        ),
        ({"seed": -1}, "seed=-1: a seed is not negative; use 0 or more"),
    ],
)
def test_a_value_out_of_range_is_named(tmp_path: Path, wrong: dict[str, int], message: str) -> None:
    with pytest.raises(CumelError, match=f"^{re.escape(message)}$"):
        synthesize(tmp_path / "root", **{**SMALL, **wrong})
    assert not (tmp_path / "root").exists()


def refuses(root: Path, message: str) -> None:
    before = sorted(root.rglob("*"))
    with pytest.raises(CumelError, match=f"^{re.escape(message)}$"):
        synthesize(root, **SMALL)
    assert sorted(root.rglob("*")) == before


def test_two_datasets_are_not_mixed(tmp_path: Path) -> None:
    synthesize(tmp_path, **{**SMALL, "classes": 2, "seconds": 0.5})
    refuses(
        tmp_path,
        f"root={tmp_path} already holds a dataset made with classes=2, not 6, seconds=0.5, not 0.25; "
        "choose another folder or remove this one",
    )


@pytest.mark.parametrize("held", ["meta/esc50.csv", "audio/1-100032-A-0.wav"])
@pytest.mark.parametrize("note", [None, "", "[]"], ids=["no note", "empty note", "other note"])
def test_a_foreign_dataset_is_not_touched(tmp_path: Path, held: str, note: str | None) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / held).parent.mkdir(exist_ok=True)
    (tmp_path / held).write_text("theirs")
    if note is not None:
        (tmp_path / "meta" / "synth.json").write_text(note)
    refuses(
        tmp_path,
        f"root={tmp_path} already holds a dataset that `cumel synth` did not make; "
        "choose another folder or remove this one",
    )
    assert (tmp_path / held).read_text() == "theirs"


def test_a_file_is_no_root(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("")
    refuses(tmp_path / "root", f"root={tmp_path / 'root'} is a file; name a folder")
