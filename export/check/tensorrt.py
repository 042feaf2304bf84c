"""The operators that TensorRT's parser takes.

A file that only uses these is one that TensorRT 10 can be expected to build an engine of; no GPU is needed to check it.
"""

from __future__ import annotations

from onnxscript import ir

_FLOATS = frozenset({"FLOAT", "FLOAT16"})
_NUMBERS = _FLOATS | {"INT32", "INT64"}
_ALL = _NUMBERS | {"BOOL"}

OPSETS = (9, 20)  # the first and the last that the parser takes

# Operators with the element types of their data, after docs/operators.md of onnx/onnx-tensorrt for TensorRT 10.1. The
# list has what our models export to.
TENSORRT: dict[str, frozenset[str]] = {
    **dict.fromkeys(("Cast", "Concat", "Expand", "Gather", "GatherElements"), _ALL),
    **dict.fromkeys(("Identity", "Reshape", "Shape", "Slice", "Split", "Squeeze"), _ALL),
    **dict.fromkeys(("Tile", "Transpose", "Unsqueeze", "Where"), _ALL),
    **dict.fromkeys(("Abs", "Add", "Div", "Less", "Max", "Min", "Mod", "Mul", "Neg", "Pad", "Range"), _NUMBERS),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Relu", "ScatterElements", "Sub"), _NUMBERS),
    **dict.fromkeys(("AveragePool", "Clip", "Conv", "Exp", "Floor", "Gemm", "GlobalAveragePool"), _FLOATS),
    **dict.fromkeys(("Log", "MatMul", "MaxPool", "Pow", "Round", "Sigmoid", "Softmax", "Sqrt"), _FLOATS),
}
# The place of an operator's axes among its inputs; they must be constants.
AXES = {
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Squeeze", "Unsqueeze"), 1),
    **dict.fromkeys(("Pad", "Slice"), 3),
}


def without_tensorrt_layer(graph: ir.Graph) -> list[str]:
    """Name each kind of node that TensorRT's parser refuses; element types must have been inferred.

    As ``Clip(INT64)``, ``Slice with computed axes``, or ``opset 21``.
    """
    missing = set()
    opset = graph.opset_imports.get("", 0)
    if not OPSETS[0] <= opset <= OPSETS[1]:
        missing.add(f"opset {opset}")
    for node in graph:
        if node.op_type == "Constant":
            continue
        data = node.inputs[1 if node.op_type == "Where" else 0]
        kind = "?" if data is None or data.dtype is None else data.dtype.name
        if node.domain or kind not in TENSORRT.get(node.op_type, ()):
            missing.add(f"{node.op_type}({kind})")
        place = AXES.get(node.op_type)
        if place is not None and len(node.inputs) > place:
            axes = node.inputs[place]
            if axes is not None and ir.convenience.get_const_tensor(axes) is None:
                missing.add(f"{node.op_type} with computed axes")
        if node.op_type in ("MaxPool", "AveragePool") and _dilated(node):
            missing.add(f"{node.op_type} with dilations")
    return sorted(missing)


def _dilated(node: ir.Node) -> bool:
    """Return whether a pooling skips elements within its window."""
    given = node.attributes.get("dilations")
    return given is not None and any(step != 1 for step in given.as_ints())
