"""Exports in float16 and int8, and the card that says what they are for."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from cumel.esc50.audio import fit_length, load
from cumel.esc50.training.checkpoint import Checkpoint
from cumel.esc50.training.recipes import Recipe
from cumel.export import Interface, export_onnx
from cumel.export.card import card
from cumel.export.check.model import BOUNDS
from cumel.export.graph import quantize
from cumel.export.graph.network import Classifier, halved
from cumel.export.graph.quantize import calibration_clips
from cumel.kernels import CumelError

from support.exported import LABELS, clips, features, lively_run, recordings
from support.onnx_models import metadata
from support.recordings import TINY, tiny_recipe

HALF = 1e-2  # difference of a probability between two float16 networks; worst 3.1e-3: quick
RECIPE = tiny_recipe()


@pytest.fixture
def lenient() -> Iterator[None]:
    """An untrained network is seldom sure of a class: eight bits change many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BOUNDS, "int8", replace(BOUNDS["int8"], agreement=0.5))
        yield


def answers(path: Path, y: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"waveform": y})[0]


@pytest.mark.parametrize("name", ["quick", pytest.param("baseline", marks=pytest.mark.exhaustive)])
def test_float16_answers_as_torchs_float16_and_is_half_as_large(tmp_path: Path, name: str) -> None:
    recipe = tiny_recipe(name)
    run = lively_run(tmp_path / "run", recipe)
    y = clips(recipe, 16)
    half = Classifier(halved(Checkpoint.load(run).network())).eval()
    with torch.inference_mode():
        expected = half(torch.from_numpy(features(y, recipe))).numpy()
    full, made = (
        export_onnx(run, tmp_path / f"{precision}.onnx", precision=precision) for precision in ("fp32", "fp16")
    )
    np.testing.assert_allclose(answers(Path(made["model"]), y), expected, rtol=0, atol=HALF)
    assert expected.dtype == np.float32
    assert made["bytes"] < 0.6 * full["bytes"]


def test_the_statistics_of_decibels_stay_float32() -> None:
    net = halved(RECIPE.build(3, mean=-41.3, std=17.7))
    assert {name for name, value in net.state_dict().items() if value.dtype == torch.float32} == {"mean", "std"}
    assert net(torch.zeros(1, *RECIPE.input_shape)).dtype == torch.float16
    assert float(net.get_buffer("mean")) == pytest.approx(-41.3, rel=1e-7)


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize("name", ["quick", pytest.param("baseline", marks=pytest.mark.exhaustive)])
def test_int8_is_judged_by_recordings_that_it_was_not_measured_on(tmp_path: Path, name: str) -> None:
    recipe = tiny_recipe(name)
    run, files = lively_run(tmp_path / "run", recipe), recordings(tmp_path / "clips", recipe)
    report = export_onnx(run, tmp_path / "model.onnx", precision="int8", calibration=files)
    assert report["clips"] == 10
    assert 0.5 <= report["same_top"] <= 1
    full = export_onnx(run, tmp_path / "full.onnx")
    assert report["bytes"] < 0.4 * full["bytes"]
    y = np.stack([fit_length(load(path)[0], recipe.n_samples) for path in files])
    assert np.abs(answers(tmp_path / "model.onnx", y) - answers(tmp_path / "full.onnx", y)).mean() < 0.05


def test_int8_that_disagrees_with_torch_is_refused(tmp_path: Path) -> None:
    run, files = lively_run(tmp_path / "run", RECIPE), recordings(tmp_path / "clips", RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BOUNDS, "int8", replace(BOUNDS["int8"], agreement=1.01))
        with pytest.raises(CumelError, match=r"of 10 clips have the network's class on top, 101 % is least"):
            export_onnx(run, tmp_path / "out" / "model.onnx", precision="int8", calibration=files)
    assert list((tmp_path / "out").iterdir()) == []


def test_calibration_holds_one_recording_in_four_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = recordings(tmp_path, RECIPE, 20)
    measured, held_out = calibration_clips(files, metadata(RECIPE, takes="waveform"))
    assert (measured.shape, held_out.shape) == ((15, 8000), (5, 8000))
    np.testing.assert_array_equal(held_out[1], fit_length(load(files[7])[0], 8000))
    monkeypatch.setattr(quantize, "MOST_RECORDINGS", 16)
    assert [len(part) for part in calibration_clips(files, metadata(RECIPE, takes="waveform"))] == [12, 4]


def test_calibration_needs_enough_recordings_that_can_be_read(tmp_path: Path) -> None:
    files = recordings(tmp_path, RECIPE, 16)
    with pytest.raises(CumelError, match="calibration: 15 recordings; give 16 or more"):
        calibration_clips(files[:15], metadata(RECIPE))
    files[3].write_text("not audio")
    with pytest.raises(CumelError, match=r"calibration: .*03\.wav: not readable as audio"):
        calibration_clips(files, metadata(RECIPE, takes="waveform"))


def described(recipe: Recipe, **changes: object) -> str:
    checked = {"max_difference": 1e-7, "same_top": 0.97, "clips": 64, "without_cuda_kernel": []}
    if "interface" in changes:
        checked |= {"noise_db": 1.4e-5, "tonal_db": 2.2e-3}
    return card(replace(metadata(recipe, LABELS), **changes), Path("folder/dogs.onnx"), checked)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", ["quick", "baseline"])
def test_the_card_says_what_a_user_needs(name: str, precision: str) -> None:
    text = described(tiny_recipe(name), interface=Interface(), precision=precision, accuracy=0.8125)
    for part in (
        "# dogs\n",
        "its run has no data.json",
        "81.2 %",
        "Of 64 clips 97.0 %",
        "1.4e-05 dB",
        "at 8000 Hz",
        "naïve 猫",
        "n_fft",
    ):
        assert part in text
    assert ("`use_tf32=0`" in text) == (precision != "int8")
    assert all(len(line) <= 500 for line in text.splitlines())
    assert "{" not in "".join(text.split("```")[::2])


def test_an_image_models_card_has_no_waveform() -> None:
    text = described(tiny_recipe("baseline", features=TINY.replace(fmax=3000.0)))
    assert "waveform" not in text
    assert "`image` [batch, 1, 16, 63]" in text
    assert "above 3000 Hz" in text
    assert "not measured" in text


def test_a_model_of_several_labels_gives_each_a_probability_of_its_own(tmp_path: Path) -> None:
    recipe = tiny_recipe(loss="bce")
    run = lively_run(tmp_path / "run", recipe)
    export_onnx(run, tmp_path / "model.onnx")
    y = clips(recipe, 6)
    with torch.no_grad():
        expected = Checkpoint.load(run).network()(torch.from_numpy(features(y, recipe))).sigmoid().numpy()
    given = answers(tmp_path / "model.onnx", y)
    np.testing.assert_allclose(given, expected, atol=1e-4)
    assert np.abs(given.sum(axis=1) - 1).max() > 0.1
