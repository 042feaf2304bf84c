"""What an exported file must agree with: the outputs of the network itself, in torch or in its original file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnxscript import ir
from torch import Tensor, nn

from ...esc50.system import first_line
from ...kernels import CumelError
from ..graph import EMBEDDING, IMAGE, LOGITS, PROBABILITIES, activated
from ..runtime import onnxruntime

Answers = Callable[[NDArray[np.float32]], Mapping[str, NDArray[np.float32]]]
BATCH = 8  # clips at a time


def of_torch(net: nn.Module, activation: str) -> Answers:
    """Return the answers of a torch network from features to logits, in evaluation mode.

    The embedding is what the last layer takes, where that is an `nn.Linear`; else there is none.
    """

    def answers(features: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        taken: list[tuple[Tensor, Tensor]] = []

        def take(_: nn.Module, arguments: tuple[Tensor, ...], value: Tensor) -> None:
            taken.append((arguments[0], value))

        hooks = [layer.register_forward_hook(take) for layer in net.modules() if isinstance(layer, nn.Linear)]
        try:
            with torch.inference_mode():
                last = net(torch.from_numpy(features))
        finally:
            for hook in hooks:
                hook.remove()
        embeddings = [x for x, y in taken if y is last]
        found = {PROBABILITIES: activated(last.float(), activation), LOGITS: last}
        found |= {EMBEDDING: embeddings[0]} if embeddings else {}
        return {name: value.float().numpy() for name, value in found.items()}

    return _in_batches(answers)


def of_graph(model: ir.Model) -> Answers:
    """Return the answers of a graph from ``image``, on ONNX Runtime's CPU provider."""
    serialized = ir.to_proto(model).SerializeToString()
    session = onnxruntime().InferenceSession(serialized, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]

    def answers(features: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        try:
            outputs: list[Any] = session.run(names, {IMAGE: features})
        except Exception as error:  # ONNX Runtime's exceptions have no base class.
            raise CumelError(f"the network fails on {len(features)} clips at once ({first_line(error)})") from None
        return dict(zip(names, outputs, strict=True))

    return _in_batches(answers)


def _in_batches(answers: Answers) -> Answers:
    def every(features: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        parts = [answers(features[i : i + BATCH]) for i in range(0, len(features), BATCH)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return every
