"""Recordings of any kind get the labels that the graph gives their features; bad ones get their reason."""

import json
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import pytest

from cumel.esc50.audio import fit_length
from cumel.esc50.datasets import FEATURES
from cumel.esc50.training.recipes import Recipe
from cumel.export.prediction.classifier import BATCH_SIZES, Model, load_model, predict
from cumel.export.runtime.providers import CUDA
from cumel.kernels import CumelError

from support.onnx_models import HZ, LABELS, probabilities, save, save_waveform
from support.recordings import TINY, tiny_recipe, tone, write


def expected(recipe: Recipe, path: Path) -> np.ndarray:
    """Return the probabilities that the graph means, by librosa's decoder and NumPy."""
    y, _ = librosa.load(path, sr=recipe.features.sr)
    return probabilities(recipe, FEATURES[recipe.kind](fit_length(y, recipe.n_samples), recipe.features))


@pytest.fixture(scope="module", params=["quick", "baseline"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    recipe = tiny_recipe(request.param)
    return load_model(save(tmp_path_factory.mktemp("model") / "model.onnx", recipe), provider="cpu")


@pytest.mark.parametrize(
    ("name", "sr", "channels", "subtype", "seconds"),
    [
        ("a.wav", 8000, 1, "PCM_16", 1.0),
        ("a.wav", 8000, 1, "PCM_16", 0.04),
        ("a.wav", 44100, 2, "PCM_24", 0.3),
        ("a.wav", 48000, 8, "FLOAT", 3.7),
        ("a.wav", 22050, 1, "PCM_U8", 0.99),
        ("a.flac", 44100, 2, None, 3.7),
        ("a.flac", 16000, 8, None, 0.3),
        ("a.ogg", 48000, 2, None, 0.3),
        ("a.ogg", 16000, 1, None, 2.0),
        ("a.mp3", 44100, 2, None, 0.3),
        ("a.aiff", 96000, 1, None, 1.5),
    ],
)
def test_any_recording_is_classified(
    model: Model, tmp_path: Path, name: str, sr: int, channels: int, subtype: str | None, seconds: float
) -> None:
    rng = np.random.default_rng(0)
    gains = rng.uniform(0.3, 0.9, channels)
    files = []
    for label, hz in HZ.items():
        y = tone(seconds, sr, hz)[:, None] * gains + rng.normal(0, 1e-3, (round(seconds * sr), channels))
        files.append(write(tmp_path / f"{label}-{name}", y, sr, **({"subtype": subtype} if subtype else {})))
    report = predict(model, files)
    assert report["failed"] == 0
    for path, label, result in zip(files, HZ, report["results"], strict=True):
        assert result["error"] is None
        assert (result["file"], result["sr"]) == (str(path), sr)
        assert result["seconds"] == pytest.approx(seconds, abs=0.06)  # an encoder may pad
        assert result["top"][0]["label"] == label
        truth = dict(zip(LABELS, expected(model.recipe, path), strict=True))
        assert {row["label"] for row in result["top"]} == set(LABELS)
        for row in result["top"]:
            assert row["probability"] == pytest.approx(truth[row["label"]], abs=1e-5)


def _missing(path: Path) -> None:
    path.unlink(missing_ok=True)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("These are not the sounds you are looking for." * 20)


def _no_samples(path: Path) -> None:
    write(path, np.zeros(0, np.float32))


def _truncated(path: Path) -> None:
    write(path, tone())
    path.write_bytes(path.read_bytes()[:5000])


def _nan(path: Path) -> None:
    y = tone()
    y[100] = np.nan
    write(path, y, subtype="FLOAT")


def _loud(path: Path) -> None:
    write(path, tone(level=1e30), subtype="FLOAT")


def _silent(path: Path) -> None:
    write(path, np.zeros(4000, np.float32))


def _silent_at_first(path: Path) -> None:
    write(path, np.concatenate([np.zeros(8000, np.float32), tone()]))


def _short(path: Path) -> None:
    write(path, tone()[:255])


def _short_after_resampling(path: Path) -> None:
    write(path, tone(sr=44100)[:1000], 44100)


@pytest.mark.parametrize("hop_seconds", [None, 1.0])
@pytest.mark.parametrize("make", [_silent, _silent_at_first])
def test_silence_is_one_thing_with_and_without_windows(
    model: Model, tmp_path: Path, make: Callable[[Path], None], hop_seconds: float | None
) -> None:
    make(tmp_path / "silent.wav")
    report = predict(model, [tmp_path / "silent.wav"], hop_seconds=hop_seconds)
    first = report["results"][0]
    assert (first["silent"], first["top"], first["error"], first["start"]) == (True, [], None, 0.0)
    assert (report["failed"], report["silent"]) == (0, 1)


REFUSED: list[tuple[Callable[[Path], None], str]] = [
    (_missing, "No such file"),
    (_empty, "empty"),
    (_text, "not readable as audio"),
    (_no_samples, "holds no samples"),
    (_truncated, "truncated"),
    (_nan, "NaN or infinite"),
    (_loud, "so loud that its spectrum overflows float32; scale it to -1..1"),
    (_short, "255 samples (31.9 ms) at 8000 Hz is less than one window of 256 samples; give at least 32.0 ms"),
    (_short_after_resampling, "182 samples (22.8 ms) at 8000 Hz is less than one window of 256 samples"),
]


@pytest.mark.parametrize(("make", "complaint"), REFUSED)
def test_a_recording_that_cannot_be_classified_says_why(
    model: Model, tmp_path: Path, make: Callable[[Path], None], complaint: str
) -> None:
    make(tmp_path / "bad.wav")
    good = write(tmp_path / "good.wav", tone())
    report = predict(model, [tmp_path / "bad.wav", good])
    bad, fine = report["results"]
    assert report["failed"] == 1
    assert bad["error"].startswith(f"{tmp_path / 'bad.wav'}: ")
    assert complaint in bad["error"]
    assert "\n" not in bad["error"]
    assert (bad["top"], bad["seconds"], bad["sr"]) == ([], None, None)
    assert fine["error"] is None


def test_the_shortest_and_a_single_sample_of_sound_are_classified(model: Model, tmp_path: Path) -> None:
    click = np.zeros(8000, np.float32)
    click[4000] = 0.1
    files = [write(tmp_path / "window.wav", tone()[:256]), write(tmp_path / "click.wav", click)]
    assert predict(model, files)["failed"] == 0


@pytest.mark.parametrize("hop", [0, -1.0, float("nan"), float("inf"), 1e-9])
def test_a_hop_that_is_none_is_refused(model: Model, hop: float) -> None:
    with pytest.raises(CumelError, match="hop_seconds="):
        predict(model, [], hop_seconds=hop)


def test_a_waveform_model_hears_the_same(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{label}.wav", tone(0.7, 22050, hz), 22050) for label, hz in HZ.items()]
    path = save_waveform(tmp_path / "model.onnx", tiny_recipe())
    for route in ("graph", "kernels"):
        report = predict(load_model(path, provider="cpu", route=route), files, top=1)
        assert report["provider"]["route"] == route
        assert [row["top"][0]["label"] for row in report["results"]] == list(HZ)


def test_order_is_kept_over_batches_and_failures(model: Model, tmp_path: Path) -> None:
    files: list[Path] = []
    truth: list[str | None] = []
    for number in range(2 * BATCH_SIZES[False] + 5):
        path = tmp_path / f"{number}.wav"
        label = None if number % 5 == 2 or 16 <= number < 20 else LABELS[number % 4]
        files.append(path if label is None else write(path, tone(0.5, hz=HZ[label])))
        truth.append(label)
    report = json.loads(json.dumps(predict(model, files, top=1)))
    assert [result["file"] for result in report["results"]] == [str(path) for path in files]
    assert [result["top"][0]["label"] if result["top"] else None for result in report["results"]] == truth
    assert [result["error"] is None for result in report["results"]] == [label is not None for label in truth]
    assert report["failed"] == truth.count(None)
    for path, result in zip(files, report["results"], strict=True):
        assert result == json.loads(json.dumps(predict(model, [path], top=1)))["results"][0]  # alone as in a batch


def test_nothing_to_do_and_nothing_usable(model: Model, tmp_path: Path) -> None:
    assert predict(model, [])["results"] == []
    report = predict(model, [tmp_path / "a.wav", str(tmp_path / "b.wav")])
    assert report["failed"] == len(report["results"]) == 2


@pytest.mark.parametrize(("top", "shown"), [(1, 1), (3, 3), (4, 4), (99, 4)])
def test_top(model: Model, tmp_path: Path, top: int, shown: int) -> None:
    (result,) = predict(model, [write(tmp_path / "a.wav", tone())], top=top)["results"]
    probabilities = [row["probability"] for row in result["top"]]
    assert len(probabilities) == shown
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) <= 1 + 1e-6


@pytest.mark.parametrize("top", [0, -1])
def test_top_below_one_is_refused(model: Model, top: int) -> None:
    with pytest.raises(CumelError, match=f"top={top}: must be 1 or more"):
        predict(model, [], top=top)


def test_another_feature_config_is_refused_by_field(model: Model, tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone())
    assert predict(model, [path], cfg=TINY.replace())["failed"] == 0
    other = TINY.replace(n_mels=20, fmax=3000.0)
    with pytest.raises(CumelError, match=r"was trained on n_mels=16, not 20; fmax=None, not 3000\.0; leave") as caught:
        predict(model, [path], cfg=other)
    assert str(model.path) in str(caught.value)


def test_a_model_carries_its_configuration(model: Model) -> None:
    assert model.labels == LABELS
    assert model.recipe.features == TINY
    assert model.recipe in (tiny_recipe(), tiny_recipe("baseline"))


def test_the_report_names_model_and_provider(model: Model) -> None:
    report = predict(model, [])
    counts = {"files": 0, "windows": 0, "silent": 0, "heard_seconds": 0.0, "seconds": 0.0, "failed": 0}
    assert report == {"model": str(model.path), "provider": model.report(), "results": [], **counts}
    assert report["provider"]["requested"] == "cpu"


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu(model: Model, tmp_path: Path) -> None:
    files = [write(tmp_path / f"{label}.wav", tone(hz=hz)) for label, hz in HZ.items()]
    on_cuda, on_cpu = predict(load_model(model.path, provider="cuda"), files), predict(model, files)
    assert on_cuda["provider"]["actual"] == CUDA
    for mine, other in zip(on_cuda["results"], on_cpu["results"], strict=True):
        assert [row["label"] for row in mine["top"]] == [row["label"] for row in other["top"]]
        for row, same in zip(mine["top"], other["top"], strict=True):
            assert row["probability"] == pytest.approx(same["probability"], abs=1e-4)
