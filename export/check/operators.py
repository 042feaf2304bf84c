"""The check of a file's graph by the rules of ONNX, and the operators that ONNX Runtime's CUDA provider runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from onnxscript import ir

from ...esc50.system import first_line
from ...kernels import CumelError

_FLOATS = frozenset({"FLOAT", "FLOAT16"})
_NUMBERS = _FLOATS | {"INT64"}
_WHOLE = _NUMBERS | {"INT32"}

# The operators for which ONNX Runtime's CUDA provider has a kernel, with the element types of their data. A node that
# is not listed would run on the CPU, between two copies, without a message. The list has what our models export to, at
# opsets 17 and 18, in ONNX Runtime 1.24 to 1.31, after docs/OperatorKernels.md of microsoft/onnxruntime. On a GPU
# machine a test compares it with the installed version.
CUDA_KERNELS: dict[str, frozenset[str]] = {
    **dict.fromkeys(("Clip", "Concat", "Gather", "Reshape", "Slice"), _NUMBERS),
    **dict.fromkeys(("Abs", "Expand", "Shape", "Split", "Tile", "Transpose"), _NUMBERS),
    **dict.fromkeys(("Add", "Div", "Less", "Mul", "Sub", "Where"), _WHOLE),
    "Cast": _WHOLE | {"INT16"},
    **dict.fromkeys(("GatherElements", "ReduceSum", "ScatterElements"), _NUMBERS),
    **dict.fromkeys(
        ("Conv", "Floor", "Gemm", "Log", "MatMul", "MaxPool", "Pad", "Relu", "Sigmoid", "Softmax"), _FLOATS
    ),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin", "Sqrt"), _FLOATS),
    "Range": frozenset({"INT64"}),
}


# Those of other networks.
_OF_FLOATS = """
    AveragePool BatchNormalization Ceil ConvTranspose Cos DepthToSpace Dropout Einsum Elu Erf Exp GRU GlobalAveragePool
    GlobalMaxPool HardSigmoid HardSwish InstanceNormalization LRN LSTM LayerNormalization LeakyRelu LogSoftmax Max Min
    Neg PRelu Pow RNN Reciprocal ReduceL1 ReduceL2 ReduceLogSumExp ReduceProd ReduceSumSquare Resize Round Selu Sin
    Softplus Softsign SpaceToDepth Sum Tanh TopK
"""
CUDA_KERNELS |= dict.fromkeys(_OF_FLOATS.split(), _FLOATS)
CUDA_KERNELS |= dict.fromkeys(("Flatten", "Identity", "ScatterND", "Squeeze", "Unsqueeze"), _NUMBERS)


def valid_graph(path: Path) -> ir.Model:
    """Read a file; raise a `CumelError` where its graph is not valid ONNX."""
    import onnx

    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise CumelError(f"invalid ONNX ({first_line(error)})") from None
    return ir.load(path)


def demand_cuda_kernels(nodes: Iterable[ir.Node]) -> None:
    """Raise a `CumelError` naming each kind of node without a CUDA kernel; element types must have been inferred."""
    missing = without_cuda_kernel(nodes)
    if missing:
        raise CumelError(f"{', '.join(missing)}: not listed as having a CUDA kernel in ONNX Runtime")


def without_cuda_kernel(nodes: Iterable[ir.Node]) -> list[str]:
    """Name each kind of node that has no CUDA kernel, as ``Mod(INT64)``; element types must have been inferred."""
    missing = set()
    for node in nodes:
        if node.op_type == "Constant":  # becomes a constant of the graph when it is loaded
            continue
        data = node.inputs[1 if node.op_type == "Where" else 0]
        kind = "?" if data is None or data.dtype is None else data.dtype.name
        if node.domain or kind not in CUDA_KERNELS.get(node.op_type, ()):
            missing.add(f"{node.op_type}({kind})")
    return sorted(missing)
