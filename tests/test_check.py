from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from handmade import Quarters, save
from onnx import ModelProto, helper, numpy_helper

from cumel.export import check as check_module
from cumel.export.check import BATCHES, OPSET, TOLERANCE, check
from cumel.kernels import CumelError

from recordings import tiny_recipe

RECIPE = tiny_recipe()
EXAMPLES = np.random.default_rng(0).uniform(-80, 0, (16, *RECIPE.input_shape)).astype(np.float32)
EXAMPLES[:, :, ::4] *= np.random.default_rng(1).uniform(0, 1, (16, 1, 4, 1)).astype(np.float32)  # no two clips alike


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(tmp_path / "model.onnx", RECIPE)


def test_a_faithful_file_passes(model: Path) -> None:
    report = check(model, Quarters(RECIPE), EXAMPLES)
    assert report["opset"] == OPSET == 18
    assert report["batches"] == list(BATCHES) == [1, 2, 7, 16]
    assert report["nodes"] == 3
    assert 0 <= report["max_difference"] < 1e-6 < report["tolerance"] == TOLERANCE


def _opset(model: ModelProto) -> None:
    model.opset_import[0].version = 22


def _foreign_domain(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def _fixed_batch(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2


def _unlisted_operator(model: ModelProto) -> None:
    model.graph.node[-1].op_type = "Hardmax"


def _missing_node(model: ModelProto) -> None:
    del model.graph.node[1]


def _other_weights(model: ModelProto) -> None:
    weights = numpy_helper.to_array(model.graph.initializer[1])
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(1.05 * weights, "quarters"))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (_opset, "operator sets are {'': 22}"),
        (_foreign_domain, "'com.microsoft': 1"),
        (_fixed_batch, r"image has the axes \[2, 1, 16, 63\], not \['batch', 1, 16, 63\]"),
        (_unlisted_operator, "Hardmax: not listed as an operator with a CUDA kernel"),
        (_missing_node, "invalid ONNX"),
        (_other_weights, r"batch of 1: a probability is \S+ from torch's, more than 0\.001"),
    ],
)
def test_damage_is_seen(model: Path, damage: Callable[[ModelProto], None], complaint: str) -> None:
    damaged = onnx.load(model)
    damage(damaged)
    onnx.save(damaged, model)
    with pytest.raises(CumelError, match=complaint):
        check(model, Quarters(RECIPE), EXAMPLES)


def test_nan_is_no_pass(model: Path) -> None:
    net = Quarters(RECIPE)
    torch.nn.init.constant_(net.weights, float("nan"))
    with pytest.raises(CumelError, match="is nan from torch's"):
        check(model, net, EXAMPLES)


def test_another_class_on_top_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "TOLERANCE", 1.0)
    net = Quarters(RECIPE)
    with torch.no_grad():
        net.weights.neg_()
    with pytest.raises(CumelError, match="another class than torch's"):
        check(model, net, EXAMPLES)
