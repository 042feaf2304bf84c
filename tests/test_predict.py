import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from recordings import TINY, tiny_recipe, tone, write

from cumel.esc50.audio import fit_length
from cumel.esc50.dataset import FEATURES
from cumel.esc50.recipes import Recipe
from cumel.export import session as session_module
from cumel.export.metadata import Metadata
from cumel.export.predict import BATCH, Model, load_model, predict
from cumel.export.session import CPU, CUDA, Session
from cumel.kernels import CumelError, FeatureConfig, UnavailableError

LABELS = ("low", "middle", "high", "highest")  # which quarter of the mel bands is strongest
HZ = {"low": 120, "middle": 700, "high": 1600, "highest": 3400}

no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")


def metadata(recipe: Recipe, labels: tuple[str, ...] = LABELS) -> Metadata:
    made = {"input": "image", "precision": "fp32", "fold": 1, "epoch": 1, "accuracy": None, "versions": {}}
    return Metadata(labels=labels, recipe=recipe, **made)


def save(path: Path, recipe: Recipe, props: dict[str, str]) -> Path:
    """Write a graph by hand: the softmax of the mean level of each quarter of the bands."""
    quarters = np.kron(np.eye(4), np.full((recipe.features.n_mels // 4, 1), 0.03)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["image", "axes"], ["levels"], keepdims=0),
            helper.make_node("MatMul", ["levels", "quarters"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"]),
        ],
        "quarters",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", *recipe.input_shape])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(np.array([1, 3]), "axes"), numpy_helper.from_array(quarters, "quarters")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, props)
    onnx.save(model, path)
    return path


def expected(recipe: Recipe, path: Path) -> np.ndarray:
    """Return the probabilities that the graph means, by librosa's decoder and NumPy."""
    y, _ = librosa.load(path, sr=recipe.features.sr)
    image = FEATURES[recipe.kind](fit_length(y, recipe.n_samples), recipe.features).astype(np.float64)
    scores = 0.03 * image.mean(axis=1).reshape(4, -1).sum(axis=1)
    return np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()


@pytest.fixture(scope="module", params=["quick", "document"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    recipe = tiny_recipe(request.param)
    path = save(tmp_path_factory.mktemp("model") / "model.onnx", recipe, metadata(recipe).to_props())
    return load_model(path, provider="cpu")


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = tiny_recipe()
    return save(tmp_path_factory.mktemp("quick") / "model.onnx", recipe, metadata(recipe).to_props())


@pytest.mark.parametrize("seconds", [0.04, 0.3, 1.0, 3.7])
@pytest.mark.parametrize(
    ("name", "sr", "channels", "subtype"),
    [
        ("a.wav", 8000, 1, "PCM_16"),
        ("a.wav", 44100, 2, "PCM_24"),
        ("a.wav", 48000, 8, "FLOAT"),
        ("a.wav", 22050, 1, "PCM_U8"),
        ("a.flac", 44100, 2, None),
        ("a.flac", 16000, 8, None),
        ("a.ogg", 48000, 2, None),
        ("a.ogg", 16000, 1, None),
        ("a.mp3", 44100, 2, None),
        ("a.aiff", 96000, 1, None),
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


REFUSED: list[tuple[Callable[[Path], None], str]] = [
    (_missing, "No such file"),
    (_empty, "empty"),
    (_text, "not readable as audio"),
    (_no_samples, "holds no samples"),
    (_truncated, "truncated"),
    (_nan, "NaN or infinite"),
    (_loud, "so loud that its spectrum overflows float32; scale it to -1..1"),
    (_silent, "every sample is zero: there is nothing to classify"),
    (_silent_at_first, "every sample of the first 1 s, which is what the model hears, is zero"),
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


def test_order_is_kept_over_batches_and_failures(model: Model, tmp_path: Path) -> None:
    files: list[Path] = []
    truth: list[str | None] = []
    for number in range(2 * BATCH + 5):
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


def _garbage(path: Path) -> None:
    path.write_bytes(b"no model, by any means" * 50)


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _two_inputs(path: Path) -> None:
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    onnx.save(model, path)


def _no_metadata(path: Path) -> None:
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (_missing, "no such model; `cumel export` writes one"),
        (_folder, "no such model"),
        (_empty, "not a usable ONNX model"),
        (_garbage, "not a usable ONNX model"),
        (_half, "not a usable ONNX model"),
        (_two_inputs, "has 2 inputs and 1 outputs"),
        (_no_metadata, "carries no metadata of ours"),
    ],
)
def test_an_unusable_model_is_one_clear_line(
    quick: Path, tmp_path: Path, damage: Callable[[Path], None], complaint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(quick.read_bytes())
    damage(path)
    with pytest.raises(CumelError) as caught:
        load_model(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def changed(recipe: dict[str, Any], **changes: Any) -> str:
    return json.dumps(recipe | changes)


RECIPE = tiny_recipe().to_dict()


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("format", "cumel 9", "has the format 'cumel 9', and this version reads 'cumel 1'"),
        ("labels", None, "labels is missing"),
        ("labels", "dog, cat", "labels is not JSON"),
        ("labels", "[]", "labels is not a list of names"),
        ("labels", "[1, 2, 3, 4]", "labels is not a list of names"),
        ("labels", '["dog", "cat"]', "the graph has"),
        ("recipe", None, "recipe is missing"),
        ("recipe", "null", "recipe or features are malformed"),
        ("recipe", "{}", "recipe or features are malformed"),
        ("recipe", changed(RECIPE, more=1), "'more'"),
        ("recipe", changed(RECIPE, kind="waveform"), "kind='waveform': must be one of image, logmel"),
        ("recipe", changed(RECIPE, seconds="long"), "malformed"),
        ("recipe", changed(RECIPE, seconds=float("inf")), "malformed"),
        ("recipe", changed(RECIPE, seconds=1e-9), "too short for one frame"),
        ("recipe", changed(RECIPE, seconds=2.0), "the graph has"),
        ("recipe", changed(RECIPE, features=TINY.replace(n_fft=512).to_dict()), "contradict .*n_fft=256, not 512"),
        ("recipe", changed(RECIPE, features=[1]), "expected an object"),
        ("features", None, "features is missing"),
        ("features", "{", "not JSON"),
        ("features", '{"n_fft": -1}', "n_fft=-1"),
        ("features", TINY.replace(fmin=50.0).to_json(), r"contradict .*fmin=50\.0, not 0\.0"),
        ("input", None, "input is missing"),
        ("input", "waveform", "the graph has"),
        ("precision", None, "precision is missing"),
        ("fold", None, "fold is missing"),
        ("versions", "torch 2", "versions is not JSON"),
    ],
)
def test_malformed_metadata_is_named(tmp_path: Path, name: str, value: str | None, complaint: str) -> None:
    props = metadata(tiny_recipe()).to_props() | {name: value}
    path = save(tmp_path / "model.onnx", tiny_recipe(), {key: text for key, text in props.items() if text is not None})
    with pytest.raises(CumelError, match=complaint) as caught:
        load_model(path)
    assert str(caught.value).startswith(f"{path}: not a usable model: ")


@pytest.mark.parametrize("recipe", [tiny_recipe(), tiny_recipe("document", features=TINY.replace(norm="inf"))])
def test_metadata_round_trips(recipe: Recipe) -> None:
    for labels in (LABELS, ("naïve 猫", 'a "quoted" one')):
        before = metadata(recipe, labels)
        assert Metadata.from_props(before.to_props()) == before


def test_a_model_carries_its_configuration(quick: Path) -> None:
    model = load_model(quick)
    assert model.labels == LABELS
    assert model.recipe == tiny_recipe()
    assert isinstance(model.recipe.features, FeatureConfig)


def test_the_provider_is_reported(quick: Path, tmp_path: Path) -> None:
    report = predict(load_model(quick, provider="cpu"), [write(tmp_path / "a.wav", tone())])
    assert report["provider"] == {
        "requested": "cpu",
        "require_gpu": False,
        "actual": CPU,
        "reason": "as asked for",
        "nodes": {CPU: 3},
    }
    assert report["model"] == str(quick)


@no_cuda
def test_auto_runs_on_the_cpu_and_says_why(quick: Path, capfd: pytest.CaptureFixture[str]) -> None:
    session = Session(quick)
    assert session.providers == [CPU]
    assert session.reason != "CUDA is available"
    assert session.report()["requested"] == "auto"
    assert capfd.readouterr() == ("", "")


@no_cuda
@pytest.mark.parametrize("demand", [{"provider": "cuda"}, {"provider": "auto", "require_gpu": True}])
def test_cuda_on_demand_is_never_replaced(
    quick: Path, demand: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnavailableError, match="CUDA was demanded of ONNX Runtime, but ") as caught:
        load_model(quick, **demand)
    assert caught.value.exit_code == 3
    assert capfd.readouterr() == ("", "")


@no_cuda
def test_what_onnxruntime_only_logs_is_raised(
    quick: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    runtime = session_module.onnxruntime()
    if CUDA not in runtime.get_available_providers():
        pytest.skip("needs onnxruntime-gpu, which tries CUDA and falls back")
    monkeypatch.setattr(session_module, "_lacking", lambda: None)  # as with a driver, but without a usable device
    session = Session(quick)
    assert session.providers == [CPU]
    assert "CUDA provider" in session.reason
    with pytest.raises(UnavailableError, match=r"CUDA provider (does not load \(|loads, but finds no usable device)"):
        Session(quick, "cuda")
    assert capfd.readouterr() == ("", "")


def test_a_package_without_cuda_is_named(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module.onnxruntime(), "get_available_providers", lambda: [CPU])
    with pytest.raises(UnavailableError, match=r"this onnxruntime package has no CUDA provider .*cumel\[gpu\]"):
        Session(quick, "cuda")
    assert "no CUDA provider" in Session(quick).reason


def test_onnxruntime_itself_may_be_missing(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UnavailableError, match=r"cumel\[gpu\]"):
        Session(quick, "cpu")


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ({"provider": "tensorrt"}, "provider=tensorrt: must be one of auto, cpu, cuda"),
        ({"provider": "cpu", "require_gpu": True}, "provider=cpu contradicts require_gpu"),
    ],
)
def test_a_wrong_provider_is_refused(quick: Path, call: dict[str, Any], complaint: str) -> None:
    with pytest.raises(CumelError, match=complaint) as caught:
        Session(quick, **call)
    assert caught.value.exit_code == 2


def test_an_input_of_another_shape_is_refused(quick: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CumelError, match=r"fails on an input of \(1, 1, 9, 63\)"):
        Session(quick, "cpu").run(np.zeros((1, 1, 9, 63), np.float32))
    assert capfd.readouterr() == ("", "")


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu(quick: Path, tmp_path: Path) -> None:
    files = [write(tmp_path / f"{label}.wav", tone(hz=hz)) for label, hz in HZ.items()]
    on_cuda, on_cpu = (predict(load_model(quick, provider=name), files) for name in ("cuda", "cpu"))
    assert on_cuda["provider"]["actual"] == CUDA
    for mine, other in zip(on_cuda["results"], on_cpu["results"], strict=True):
        assert [row["label"] for row in mine["top"]] == [row["label"] for row in other["top"]]
        for row, same in zip(mine["top"], other["top"], strict=True):
            assert row["probability"] == pytest.approx(same["probability"], abs=1e-4)
