import json
from pathlib import Path
from typing import Any

import pytest
from handmade import LABELS, metadata, save

from cumel.esc50.recipes import Recipe
from cumel.export.metadata import Metadata
from cumel.export.predict import load_model
from cumel.kernels import CumelError

from recordings import TINY, tiny_recipe

RECIPE = tiny_recipe().to_dict()


@pytest.mark.parametrize("recipe", [tiny_recipe(), tiny_recipe("document", features=TINY.replace(norm="inf"))])
def test_metadata_round_trips(recipe: Recipe) -> None:
    for labels in (LABELS, ("naïve 猫", 'a "quoted" one')):
        before = metadata(recipe, labels)
        assert Metadata.from_props(before.to_props()) == before


def test_readers_that_know_no_recipe_find_what_they_need() -> None:
    props = metadata(tiny_recipe()).to_props()
    assert json.loads(props["labels"]) == list(LABELS)
    assert json.loads(props["features"]) == TINY.to_dict()
    assert (props["kind"], props["sample_rate"], props["seconds"]) == ("logmel", "8000", "1.0")


def changed(**changes: Any) -> str:
    return json.dumps(RECIPE | changes)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("format", None, "carries no metadata of ours"),
        ("format", "cumel 9", "has the format 'cumel 9', and this version reads 'cumel 1'"),
        ("labels", None, "labels is missing"),
        ("labels", "dog, cat", "labels is not JSON"),
        ("labels", "[]", "labels is not a list of names"),
        ("labels", "[1, 2, 3, 4]", "labels is not a list of names"),
        ("labels", '["dog", "cat"]', "the graph has"),
        ("recipe", None, "recipe is missing"),
        ("recipe", "null", "recipe or features are malformed"),
        ("recipe", "{}", "recipe or features are malformed"),
        ("recipe", changed(more=1), "'more'"),
        ("recipe", changed(kind="waveform"), "kind='waveform': must be one of image, logmel"),
        ("recipe", changed(seconds="long"), "malformed"),
        ("recipe", changed(seconds=float("inf")), "malformed"),
        ("recipe", changed(seconds=1e-9), "too short for one frame"),
        ("recipe", changed(seconds=2.0), "the graph has"),
        ("recipe", changed(features=TINY.replace(n_fft=512).to_dict()), "contradict .*n_fft=256, not 512"),
        ("recipe", changed(features=[1]), "expected an object"),
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
