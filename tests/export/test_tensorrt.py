"""Every graph keeps to what TensorRT's parser is documented to take; what it refuses is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnxscript import ir
from onnxscript.ir.passes.common import ShapeInferencePass

from cumel import Interface
from cumel.esc50.training.recipes import Recipe
from cumel.export import export_onnx
from cumel.export.check.tensorrt import without_tensorrt_layer
from cumel.export.graph.ragged import front_end
from cumel.export.graph.tape import Tape, ints, number

from support.exported import lively_run
from support.model_clips import CONFIGS
from support.recordings import tiny_recipe

WAYS = {
    "as exported": {},
    "fixed": {"samples": 8000},
    "fitted": {"samples": 5000},
    "ragged": {"lengths": True},
    "opset 17": {"opset": 17},
}


def refused(model: ir.Model) -> list[str]:
    ShapeInferencePass()(model)
    return without_tensorrt_layer(model.graph)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Recipe], Path]:
    """Save one run of each recipe."""
    made: dict[Recipe, Path] = {}

    def of(recipe: Recipe) -> Path:
        if recipe not in made:
            made[recipe] = lively_run(tmp_path_factory.mktemp("run"), recipe)
        return made[recipe]

    return of


@pytest.mark.each_value
@pytest.mark.parametrize("name", ["baseline", "quick"])
@pytest.mark.parametrize("way", WAYS)
def test_exported_files_keep_to_tensorrt(run: Callable[[Recipe], Path], name: str, way: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    export_onnx(run(tiny_recipe(name)), path, Interface(**WAYS[way]))
    assert refused(ir.load(path)) == []


@pytest.mark.parametrize("name", CONFIGS)
def test_front_ends_keep_to_tensorrt(name: str) -> None:
    assert refused(front_end(CONFIGS[name])) == []


def test_a_kind_that_the_parser_lacks_is_named() -> None:
    assert made(lambda tape, x: tape("Cast", tape("Clip", whole(tape, x), np.array(0)), to=1)) == ["Clip(INT64)"]
    assert made(lambda tape, x: tape("Erf", x)) == ["Erf(FLOAT)"]
    assert made(lambda tape, x: tape("Cast", tape("Cast", x, to=ir.DataType.INT16), to=1)) == ["Cast(INT16)"]


def test_axes_must_be_constants() -> None:
    def computed(tape: Tape, x: ir.Value) -> ir.Value:
        return tape("Slice", x, ints(0), ints(2), tape("Sub", tape("Shape", tape("Shape", x)), ints(1)))

    assert made(computed) == ["Slice with computed axes"]
    assert made(lambda tape, x: tape("Slice", x, ints(0), ints(2), ints(1))) == []
    assert made(lambda tape, x: tape("Mul", x, number(2.0))) == []


def test_opsets_beyond_the_parsers_are_named() -> None:
    assert made(lambda tape, x: tape("Relu", x), opset=21) == ["opset 21"]


def whole(tape: Tape, x: ir.Value) -> ir.Value:
    return tape("Cast", x, to=ir.DataType.INT64)


def made(nodes: Callable[[Tape, ir.Value], ir.Value], opset: int = 18) -> list[str]:
    """Return what is refused of a graph from ``x`` [batch, 8] to what `nodes` write."""
    tape = Tape()
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["batch", 8]))
    out = nodes(tape, x)
    options: dict[str, Any] = {"nodes": tape.nodes, "initializers": tape.constants, "opset_imports": {"": opset}}
    return refused(ir.Model(ir.Graph([x], [out], name="made", **options), ir_version=10))
