"""A network in an .onnx file of another exporter, as a graph before which a front end can be put."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.version_converter
from google.protobuf.message import DecodeError
from onnxscript import ir
from onnxscript.ir.passes.common import ShapeInferencePass

from ...esc50.system import first_line
from ...kernels import CumelError
from .interface import IMAGE, MOST_BYTES, OPSET, PROBABILITIES
from .metadata import Metadata
from .opset import at_opset
from .outputs import OPERATORS
from .tape import IR_VERSION

PREFIX = "network/"  # beginning of all names, so that none is one of ours


def read_network(path: Path, metadata: Metadata) -> ir.Model:
    """Read a network from features to one value for each label, as a graph from ``image`` to ``probabilities``.

    Raises
    ------
    CumelError
        For a file that is missing, no model, or too large; for inputs or outputs that do not fit the metadata; and for
        operators that cannot be written at its opset.
    """
    model = _loaded(path)
    foreign = sorted({entry.domain for entry in model.opset_import} - {"", "ai.onnx"})
    if foreign:
        raise CumelError(
            f"{path}: has operators of {', '.join(foreign)}, which few runtimes have; export it without them"
        )
    network = ir.from_proto(_converted(path, model))
    network = at_opset(network, metadata.interface.opset)
    graph = network.graph
    given = [value for value in graph.inputs if value.name not in graph.initializers]
    if len(given) != 1 or len(graph.outputs) != 1:
        raise CumelError(f"{path}: has {len(given)} inputs and {len(graph.outputs)} outputs, not one of each")
    graph.inputs[:] = given
    _check(path, "takes", graph.inputs[0], metadata.input_shape)
    _check(path, "gives", graph.outputs[0], (len(metadata.labels),))
    _rename(graph)
    graph.inputs[0].name = IMAGE
    graph.inputs[0].shape = ir.Shape(["batch", *metadata.input_shape])
    _activate(graph, metadata.activation)
    ShapeInferencePass()(network)
    network.ir_version = IR_VERSION
    network.metadata_props.clear()
    return network


def _loaded(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise CumelError(f"{path}: no such model")
    try:
        model = onnx.load(path)  # with the weights of other files beside it
    except (DecodeError, OSError, RuntimeError, ValueError) as error:
        raise CumelError(f"{path}: not a usable ONNX model ({first_line(error)})") from None
    if not model.graph.node:
        raise CumelError(f"{path}: not a usable ONNX model (no graph in it)")
    if model.ByteSize() > MOST_BYTES:
        raise CumelError(f"{path}: {model.ByteSize() >> 20} MiB, one file holds {MOST_BYTES >> 20}")
    return model


def _converted(path: Path, model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model at `OPSET`."""
    (opset,) = (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset == OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:  # a RuntimeError of the converter, or what its adapters raise
        why = first_line(error)
        raise CumelError(f"{path}: is of opset {opset}, and cannot be written at {OPSET} ({why})") from None


def _check(path: Path, verb: str, value: ir.Value, shape: tuple[int, ...]) -> None:
    """Raise a `CumelError` for an input or output that cannot be [batch, *shape], float32."""
    axes = [axis if isinstance(axis, int) else (axis.value or "?") for axis in value.shape or ()]
    fits = len(axes) == 1 + len(shape) and all(
        not isinstance(axis, int) or axis == n for axis, n in zip(axes[1:], shape, strict=True)
    )
    if value.dtype != ir.DataType.FLOAT or not fits:
        told = f"{value.name} {axes} {'' if value.dtype is None else value.dtype.name}".rstrip().lower()
        raise CumelError(f"{path}: {verb} {told}, and {['batch', *shape]} float32 is needed".replace("'", ""))


def _rename(graph: ir.Graph) -> None:
    """Give nodes and values names that are none of the front end's."""
    values: dict[int, ir.Value] = {}
    for node in ir.traversal.RecursiveGraphIterator(graph):
        node.name = f"{PREFIX}{node.name or node.op_type}"
        values |= {id(value): value for value in (*node.inputs, *node.outputs) if value is not None}
    values |= {id(value): value for value in (*graph.inputs, *graph.outputs, *graph.initializers.values())}
    for value in values.values():
        value.name = f"{PREFIX}{value.name}" if value.name else value.name
        if value.producer() is not None:  # Shapes are inferred anew, with the batch that we call so.
            value.shape = value.type = None


def _activate(graph: ir.Graph, activation: str) -> None:
    """End a graph in ``probabilities``."""
    (last,) = graph.outputs
    if activation != "none":
        out = ir.Value(type=ir.TensorType(ir.DataType.FLOAT))
        axis = [ir.AttrInt64("axis", 1)] if activation == "softmax" else []
        graph.append(ir.Node("", OPERATORS[activation], [last], axis, outputs=[out], name=f"{PREFIX}{activation}"))
        graph.outputs[0] = last = out
    last.name = PROBABILITIES
