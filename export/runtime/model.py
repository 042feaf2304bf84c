"""An exported model with the configuration in its file: clips in, probabilities out, by either route."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...esc50.audio import Samples
from ...esc50.system import defaults
from ...esc50.training import Recipe
from ...kernels import CumelError
from ..graph import (
    CLIP_NAME,
    EMBEDDING,
    FEATURES_NAME,
    IMAGE,
    LENGTHS,
    LOGITS,
    PROBABILITIES,
    WAVEFORM,
    Metadata,
)
from .providers import lacking, onnxruntime, resolved
from .routes import answering, beginning_at, choose_route, of_length, read_model
from .session import Session

FLOAT, INT16, INT64 = 1, 5, 7  # ONNX's numbers for float32, int16 and int64


@dataclass(frozen=True)
class Model:
    """An exported model, ready to classify."""

    path: Path
    session: Session
    metadata: Metadata
    route: str  # graph or kernels
    reason: str  # why this route was taken

    @property
    def recipe(self) -> Recipe | None:
        """The recipe that the network was trained with; None for one that `cumel train` did not train."""
        return self.metadata.recipe

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of its classes."""
        return self.metadata.labels

    def probabilities(self, y: Samples) -> NDArray[np.float32]:
        """Classify clips ``y`` [batch, n_samples] at the model's rate; returns [batch, n_classes]."""
        if not self.session.on_gpu:
            return self.answer(y)
        import torch

        with torch.inference_mode():
            return self.answer(torch.from_numpy(y).to(torch.device("cuda", self.session.device_id))).cpu().numpy()

    def answer(self, y: Any) -> Any:
        """Classify a NumPy array, tensor or CuPy array of clips; returns the same kind of array, on the same device."""
        return self.session.run(self.entrance(y))

    def entrance(self, y: Any) -> Any:
        """Return the session's input for clips ``y``: the clips, or their features."""
        return y if self.route == "graph" else self.metadata.entrance(y)

    def report(self) -> dict[str, Any]:
        """Return the provider and route that were asked for, those that are used, and why."""
        return self.session.report() | {"route": self.route, "route_reason": self.reason}


@defaults()
def load_model(
    path: Path | str,
    *,
    provider: str = "auto",
    require_gpu: bool = False,
    route: str = "auto",
    batch: int | None = None,
    stream: Any = None,
    cuda_graph: bool = False,
) -> Model:
    """Load a model that `export` wrote, with the configuration in its file.

    Parameters
    ----------
    path : path
    provider, require_gpu
        As for `Session`.
    route : {"auto", "graph", "kernels"}
        The source of the features: the graph's own front end, or our kernels before the rest of the graph. Both give
        the same answers; auto takes the faster one.
    batch : int, optional
        The size of every batch; CUDA graphs need it.
    stream, cuda_graph
        As for `Session`.

    Raises
    ------
    CumelError
        When the file is missing, damaged, not ours, its metadata does not fit its graph, or it lacks the route.
    UnavailableError
        When a GPU is demanded, and there is none that works.
    """
    path = Path(path)
    model, metadata = read_exported(path)
    check_fit(path, model, metadata)
    if PROBABILITIES not in metadata.interface.outputs:
        given = ", ".join(metadata.interface.outputs)
        raise CumelError(f"{path}: gives {given}, and a prediction needs {PROBABILITIES}; export it with that output")
    target = resolved(provider)
    onnxruntime(demand_gpu=require_gpu or target in ("cuda", "tensorrt"))
    target = "cuda" if target == "auto" else target
    on_gpu = target in ("cuda", "tensorrt") and lacking(target) is None
    try:
        chosen, reason = choose_route(route, metadata.input, on_gpu)
        graph = _part(model, metadata, chosen)
    except CumelError as error:
        raise type(error)(f"{path}: {error}") from None
    del model  # It holds all weights.
    sizes = {} if batch is None else {"batch": batch}
    session = Session(path, provider, require_gpu, graph=graph, sizes=sizes, stream=stream, cuda_graph=cuda_graph)
    return Model(path, session, metadata, chosen, reason)


def _part(model: Any, metadata: Metadata, route: str) -> bytes | None:
    """Return the part of a model that answers by a route; None for all of it.

    Clips come fitted, at the features' rate: what the file does to others is left out.
    """
    if metadata.input == WAVEFORM:
        if route == "kernels":
            return beginning_at(model, FEATURES_NAME, metadata.input_shape, PROBABILITIES)
        if any(CLIP_NAME in node.output for node in model.graph.node):
            return beginning_at(model, CLIP_NAME, (metadata.n_samples,), PROBABILITIES)
        if metadata.interface.samples is None:
            return of_length(model, metadata.n_samples)
    return None if len(metadata.interface.outputs) == 1 else answering(model, PROBABILITIES)


def read_exported(path: Path | str) -> tuple[Any, Metadata]:
    """Read an ONNX file that `export` wrote, and its metadata.

    Raises
    ------
    CumelError
        When the file is missing, damaged, or not ours.
    """
    model = read_model(path)
    try:
        return model, Metadata.from_props({entry.key: entry.value for entry in model.metadata_props})
    except CumelError as error:
        raise _unusable(path, str(error)) from None


def _unusable(path: Path | str, why: str) -> CumelError:
    return CumelError(f"{path}: not a usable model: {why}; `cumel export` writes one")


def check_fit(path: Path, model: Any, metadata: Metadata) -> None:
    """Raise a `CumelError` when a graph does not fit its metadata."""
    graph, interface = model.graph, metadata.interface
    outputs = {
        PROBABILITIES: (FLOAT, [len(metadata.labels)]),
        LOGITS: (FLOAT, [len(metadata.labels)]),
        FEATURES_NAME: (FLOAT, [*metadata.input_shape]),
        EMBEDDING: (FLOAT, None),
    }
    stated = {name: outputs[name] for name in interface.outputs}
    if metadata.input == WAVEFORM:
        axes = ["samples" if interface.samples is None else interface.samples]
        axes = ["channels", *axes] if interface.channels else axes
        stated[WAVEFORM] = (INT16 if interface.dtype == "int16" else FLOAT, axes)
        stated[FEATURES_NAME] = outputs[FEATURES_NAME]
        if interface.lengths:
            stated[LENGTHS] = (INT64, [])
    else:
        stated[IMAGE] = (FLOAT, [*metadata.input_shape])
    actual = {}
    for value in (*graph.input, *graph.output, *(value for value in graph.value_info if value.name in stated)):
        kind = value.type.tensor_type
        axes = [axis.dim_param or axis.dim_value for axis in kind.shape.dim][1:]
        actual[value.name] = (kind.elem_type, None if value.name == EMBEDDING else axes)
    if actual != stated:
        raise _unusable(path, f"metadata: tells of {_listed(stated)}; the graph has {_listed(actual)}")


def _listed(values: dict[str, tuple[int, list[Any] | None]]) -> str:
    return ", ".join(f"{name} [{', '.join(map(str, ['batch', *(axes or [])]))}]" for name, (_, axes) in values.items())
