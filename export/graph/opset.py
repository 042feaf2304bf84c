"""A network's graph in the form that most tools read, at the operator set that is asked for.

torch's exporter writes opset 18, and neither converter of the ONNX packages goes back from it: both fail, or write
attributes that opset 17 does not have.
"""

from __future__ import annotations

from onnxscript import ir
from onnxscript.ir.passes.common import RemoveUnusedNodesPass

from ...esc50.system import first_line
from ...kernels import CumelError, need
from .interface import OPSET


def at_opset(model: ir.Model, opset: int) -> ir.Model:
    """Return a model of opset 18 as one of `opset`, changed in place; each Reshape loses an allowzero without effect.

    Raises
    ------
    CumelError
        For a model that needs what the opset does not have.
    """
    for node in model.graph.all_nodes():
        if node.op_type == "Reshape" and "allowzero" in node.attributes:
            shape = _constant(node, 1)
            if shape is not None and 0 not in shape:
                node.attributes.pop("allowzero")
    if opset == OPSET:
        return model
    for node in model.graph.all_nodes():
        if node.op_type.startswith("Reduce") and node.op_type != "ReduceSum":
            _reduction_of_17(node)
        elif node.op_type == "Split" and "num_outputs" in node.attributes:
            _split_of_17(node)
    RemoveUnusedNodesPass()(model)  # the axes that became attributes
    model.graph.opset_imports[""] = opset
    onnx = need("onnx", __name__)
    try:
        onnx.checker.check_model(ir.to_proto(model))
    except onnx.checker.ValidationError as error:
        raise CumelError(f"opset={opset}: this network needs {OPSET} ({first_line(error)})") from None
    return model


def _reduction_of_17(node: ir.Node) -> None:
    """Turn the axes of a reduction from an input into an attribute."""
    node.attributes.pop("noop_with_empty_axes", None)
    axes = _constant(node, 1)
    if axes is not None:
        node.resize_inputs(1)
        node.attributes["axes"] = ir.AttrInt64s("axes", axes)


def _split_of_17(node: ir.Node) -> None:
    """Leave the number of parts to the number of outputs, which is the same for equal parts."""
    x, axis = node.inputs[0], node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    size = None if x is None or x.shape is None else x.shape[axis]
    if isinstance(size, int) and size % len(node.outputs) == 0:
        node.attributes.pop("num_outputs")


def _constant(node: ir.Node, number: int) -> list[int] | None:
    """Return an input's numbers, or None where it is missing, or known when the graph runs."""
    value = node.inputs[number] if number < len(node.inputs) else None
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else [int(i) for i in tensor.numpy().reshape(-1)]
