"""Networks at opset 17: the same answers, and nothing that older tools do not read."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxscript import ir
from torch import Tensor, nn

from cumel.export.graph.network import to_onnx
from cumel.export.graph.opset import at_opset
from cumel.kernels import CumelError

SHAPE = (1, 16, 40)


class Reductions(nn.Module):
    """Has what opset 18 writes in another way than 17: reductions, equal parts, shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.scores = nn.Conv2d(1, 8, 3), nn.Linear(14 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        low, high = self.conv(x).chunk(2, dim=1)
        x = (low * high).permute(0, 2, 1, 3).flatten(1, 2)
        x = x.amax(2) + x.amin(2) + x.mean(2) + x.norm(dim=2) + torch.logsumexp(x, 2)
        return self.scores(x).softmax(dim=1)


def operators(model: ir.Model) -> dict[str, set[str]]:
    """The attributes of each operator."""
    used: dict[str, set[str]] = {}
    for node in model.graph:
        used.setdefault(node.op_type, set()).update(node.attributes)
    return used


def answers(model: ir.Model, x: np.ndarray) -> np.ndarray:
    proto = ir.to_proto(model)
    proto.ir_version = 8
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": x})[0]


def test_a_network_answers_alike_at_both_opsets() -> None:
    torch.manual_seed(0)
    net = Reductions().eval()
    new = to_onnx(net, SHAPE)
    old = at_opset(ir.from_proto(ir.to_proto(new)), 17)
    assert [dict(model.graph.opset_imports) for model in (new, old)] == [{"": 18}, {"": 17}]
    used = operators(old)
    assert {"ReduceMax", "ReduceMin", "ReduceMean", "ReduceL2", "Split", "Reshape"} <= used.keys()
    assert "axes" in used["ReduceMean"] & used["ReduceMax"]
    assert not {"noop_with_empty_axes", "num_outputs"} & set.union(*used.values())
    assert "allowzero" not in used["Reshape"] | operators(new)["Reshape"]
    x = np.random.default_rng(0).standard_normal((3, *SHAPE)).astype(np.float32)
    np.testing.assert_array_equal(answers(old, x), answers(new, x))


def one_node(node: onnx.NodeProto, *constants: onnx.TensorProto) -> ir.Model:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 5]) for name in ("image", *node.output)]
    graph = helper.make_graph([node], "one", ends[:1], ends[1:], constants)
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))


def test_what_opset_17_lacks_is_refused() -> None:
    cases = {
        "num_outputs": one_node(helper.make_node("Split", ["image"], ["a", "b"], axis=1, num_outputs=2)),
        "Pad": one_node(
            helper.make_node("Pad", ["image", "pads", "", "axes"], ["a"]),
            numpy_helper.from_array(np.array([1, 1]), "pads"),
            numpy_helper.from_array(np.array([1]), "axes"),
        ),
        "Mish": one_node(helper.make_node("Mish", ["image"], ["a"])),
    }
    for told, model in cases.items():
        with pytest.raises(CumelError, match=rf"opset=17: this network needs 18 \(.*{told}"):
            at_opset(model, 17)


def test_an_allowzero_with_an_effect_stays() -> None:
    shape = numpy_helper.from_array(np.array([0, 5]), "shape")
    model = at_opset(one_node(helper.make_node("Reshape", ["image", "shape"], ["a"], allowzero=1), shape), 18)
    assert operators(model) == {"Reshape": {"allowzero"}}
