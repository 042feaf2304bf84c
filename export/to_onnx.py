"""A trained network as an ONNX file that carries its labels and configuration, written once it equals torch."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..esc50.checkpoint import Checkpoint
from ..esc50.dataset import FEATURES
from ..esc50.files import replacing
from ..esc50.recipes import Recipe
from ..kernels import CumelError
from .check import BATCHES, check
from .frontend import OPSET, WAVEFORM, prepend
from .metadata import Metadata

INPUTS = ("waveform", "image")
PRECISIONS = ("fp32",)
LABELS = "labels.json"  # for runtimes that cannot read metadata, such as onnxruntime-web
MAX_BYTES = 1536 << 20  # of weights; torch's exporter puts more than that into a second file


def export(run: Path | str, out: Path | str, *, input: str = "waveform", precision: str = "fp32") -> dict[str, Any]:  # noqa: A002
    """Write a run's network to `out`, and its labels to labels.json beside it.

    The graph maps ``image`` [batch, 1, n_mels, n_frames], float32 (0..255 for a recipe of kind image, dB for logmel),
    to ``probabilities`` [batch, n_classes]. Neither file appears before the model has passed `check`.

    Parameters
    ----------
    run : path
        A run's folder, or its checkpoint.
    out : path
        The .onnx file; its folder is made if missing.
    input : {"image"}
        What the model takes.
    precision : {"fp32"}
        Of weights and arithmetic.

    Returns
    -------
    dict
        The report: both files, the inputs and outputs, and what `check` measured.

    Raises
    ------
    CumelError
        For an unknown option, an unusable checkpoint, a model that fails its check, or a place that cannot be written.
    """
    out = Path(out)
    for name, value, known in (("input", input, INPUTS), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise CumelError(f"{name}={value}: this version exports {', '.join(known)} only")
    if out.suffix.lower() != ".onnx" or out.is_dir():
        raise CumelError(f"{out}: give the name of a file that ends in .onnx")
    checkpoint = Checkpoint.load(run)
    recipe = checkpoint.recipe
    metadata = Metadata(
        labels=checkpoint.labels,
        recipe=recipe,
        input=input,
        precision=precision,
        fold=checkpoint.fold,
        epoch=checkpoint.epoch,
        accuracy=checkpoint.history[-1]["accuracy"] if checkpoint.history else None,
        versions={name: version(name) for name in ("cumel", "torch", "onnx")},
    )
    net = nn.Sequential(checkpoint.network(), nn.Softmax(dim=1)).eval()
    del checkpoint  # its optimiser is twice as large as the network
    n_bytes = sum(weight.nbytes for weight in net.state_dict().values())
    if n_bytes > MAX_BYTES:
        raise CumelError(
            f"{run}: {n_bytes >> 20} MiB of weights, one file holds {MAX_BYTES >> 20}; use a smaller model"
        )

    labels = out.with_name(LABELS)
    with replacing(out) as model_part:
        _write(net, metadata, model_part)
        try:
            clips = _clips(recipe, max(BATCHES))
            images = FEATURES[recipe.kind](clips, recipe.features)[:, None].astype(np.float32)
            checked = check(model_part, net, clips if input == "waveform" else images, images)
        except CumelError as error:
            raise CumelError(f"{out}: not written, as the exported model fails its check: {error}") from None
        with replacing(labels) as labels_part:
            labels_part.write_text(
                json.dumps(metadata.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )
    shape = ("samples",) if input == WAVEFORM else recipe.input_shape
    return {
        "model": str(out),
        "labels": str(labels),
        "bytes": out.stat().st_size,
        "recipe": recipe.name,
        "precision": precision,
        "input": f"{input} [batch, {', '.join(map(str, shape))}] float32",
        "output": f"probabilities [batch, {len(metadata.labels)}] float32",
        **checked,
    }


def _write(net: nn.Module, metadata: Metadata, path: Path) -> None:
    """Turn the network into ONNX, with the front end before it if the model takes waveforms."""
    recipe = metadata.recipe
    with _quiet():
        try:
            program = torch.onnx.export(
                net,
                (torch.zeros(2, *recipe.input_shape),),  # a batch of 1 would be taken for a constant
                dynamo=True,
                external_data=False,
                verbose=False,
                opset_version=OPSET,
                input_names=["image"],
                output_names=["probabilities"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise CumelError(f"torch cannot export this network ({str(error).splitlines()[0]})") from None
    assert program is not None
    graph = program.model.graph
    # The exporter notes its source lines in every node: they name the folders of this machine and help nobody.
    for noted in (graph, *graph, *graph.inputs, *graph.outputs, *(value for node in graph for value in node.outputs)):
        noted.metadata_props.clear()
    if metadata.input == WAVEFORM:
        prepend(graph, recipe.features, recipe.n_samples, recipe.kind)
    program.model.metadata_props.update(metadata.to_props())
    program.save(path)


def _clips(recipe: Recipe, n: int) -> NDArray[np.float32]:
    """Make `n` seeded clips such as the network meets: decaying tones in noise, from faint to loud."""
    cfg, rng = recipe.features, np.random.default_rng(0)

    def draw(low: float, high: float) -> NDArray[np.float64]:
        return rng.uniform(low, high, (n, 1))

    seconds = np.arange(recipe.n_samples) / cfg.sr
    y = np.sin(2 * np.pi * draw(100, 0.4 * cfg.sr) * seconds) * np.exp(-draw(0.5, 10) * seconds)
    y = 10 ** draw(-3, 0) * (y + 10 ** draw(-3, -1) * rng.standard_normal(y.shape))
    return y.astype(np.float32)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch's exporter says when all is well: no torchvision here, a deprecated call inside torch."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
