"""A file, its labels.json and its card say the same of what it takes and gives, and say what is true."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from cumel.export import Interface, export_onnx
from cumel.export.graph import Metadata, inputs_of, outputs_of
from cumel.export.graph.texts import to_json
from cumel.kernels import PRESETS, FeatureConfig

from support.exported import LABELS, clips, lively_run
from support.recordings import tiny_recipe

RECIPE = tiny_recipe()
N = RECIPE.n_samples


def given(interface: Interface | None = None, **others: object) -> Metadata:
    values = {"labels": LABELS, "name": "mine", "features": RECIPE.features, "kind": "logmel", "seconds": 1.0}
    return Metadata(interface=interface or Interface(), **(values | others))


def waveform(interface: Interface | None = None, **others: object) -> str:
    return inputs_of(given(interface, **others))[0].text


@pytest.mark.parametrize(
    ("interface", "said", "unsaid"),
    [
        (Interface(), ["Mono, -1..1, at 8000 Hz", "more than 8000 samples (1 s) is cut", "mirrored", "Never pad"], []),
        (Interface(fit="zeros"), ["a shorter one is filled up with zeros at its end"], ["mirror"]),
        (Interface(lengths=True), ["Pad the clips of a batch"], ["Never pad"]),
        (Interface(samples=N), ["Exactly 8000 samples", "mirror a shorter one"], ["Any number", "Never pad"]),
        (Interface(samples=3000), ["Exactly 3000 samples", "is mirrored at both ends"], ["Any number"]),
        (Interface(samples=9000), ["Exactly 9000 samples", "is cut at its end"], ["mirrored"]),
        (Interface(dtype="int16"), ["PCM, -32768..32767"], ["-1..1", "NaN"]),
        (Interface(channels=True), ["Any number of channels, mixed down to their mean"], ["Mono"]),
        (Interface(rate=44100), ["at 44100 Hz", "resamples it to 8000 Hz", "more than 44100 samples"], []),
    ],
)
def test_a_waveform_is_described_as_the_file_takes_it(interface: Interface, said: list[str], unsaid: list[str]) -> None:
    text = waveform(interface)
    assert [part for part in said if part not in text] == []
    assert [part for part in unsaid if part in text] == []


def test_an_output_says_how_its_values_are_made() -> None:
    def probabilities(activation: str) -> str:
        return outputs_of(given(activation=activation))[0].text

    assert "adds up to 1" in probabilities("softmax")
    assert "does not add up to 1" in probabilities("sigmoid")
    assert "order of the labels" in probabilities("none")


@pytest.mark.parametrize(
    ("cfg", "kind", "said"),
    [
        (
            RECIPE.features,
            "logmel",
            "decibels. The last two axes are 16 mel bands, 0 to 4000 Hz, and 63 frames, one every 16 ms",
        ),
        (RECIPE.features, "image", "levels 0..255, which span each clip's decibels"),
        (PRESETS["kaldi"], "logmel", "natural logarithms"),
        (FeatureConfig(log=None), "logmel", "mel values"),
        (FeatureConfig(time_major=True), "logmel", "frames, one every 23.2 ms, and 128 mel bands"),
    ],
)
def test_features_have_a_unit_and_axes(cfg: FeatureConfig, kind: str, said: str) -> None:
    (end,) = inputs_of(given(Interface(input="image"), features=cfg, kind=kind))
    assert said in end.text


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    interface = Interface(lengths=True, outputs=("probabilities", "logits", "features", "embedding"))
    export_onnx(lively_run(folder / "run", RECIPE), folder / "m.onnx", interface)
    return folder / "m.onnx"


def test_a_file_describes_itself(exported: Path) -> None:
    model = onnx.load(exported)
    described = {end["name"]: end["description"] for end in told(exported)["inputs"] + told(exported)["outputs"]}
    ends = [*model.graph.input, *model.graph.output]
    assert {end.name: end.doc_string for end in ends} == described
    assert model.graph.name == "quick"
    assert model.producer_name == "cumel"
    assert model.doc_string.startswith("Classifies clips of 1 s into 3 kinds of sound.")
    for end in ends:
        assert end.doc_string in model.graph.doc_string
        assert end.doc_string in exported.with_suffix(".md").read_text()


def told(path: Path) -> dict:
    return json.loads(path.with_suffix(".labels.json").read_text())


def test_labels_json_suffices_to_call_a_file(exported: Path) -> None:
    """Inputs are made of the JSON alone, and every output has the shape that it states."""
    described = told(exported)
    assert (described["sample_rate"], described["samples"], described["labels"]) == (8000, N, list(LABELS))
    axes = {"batch": 3, "samples": described["samples"]}
    shapes = {end["name"]: [axes.get(axis, axis) for axis in end["shape"]] for end in described["inputs"]}
    types = {end["name"]: end["dtype"] for end in described["inputs"]}
    values = {"waveform": clips(RECIPE, 3), "lengths": np.array([N, 100, 1])}
    feeds = {name: values[name].astype(types[name]).reshape(shapes[name]) for name in shapes}
    model = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    given = model.run(None, feeds)
    assert [end["name"] for end in described["outputs"]] == [output.name for output in model.get_outputs()]
    for end, value in zip(described["outputs"], given, strict=True):
        assert str(value.dtype) == end["dtype"]
        assert [axes.get(axis, axis) for axis in end["shape"]][:-1] == list(value.shape)[:-1]
        assert end["shape"][-1] in ("size", value.shape[-1])


def test_a_client_finds_the_rate_before_all_else() -> None:
    assert list(to_json(given()))[:5] == ["summary", "sample_rate", "samples", "inputs", "outputs"]
