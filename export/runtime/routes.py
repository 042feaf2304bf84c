"""Two routes from samples to probabilities: the front end in the graph, or our kernels before the rest of the graph."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from ...esc50.system import first_line
from ...kernels import CumelError, UnavailableError, need

ROUTES = ("auto", "graph", "kernels")
MOST_BYTES = 2**31  # limit of a protocol buffer


def read_model(path: Path | str) -> Any:
    """Read an ONNX file, without the external files that it may name.

    Raises
    ------
    CumelError
        For a file that is missing, empty, too large, or no model.
    """
    onnx, protobuf = need("onnx", __name__), need("google.protobuf.message", __name__)
    path = Path(path)
    if not path.is_file():
        raise CumelError(f"{path}: no such model; `cumel export` writes one")
    n_bytes = path.stat().st_size
    if n_bytes == 0:
        raise CumelError(f"{path}: the file is empty (0 bytes); export it again")
    if n_bytes > MOST_BYTES:
        raise CumelError(f"{path}: {n_bytes >> 20} MiB, and no ONNX file has more than {MOST_BYTES >> 20}; is it one?")
    try:
        model = onnx.load(path, load_external_data=False)
    except (protobuf.DecodeError, OSError, RuntimeError, ValueError) as error:
        raise CumelError(f"{path}: not a usable ONNX model ({first_line(error)}); export it again") from None
    if not model.graph.node:
        raise CumelError(f"{path}: not a usable ONNX model (no graph in it); export it again")
    return model


def beginning_at(model: Any, start: str, shape: tuple[int, ...], output: str) -> bytes:
    """Return the part of a model from the value `start` [batch, *shape], float32, to one output.

    Raises
    ------
    CumelError
        For a graph without such a value.
    """
    onnx = need("onnx", __name__)

    graph = model.graph
    made_by = {name: number for number, node in enumerate(graph.node) for name in node.output}
    if start not in made_by:
        raise CumelError(f"its graph has no value named {start} at which to cut it")
    kept: set[int] = set()
    needed, pending = set(), [output]
    while pending:
        name = pending.pop()
        if name in needed or not name:
            continue
        needed.add(name)
        if name != start and name in made_by and made_by[name] not in kept:
            kept.add(made_by[name])
            pending += graph.node[made_by[name]].input
    past = {value.name for value in graph.input} & needed
    if past:
        raise CumelError(f"what follows {start} also reads {', '.join(sorted(past))}")
    rest = onnx.helper.make_graph(
        [graph.node[number] for number in sorted(kept)],
        graph.name,
        [onnx.helper.make_tensor_value_info(start, onnx.TensorProto.FLOAT, ["batch", *shape])],
        [value for value in graph.output if value.name == output],
        [tensor for tensor in graph.initializer if tensor.name in needed],
    )
    cut = onnx.helper.make_model(rest, opset_imports=model.opset_import, ir_version=model.ir_version)
    cut.functions.extend(model.functions)
    return cut.SerializeToString()


def answering(model: Any, output: str) -> bytes:
    """Return the model with one of its outputs alone."""
    kept = [value for value in model.graph.output if value.name == output]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    return model.SerializeToString()


def of_length(model: Any, n_samples: int) -> bytes:
    """Return a model of the former format for clips of exactly `n_samples`, whose sizes are then computed once.

    With a dynamic length ONNX Runtime would compute them on the CPU at every run; `require_gpu` refuses that.
    """
    onnx = need("onnx", __name__)

    (waveform,) = model.graph.input
    waveform.type.tensor_type.shape.dim[1].dim_value = n_samples
    for node in model.graph.node:
        span = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type == "Shape" and list(node.input) == [waveform.name] and span == {"start": 1, "end": 2}:
            node.CopyFrom(onnx.helper.make_node("Constant", [], node.output, value_ints=[n_samples]))
    return model.SerializeToString()


def choose_route(requested: str, takes: str, on_gpu: bool) -> tuple[str, str]:
    """Return the route to take, and the reason.

    Parameters
    ----------
    requested : {"auto", "graph", "kernels"}
    takes : {"waveform", "image"}
        The model's input.
    on_gpu : bool
        Whether the model is to run on a GPU.

    Raises
    ------
    CumelError
        For an unknown route, or one that the model does not have.
    UnavailableError
        When our kernels are demanded on a GPU, and it lacks something that they need.
    """
    if requested not in ROUTES:
        raise CumelError(f"route={requested}: must be one of {', '.join(ROUTES)}")
    missing = _lacking() if on_gpu else None
    if takes != "waveform":
        if requested == "graph":
            raise CumelError("route=graph: this model takes images, so its graph has no front end; use kernels")
        if missing:
            raise UnavailableError(f"takes images, which our kernels make on the GPU, but {missing}; use provider=cpu")
        return "kernels", "the model takes images"
    if requested == "kernels" and missing:
        raise UnavailableError(f"route=kernels: our kernels were demanded on the GPU, but {missing}")
    if requested != "auto":
        return requested, "as asked for"
    if missing:
        return "graph", f"our kernels cannot run on the GPU: {missing}"
    if on_gpu:
        return "kernels", "one launch instead of the graph's thirty; not measured yet"
    return "kernels", "measured to be faster on the CPU"


def _lacking() -> str | None:
    """Name what our kernels need and this machine's GPU lacks; None when nothing is missing."""
    import torch

    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    return None if importlib.util.find_spec("cupy") else "CuPy is not installed (pip install 'cumel[gpu]')"
