"""An exported file gives the same answers in other runtimes; docs/onnx-runtimes.md has the table of all of them.

OpenVINO and OpenCV are installed beside ours; the others get environments of their own in the user's cache, by pip and
npm, once. Where these cannot install them the test skips, or fails where CUMEL_REQUIRE_RUNTIMES is set.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from cumel import Interface
from cumel.export import export_onnx

from outside import cases, known, places
from support.exported import lively_run
from support.recordings import tiny_recipe

REQUIRED = "CUMEL_REQUIRE_RUNTIMES"  # when set, a test whose runtime cannot be installed fails where it would skip
INSTALLED = ("openvino", "opencv", "reference")  # beside ours
OTHERS = {"onnxruntime-node": None, "onnxruntime-web": None, "onnxruntime": known.OLDEST}
RUNTIMES = (*INSTALLED, *OTHERS)
PARITY = 1e-5  # of a probability, from the installed ONNX Runtime
LIMITED = ("reference",)  # its GatherElements takes 64 rows at most, so no lengths
WAYS: dict[str, dict[str, Any]] = {
    "as exported": {},
    "opset 17": {"opset": 17},
    "fixed": {"samples": 8000},
    "fitted": {"samples": 5000},
    "ragged": {"lengths": True},
}


@dataclass(frozen=True)
class Model:
    path: Path
    cases: Path
    expected: list[NDArray[np.float32]]


@cache
def started(name: str) -> list[str]:
    """Return what starts a runtime."""
    if name in INSTALLED:
        return [sys.executable, str(known.HERE / "answer.py"), name]
    try:
        return known.command(known.of(name, OTHERS[name]), places.of_user())
    except places.NoPlaceError as error:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, but {error}", pytrace=False)
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    """Export a network in a way once, with cases and the installed ONNX Runtime's answers to each clip alone."""
    recipe = tiny_recipe("quick")
    run = lively_run(tmp_path_factory.mktemp("run"), recipe)
    sr, n = recipe.features.sr, recipe.n_samples

    @cache
    def of(way: str) -> Model:
        folder = tmp_path_factory.mktemp("model")
        export_onnx(run, folder / "m.onnx", Interface(**WAYS[way]))
        made = cases.of_any_length(sr, n)
        if way == "ragged":
            made = cases.ragged(sr, n)
        elif "samples" in WAYS[way]:
            made = cases.of_one_length(sr, WAYS[way]["samples"])
        session = onnxruntime.InferenceSession(folder / "m.onnx", providers=["CPUExecutionProvider"])
        expected = [cases.alone(session, feeds) for feeds in made]
        return Model(folder / "m.onnx", cases.write(folder / "cases", made), expected)

    return of


@pytest.mark.each_value
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_gives_our_answers(model: Callable[[str], Model], name: str, way: str) -> None:
    made = model(way)
    if way == "ragged" and name in LIMITED:
        with pytest.raises(known.RefusedError, match="cannot reshape array"):
            known.answers(started(name), made.path, made.cases)
        return
    for answers, expected in zip(known.answers(started(name), made.path, made.cases), made.expected, strict=True):
        np.testing.assert_allclose(answers, expected, rtol=0, atol=PARITY)


def test_answers_differ_between_clips(model: Callable[[str], Model]) -> None:
    """Answers that are all alike would agree with anything."""
    answers = np.concatenate(model("as exported").expected)
    assert answers.std(axis=0).min() > 0.01


def test_a_runtime_that_refuses_says_why(model: Callable[[str], Model], tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(known.RefusedError, match=r"broken\.onnx"):
        known.answers(started("opencv"), broken, model("fixed").cases)
    with pytest.raises(known.RefusedError, match="not found"):
        known.answers(started("opencv"), model("as exported").path, model("ragged").cases)


def test_an_environment_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    with pytest.raises(places.NoPlaceError, match=r"No matching distribution found for numpy==0\.0\.0\.1"):
        places.python(tmp_path, ["numpy==0.0.0.1"])
    assert not list(tmp_path.rglob(places.DONE))
