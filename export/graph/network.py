"""A trained network as ONNX nodes, by torch's exporter: features in, probabilities out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from onnxscript import ir
from torch import Tensor, nn

from ...esc50.system import first_line
from ...kernels import CumelError
from .interface import IMAGE, OPSET, PROBABILITIES
from .opset import at_opset


class Classifier(nn.Module):
    """A network and what makes probabilities of its values; these are float32 even when the network is float16.

    A float16 network that takes float16 alone `casts`; those of `cumel train` normalise float32 features first.
    """

    def __init__(self, net: nn.Module, activation: str = "softmax", *, casts: bool = False) -> None:
        super().__init__()
        self.net, self.activation, self.casts = net, activation, casts

    def forward(self, features: Tensor) -> Tensor:
        """Return probabilities [batch, n_classes]."""
        if self.casts:
            features = features.half()
        return activated(self.net(features).float(), self.activation)


def activated(logits: Tensor, activation: str) -> Tensor:
    """Return the probabilities of logits [batch, n_classes]; "none" takes the values for probabilities."""
    if activation == "none":
        return logits
    return logits.sigmoid() if activation == "sigmoid" else logits.softmax(dim=1)


def halved(net: nn.Module) -> nn.Module:
    """Convert a network's weights to float16, in place; the mean and std for its features stay float32."""
    kept = {name: buffer for name, buffer in net.named_buffers() if name in ("mean", "std")}
    net.half()
    for name, buffer in kept.items():
        setattr(net, name, buffer)
    return net


def to_onnx(net: nn.Module, input_shape: tuple[int, ...], opset: int = OPSET) -> ir.Model:
    """Turn a network into a model that takes ``image`` [batch, *input_shape] and returns ``probabilities``.

    Raises
    ------
    CumelError
        When torch cannot export it.
    """
    with _quiet():
        try:
            program = torch.onnx.export(
                net,
                (torch.zeros(2, *input_shape),),  # The exporter takes a batch of 1 for a constant.
                dynamo=True,
                external_data=False,
                verbose=False,
                opset_version=OPSET,
                input_names=[IMAGE],
                output_names=[PROBABILITIES],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise CumelError(f"torch cannot export this network ({first_line(error)})") from None
    assert program is not None
    graph = program.model.graph
    # The exporter stores its source lines in every node; they name folders of this machine.
    for part in (graph, *graph, *graph.inputs, *graph.outputs, *(value for node in graph for value in node.outputs)):
        part.metadata_props.clear()
    return at_opset(program.model, opset)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence two messages of torch's exporter: a missing torchvision, and a deprecated call inside torch."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
