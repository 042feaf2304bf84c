"""Is an exported file what it claims to be? A valid graph, for every batch size, with torch's own answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..kernels import CumelError
from .frontend import OPSET
from .session import Session

BATCHES = (1, 2, 7, 16)
# Of a probability. Worst 3.6e-7 for trained networks; 3.6e-5 for the document's with its last layer scaled to logits of
# +-30, as rounding grows with the logits. A wrong graph is off by 1e-2 and more.
TOLERANCE = 1e-3
# What our networks export to, and what has a float32 kernel at opset 18 in ONNX Runtime's CUDA provider, after
# docs/OperatorKernels.md of microsoft/onnxruntime. A node that is not listed would run on the CPU, between two copies.
CUDA_OPS = frozenset(
    {
        *("Add", "Clip", "Concat", "Conv", "Div", "Floor", "Gather", "Gemm", "Less", "Log", "MatMul", "MaxPool", "Mul"),
        *("Pad", "ReduceMax", "ReduceMean", "ReduceMin", "Relu", "Reshape", "Shape", "Slice", "Softmax", "Sqrt", "Sub"),
        *("Tile", "Transpose", "Where"),
    }
)


def check(path: Path, net: nn.Module, examples: NDArray[np.float32], images: NDArray[np.float32]) -> dict[str, Any]:
    """Compare an ONNX file with the network that it was made from, on ONNX Runtime's CPU provider.

    Parameters
    ----------
    path : Path
    net : nn.Module
        Maps an input to probabilities [batch, n_classes]; ready for inference.
    examples : ndarray [max(BATCHES), ...], float32
        Realistic inputs.

    Returns
    -------
    dict
        Opset, number of nodes, batch sizes, the largest difference of a probability and its tolerance.

    Raises
    ------
    CumelError
        What is wrong, for an invalid graph, a fixed batch size, a node without a CUDA kernel, or another answer.
    """
    with torch.inference_mode():
        expected = net(torch.from_numpy(images)).numpy()
    n_nodes = _check_graph(path, ("samples",) if examples.ndim == 2 else examples.shape[1:], expected.shape[1:])
    session = Session(path, "cpu")
    worst = 0.0
    for n in BATCHES:
        got = session.run(examples[:n])
        difference = float(np.abs(got - expected[:n]).max())
        if not difference <= TOLERANCE:  # NaN is no pass
            raise CumelError(f"batch of {n}: a probability is {difference:.1e} from torch's, more than {TOLERANCE:g}")
        if (got.argmax(axis=1) != expected[:n].argmax(axis=1)).any():
            raise CumelError(f"batch of {n}: another class than torch's comes out on top")
        worst = max(worst, difference)
    return {
        "opset": OPSET,
        "nodes": n_nodes,
        "batches": list(BATCHES),
        "max_difference": worst,
        "tolerance": TOLERANCE,
    }


def _check_graph(path: Path, input_shape: tuple[int | str, ...], output_shape: tuple[int, ...]) -> int:
    """Check the file's graph and return how many nodes it has."""
    import onnx

    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise CumelError(f"invalid ONNX ({str(error).splitlines()[0]})") from None
    model = onnx.load(path)
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    if opsets != {"": OPSET}:
        raise CumelError(f"its operator sets are {opsets}, not the standard one at version {OPSET} alone")
    for (value,), shape in ((model.graph.input, input_shape), (model.graph.output, output_shape)):
        axes = [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        if axes != ["batch", *shape]:
            raise CumelError(f"{value.name} has the axes {axes}, not {['batch', *shape]}")
    missing = sorted({node.op_type for node in model.graph.node} - CUDA_OPS)
    if missing:
        raise CumelError(f"{', '.join(missing)}: not listed as an operator with a CUDA kernel in ONNX Runtime")
    return len(model.graph.node)
