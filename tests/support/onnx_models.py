"""A model made by hand: which quarter of the mel bands is strongest? As a graph, as a torch network and in NumPy."""

from pathlib import Path

import numpy as np
import onnx
import onnxscript
import torch
from onnx import TensorProto, helper, numpy_helper

from cumel.esc50.training.recipes import Recipe
from cumel.export.graph.frontend import prepend
from cumel.export.graph.interface import Interface
from cumel.export.graph.metadata import Metadata

LABELS = ("low", "middle", "high", "highest")
HZ = {"low": 120, "middle": 700, "high": 1600, "highest": 3400}  # a tone of each class, at 8 kHz


def quarters(recipe: Recipe) -> np.ndarray:
    """Weights [n_mels, 4] that add up the bands of each quarter."""
    return np.kron(np.eye(4), np.full((recipe.features.n_mels // 4, 1), 0.03)).astype(np.float32)


class Quarters(torch.nn.Module):
    """The network."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.from_numpy(quarters(recipe)))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return (image.mean(dim=(1, 3)) @ self.weights).softmax(dim=1)


def probabilities(recipe: Recipe, image: np.ndarray) -> np.ndarray:
    """Probabilities [4] of one image [n_mels, n_frames], in float64."""
    scores = image.astype(np.float64).mean(axis=1) @ quarters(recipe)
    return np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()


def metadata(recipe: Recipe, labels: tuple[str, ...] = LABELS, takes: str = "image") -> Metadata:
    return Metadata.of_recipe(recipe, labels=labels, interface=Interface(input=takes), fold=1, epoch=1)


def save(path: Path, recipe: Recipe, props: dict[str, str] | None = None) -> Path:
    """Write the graph, with the recipe's own metadata unless `props` are given."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["image", "axes"], ["levels"], keepdims=0),
            helper.make_node("Gemm", ["levels", "quarters"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"]),
        ],
        "quarters",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", *recipe.input_shape])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(np.array([1, 3]), "axes"), numpy_helper.from_array(quarters(recipe), "quarters")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, metadata(recipe).to_props() if props is None else props)
    onnx.save(model, path)
    return path


def save_waveform(path: Path, recipe: Recipe) -> Path:
    """Write the graph with the exported front end before it."""
    model = onnxscript.ir.load(save(path, recipe))
    prepend(model.graph, recipe.features, recipe.n_samples, recipe.kind)
    model.metadata_props.update(metadata(recipe, takes="waveform").to_props())
    onnxscript.ir.save(model, path)
    return path
