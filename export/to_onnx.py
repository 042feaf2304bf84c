"""ONNX export of a trained network, with its labels and configuration; written after its answers equal torch's."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxscript import ir
from torch import nn

from ..esc50.datasets import Description
from ..esc50.system import defaults, replacing
from ..esc50.training import Checkpoint, Recipe
from ..kernels import CumelError
from .card import card
from .check import BATCHES, check, features_of
from .graph import (
    INPUTS,
    PRECISIONS,
    WAVEFORM,
    Classifier,
    Metadata,
    calibration_clips,
    halved,
    prepend,
    quantized,
    to_onnx,
)
from .runtime import onnxruntime
from .triton import place_of, write_repository

LABELS_SUFFIX = ".labels.json"  # of the labels for runtimes that cannot read metadata, such as onnxruntime-web
CARD_SUFFIX = ".md"  # extension of the model card, which has the model's name
MAX_BYTES = 1536 << 20  # limit of the weights; torch's exporter puts more than that into a second file


@defaults()
def export_onnx(
    run: Path | str,
    out: Path | str | None = None,
    *,
    input: str = WAVEFORM,  # noqa: A002
    precision: str = "fp32",
    calibration: Sequence[Path] = (),
    triton: Path | str | None = None,
) -> dict[str, Any]:
    """Write a run's network to `out`, NAME.onnx, with NAME.labels.json and a model card, NAME.md, beside it.

    The graph maps ``waveform`` [batch, samples] at the recipe's rate, of any length, to ``probabilities``
    [batch, n_classes]; the value between is ``features`` [batch, 1, n_mels, n_frames]. With input "image" the graph
    begins at these features, and calls them ``image`` (0..255 for a recipe of kind image, dB for logmel). All are
    float32. No file appears before the model has passed `check`.

    Parameters
    ----------
    run : path
        Folder of a run, or its checkpoint.
    out : path, optional
        The .onnx file; a missing folder is made. With `triton` it may be left out.
    input : {"waveform", "image"}
        Input of the model.
    precision : {"fp32", "fp16", "int8"}
        Precision of the network's weights and arithmetic; the front end is always float32.
    calibration : sequence of path
        For int8: recordings on which activations are measured, and the result is checked.
    triton : path, optional
        Folder of a Triton model repository; the model is put into it, named after its run.

    Returns
    -------
    dict
        The files, the inputs and outputs, and the report of `check`.

    Raises
    ------
    CumelError
        For an unknown option, an unusable checkpoint, a model that fails its check, or a place that cannot be written.
    """
    served = None if triton is None else place_of(Path(triton), Path(run), precision)
    out = served if out is None else Path(out)
    if out is None:
        raise CumelError("out: name the .onnx file to write, or a Triton repository")
    _check_options(out, input, precision, calibration)
    checkpoint = Checkpoint.load(run)
    metadata = _metadata(checkpoint, input, precision)
    learned_from = Description.load(Path(run) if Path(run).is_dir() else Path(run).parent)
    net = checkpoint.network()
    del checkpoint  # Its optimiser is twice as large as the network.
    _check_bytes(net, run)
    labels = out.with_suffix(LABELS_SUFFIX)
    described = json.dumps(metadata.to_dict(), indent=1, ensure_ascii=False) + "\n"

    recipe = metadata.recipe
    measured, clips = calibration_clips(calibration, recipe) if calibration else (None, _clips(recipe, max(BATCHES)))
    with replacing(out) as model_part:
        _write(net, metadata, measured, model_part)
        try:
            checked = check(model_part, metadata, Classifier(net, metadata.recipe.loss).eval(), clips)
        except CumelError as error:
            raise CumelError(f"{out}: not written, as the exported model fails its check: {error}") from None
        with replacing(labels) as labels_part, replacing(out.with_suffix(CARD_SUFFIX)) as card_part:
            labels_part.write_text(described, encoding="utf-8")
            card_part.write_text(card(metadata, out, checked, learned_from), encoding="utf-8")
    shape = ("samples",) if input == WAVEFORM else recipe.input_shape
    return {
        "model": str(out),
        "labels": str(labels),
        "card": str(out.with_suffix(CARD_SUFFIX)),
        **({} if served is None else {"triton": str(write_repository(out, metadata, served))}),
        "bytes": out.stat().st_size,
        "recipe": recipe.name,
        "precision": precision,
        "input": f"{input} [batch, {', '.join(map(str, shape))}] float32",
        "output": f"probabilities [batch, {len(metadata.labels)}] float32",
        **checked,
    }


def _check_options(out: Path, input: str, precision: str, calibration: Sequence[Path]) -> None:  # noqa: A002
    for name, value, known in (("input", input, INPUTS), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise CumelError(f"{name}={value}: must be one of {', '.join(known)}")
    if out.suffix.lower() != ".onnx" or out.is_dir():
        raise CumelError(f"{out}: give the name of a file that ends in .onnx")
    if precision == "int8" and not calibration:
        raise CumelError("precision=int8: needs recordings to measure its ranges on; name some with --calibration")
    if precision != "int8" and calibration:
        raise CumelError(f"precision={precision}: takes no calibration, which int8 does")


def _metadata(checkpoint: Checkpoint, input: str, precision: str) -> Metadata:  # noqa: A002
    state = checkpoint.model if checkpoint.ema is None else checkpoint.ema
    return Metadata(
        labels=checkpoint.labels,
        recipe=checkpoint.recipe,
        input=input,
        precision=precision,
        fold=checkpoint.fold,
        epoch=checkpoint.epoch,
        accuracy=checkpoint.history[-1]["accuracy"] if checkpoint.history else None,
        versions={name: version(name) for name in ("cumel", "torch", "onnx")}
        | {"onnxruntime": onnxruntime().__version__},
        normalisation={name: float(state[name]) for name in ("mean", "std") if name in state},
    )


def _check_bytes(net: nn.Module, run: Path | str) -> None:
    n_bytes = sum(weight.nbytes for weight in net.state_dict().values())
    if n_bytes > MAX_BYTES:
        raise CumelError(
            f"{run}: {n_bytes >> 20} MiB of weights, one file holds {MAX_BYTES >> 20}; use a smaller model"
        )


def _write(net: nn.Module, metadata: Metadata, measured: NDArray[np.float32] | None, path: Path) -> None:
    """Write the network as ONNX, after a front end if the model takes waveforms."""
    recipe = metadata.recipe
    net = halved(copy.deepcopy(net)) if metadata.precision == "fp16" else net
    classifier = Classifier(net, metadata.recipe.loss).eval()
    model = to_onnx(classifier, recipe.input_shape)
    if measured is not None:
        model = quantized(model, features_of(measured, recipe))
    if metadata.input == WAVEFORM:
        prepend(model.graph, recipe.features, recipe.n_samples, recipe.kind)
    model.metadata_props.update(metadata.to_props())
    ir.save(model, path)


def _clips(recipe: Recipe, n: int) -> NDArray[np.float32]:
    """Make `n` seeded clips: decaying tones in noise, from faint to loud."""
    cfg, rng = recipe.features, np.random.default_rng(0)

    def draw(low: float, high: float) -> NDArray[np.float64]:
        return rng.uniform(low, high, (n, 1))

    seconds = np.arange(recipe.n_samples) / cfg.sr
    y = np.sin(2 * np.pi * draw(100, 0.4 * cfg.sr) * seconds) * np.exp(-draw(0.5, 10) * seconds)
    y = 10 ** draw(-3, 0) * (y + 10 ** draw(-3, -1) * rng.standard_normal(y.shape))
    return y.astype(np.float32)
