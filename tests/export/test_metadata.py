"""Metadata survives a file unchanged; damaged metadata is refused with what is wrong."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cumel.esc50.training.recipes import Recipe
from cumel.export.graph.metadata import Metadata
from cumel.export.prediction.classifier import load_model
from cumel.kernels import CumelError

from support.onnx_models import LABELS, metadata, save
from support.recordings import TINY, tiny_recipe

RECIPE = tiny_recipe().to_dict()
FORMER = {"format", "labels", "recipe", "features", "kind", "sample_rate", "seconds", "input", "precision", "fold"}
FORMER |= {"epoch", "accuracy", "versions", "normalisation"}


@pytest.mark.parametrize("recipe", [tiny_recipe(), tiny_recipe("baseline", features=TINY.replace(norm="inf"))])
def test_metadata_round_trips(recipe: Recipe) -> None:
    for labels in (LABELS, ("naïve 猫", 'a "quoted" one')):
        before = metadata(recipe, labels)
        assert Metadata.from_props(before.to_props()) == before


def test_readers_that_know_no_recipe_find_what_they_need() -> None:
    props = metadata(tiny_recipe()).to_props()
    assert json.loads(props["labels"]) == list(LABELS)
    assert json.loads(props["features"]) == TINY.to_dict()
    assert (props["kind"], props["sample_rate"], props["seconds"]) == ("logmel", "8000", "1.0")


def test_a_model_of_the_earlier_recipe_name_is_read() -> None:
    props = metadata(tiny_recipe("baseline")).to_props()
    props["recipe"] = json.dumps(json.loads(props["recipe"]) | {"name": "document"})
    assert Metadata.from_props(props) == metadata(tiny_recipe("baseline"))


def changed(**changes: Any) -> str:
    return json.dumps(RECIPE | changes)


def features(**changes: Any) -> str:
    return json.dumps(RECIPE | {"features": RECIPE["features"] | changes})


def interface(**changes: Any) -> str:
    return json.dumps(json.loads(metadata(tiny_recipe()).to_props()["interface"]) | changes)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("format", None, "carries no metadata of ours"),
        ("format", "cumel 9", "has the format 'cumel 9', and this version reads 'cumel 2'"),
        ("labels", None, "labels is missing"),
        ("labels", "dog, cat", "labels is not JSON"),
        ("labels", "[]", "labels is not a list of names"),
        ("labels", "[1, 2, 3, 4]", "labels is not a list of names"),
        ("labels", json.dumps(["x"] * 10**5), "labels: 10000 at most"),
        ("labels", json.dumps(["x" * 10**5, "b", "c", "d"]), "of 200 characters at most"),
        ("labels", "9" * 5000, "labels is not JSON"),
        ("labels", '["dog", "cat"]', "the graph has"),
        ("recipe", "null", "recipe or features are malformed"),
        ("recipe", "{}", "recipe or features are malformed"),
        ("recipe", changed(more=1), "'more'"),
        ("recipe", changed(kind="waveform"), "kind='waveform': must be one of image, logmel"),
        ("recipe", changed(seconds="long"), "malformed"),
        ("recipe", changed(seconds=float("inf")), "recipe is not JSON .Infinity is no number"),
        ("recipe", changed(seconds=float("nan")), "recipe is not JSON .NaN is no number"),
        ("recipe", changed(seconds=-1.0), r"seconds=-1\.0: must be above 0"),
        ("recipe", changed(seconds=1e7), r"seconds=10000000\.0: must be at most 3600"),
        ("recipe", changed(seconds=10**400), "malformed"),
        ("recipe", features(sr=1), "sr=1: must be 500 to 2000000 Hz"),
        ("recipe", features(sr=-44100), "sr=-44100: must be"),
        ("recipe", features(n_fft=0), "n_fft=0: must be"),
        ("recipe", features(n_fft=2**40), "n_fft=1099511627776: must be at most"),
        ("recipe", features(hop_length=1, n_fft=2**15), "would take gigabytes"),
        ("recipe", features(n_fft=2**22, n_mels=2**10), "would take gigabytes"),
        ("recipe", changed(seconds=3600.0, features=TINY.replace(n_mels=1024).to_dict()), "would take gigabytes"),
        ("kind", "x" * 10**5, "kind=x{200}, not logmel"),
        ("recipe", features(window="x" * 10**5), r"malformed .window='x+\.\.\.: must be boxcar"),
        ("recipe", features(fmin="low"), "fmin='low'"),
        ("recipe", "[" * 10**5, "recipe is not JSON"),
        ("recipe", json.dumps(RECIPE)[:-1], "recipe is not JSON"),
        ("recipe", " " * 2**21 + "{}", "recipe is 2097154 characters long, 1048576 at most"),
        ("recipe", changed(seconds=1e-9), "too short for one frame"),
        ("recipe", changed(seconds=2.0), r"contradict .*seconds=1\.0, not 2\.0"),
        ("recipe", changed(features=TINY.replace(n_fft=512).to_dict()), "contradict .*n_fft=256, not 512"),
        ("recipe", changed(features=[1]), "expected an object"),
        ("features", None, "features is missing"),
        ("features", "{", "not JSON"),
        ("features", '{"n_fft": -1}', "n_fft=-1"),
        ("features", TINY.replace(fmin=50.0).to_json(), r"contradict .*fmin=50\.0, not 0\.0"),
        ("input", None, "input is missing"),
        ("input", "waveform", "input is waveform, and image in the interface"),
        ("interface", None, "interface is missing"),
        ("interface", "[]", "interface is malformed .expected its fields"),
        ("interface", interface(outputs=["probabilities", "colours"]), "must be some of probabilities, logits"),
        ("interface", interface(outputs=[["probabilities"]]), "interface is malformed"),
        ("interface", interface(outputs=["probabilities", "logits"]), "the graph has"),
        ("interface", interface(colour="red"), "interface is malformed"),
        ("interface", interface(samples=10**30), "samples=10+: must be a whole number, 1 to"),
        ("interface", interface(samples=True), "samples=True: must be a whole number"),
        ("interface", interface(rate=1), "rate=1: must be a whole number, 500 to"),
        ("interface", interface(rate=8000), "rate: waveforms alone have these"),
        ("interface", interface(dtype="float64"), "dtype=float64: must be one of float32, int16"),
        ("interface", interface(fit=1), "fit=1: must be one of mirror, zeros"),
        ("interface", interface(opset="18"), "opset='18': must be 17 or 18"),
        ("interface", interface(lengths="yes"), "lengths='yes': must be true or false"),
        ("channel", "1", "channel is not true or false"),
        ("input", "x" * 10**5, "input is 'x{200}', not one of waveform, image"),
        ("precision", None, "precision is missing"),
        ("precision", "fp64", "precision is 'fp64', not one of fp32, fp16, int8"),
        ("fold", None, "fold is missing"),
        ("fold", "-1", "fold is not a whole number, 0 or more"),
        ("epoch", "1e3", "epoch is not a whole number"),
        ("epoch", "true", "epoch is not a whole number"),
        ("accuracy", "2", "accuracy is neither null nor between 0 and 1"),
        ("accuracy", '"high"', "accuracy is neither"),
        ("versions", "[]", "versions does not map names to texts"),
        ("normalisation", '{"mean": "low"}', "normalisation does not map names to numbers"),
        ("normalisation", '{"mean": 1e999}', "normalisation does not map names to numbers"),
        ("features", "[" * 10**5, "recipe or features are malformed"),
        ("versions", "torch 2", "versions is not JSON"),
    ],
)
def test_malformed_metadata_is_named(tmp_path: Path, name: str, value: str | None, complaint: str) -> None:
    props = metadata(tiny_recipe()).to_props() | {name: value}
    path = save(tmp_path / "model.onnx", tiny_recipe(), {key: text for key, text in props.items() if text is not None})
    with pytest.raises(CumelError, match=complaint) as caught:
        load_model(path)
    assert str(caught.value).startswith(f"{path}: not a usable model: ")
    assert len(str(caught.value)) < 600  # a line, however long what it complains of


def of_another_network(**changes: str | None) -> dict[str, str]:
    """Properties without a recipe, some of them changed, or left out."""
    made = metadata(tiny_recipe())
    props = replace(made, recipe=None, name="Mine", epoch=None).to_props() | changes
    return {name: text for name, text in props.items() if text is not None}


def test_a_network_needs_no_recipe(tmp_path: Path) -> None:
    read = Metadata.from_props(of_another_network())
    assert (read.recipe, read.name, read.epoch, read.features) == (None, "Mine", None, TINY)
    assert load_model(save(tmp_path / "model.onnx", tiny_recipe(), of_another_network())).labels == LABELS


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("name", None, "name is missing"),
        ("kind", "mel", "kind='mel': must be one of image, logmel"),
        ("seconds", '"long"', "seconds='long': must be a number"),
        ("seconds", "0", "seconds=0: must be a number above 0"),
        ("seconds", "1e9", "at most 3600"),
        ("seconds", "1e-9", "too short for one frame"),
        ("activation", "relu", "activation is 'relu', not one of softmax, sigmoid, none"),
        ("features", json.dumps(RECIPE["features"] | {"sr": 1}), "sr=1: must be 500 to 2000000 Hz"),
        ("features", json.dumps(RECIPE["features"] | {"n_fft": 2**22, "n_mels": 2**10}), "would take gigabytes"),
    ],
)
def test_malformed_metadata_of_another_network_is_named(name: str, value: str | None, complaint: str) -> None:
    with pytest.raises(CumelError, match=f"^metadata: .*{complaint}"):
        Metadata.from_props(of_another_network(**{name: value}))


def test_the_former_format_is_read() -> None:
    props = metadata(tiny_recipe("baseline"), takes="waveform").to_props() | {"format": "cumel 1"}
    former = {name: props[name] for name in FORMER}
    assert Metadata.from_props(former) == metadata(tiny_recipe("baseline"), takes="waveform")
    for name in FORMER - {"versions", "normalisation", "sample_rate"}:
        with pytest.raises(CumelError, match=r"missing|carries no"):
            Metadata.from_props({key: text for key, text in former.items() if key != name})


def test_normalisation_may_be_absent() -> None:
    props = metadata(tiny_recipe()).to_props()
    del props["normalisation"]
    assert Metadata.from_props(props).normalisation == {}
