"""ONNX export of a trained network, with its labels and configuration; written after its answers equal torch's."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxscript import ir
from torch import nn

from ..esc50.datasets import Description
from ..esc50.system import defaults
from ..esc50.training import Checkpoint
from ..kernels import CumelError
from .check import features_of, of_torch
from .graph import (
    MOST_BYTES,
    PRECISIONS,
    Classifier,
    Interface,
    Metadata,
    calibration_clips,
    halved,
    quantized,
    to_onnx,
)
from .triton import name_of
from .written import Place, versions, write_model


@defaults()
def export_onnx(
    run: Path | str,
    out: Path | str | None = None,
    interface: Interface | None = None,
    *,
    precision: str = "fp32",
    calibration: Sequence[Path] = (),
    triton: Path | str | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Write a run's network to `out`, NAME.onnx, with NAME.labels.json and a model card, NAME.md, beside it.

    The graph maps ``waveform`` [batch, samples] at the recipe's rate, of any length, to ``probabilities``
    [batch, n_classes]; the value between is ``features`` [batch, 1, n_mels, n_frames]. With input "image" the graph
    begins at these features, and calls them ``image`` (0..255 for a recipe of kind image, dB for logmel). All are
    float32. `Interface` has this and the other forms. No file appears before the model has passed `check`.

    Parameters
    ----------
    run : path
        Folder of a run, or its checkpoint.
    out : path, optional
        The .onnx file; a missing folder is made. With `triton` it may be left out.
    interface : Interface, optional
        What the model takes and gives.
    precision : {"fp32", "fp16", "int8"}
        Precision of the network's weights and arithmetic; the front end is always float32.
    calibration : sequence of path
        For int8: recordings on which activations are measured, and the result is checked.
    triton : path, optional
        Folder of a Triton model repository; the model is put into it.
    name : str, optional
        What Triton calls the model; without it, the name of the run.

    Returns
    -------
    dict
        The files, the inputs and outputs, and the report of `check`.

    Raises
    ------
    CumelError
        For an unknown option, an unusable checkpoint, a model that fails its check, or a place that cannot be written.
    """
    run, interface = Path(run), interface_of(interface)
    place = Place.of(out, triton, name or name_of(run, precision))
    check_precision(precision, calibration)
    checkpoint = Checkpoint.load(run)
    metadata = _metadata(checkpoint, interface, precision)
    learned_from = Description.load(run if run.is_dir() else run.parent)
    net = checkpoint.network()
    del checkpoint  # Its optimiser is twice as large as the network.
    check_bytes(net, run)
    measured, clips = calibration_clips(calibration, metadata) if calibration else (None, None)
    network = graph_of(net, metadata, measured)
    return write_model(network, metadata, of_torch(net.eval(), metadata.activation), place, clips, learned_from)


def interface_of(given: Interface | None) -> Interface:
    """Return the interface, or the usual one; a `CumelError` for anything else."""
    if given is not None and not isinstance(given, Interface):
        raise CumelError(f"interface: expected an Interface, such as Interface(input='image'), got {given!r:.60}")
    return given or Interface()


def check_precision(precision: str, calibration: Sequence[Path]) -> None:
    """Raise a `CumelError` for an unknown precision, and for calibration that it does not need or lacks."""
    if precision not in PRECISIONS:
        raise CumelError(f"precision={precision}: must be one of {', '.join(PRECISIONS)}")
    if precision == "int8" and not calibration:
        raise CumelError("precision=int8: needs recordings to measure its ranges on; name some with --calibration")
    if precision != "int8" and calibration:
        raise CumelError(f"precision={precision}: takes no calibration, which int8 does")


def graph_of(net: nn.Module, metadata: Metadata, measured: NDArray[np.float32] | None) -> ir.Model:
    """Return a network as a graph from ``image``, in the precision of its metadata."""
    half = metadata.precision == "fp16"
    net = halved(copy.deepcopy(net)) if half else net
    classifier = Classifier(net, metadata.activation, casts=half and metadata.recipe is None)
    model = to_onnx(classifier.eval(), metadata.input_shape, metadata.interface.opset)
    return model if measured is None else quantized(model, features_of(measured, metadata))


def _metadata(checkpoint: Checkpoint, interface: Interface, precision: str) -> Metadata:
    state = checkpoint.model if checkpoint.ema is None else checkpoint.ema
    return Metadata.of_recipe(
        checkpoint.recipe,
        labels=checkpoint.labels,
        interface=interface,
        precision=precision,
        fold=checkpoint.fold,
        epoch=checkpoint.epoch,
        accuracy=checkpoint.history[-1]["accuracy"] if checkpoint.history else None,
        versions=versions(),
        normalisation={name: float(state[name]) for name in ("mean", "std") if name in state},
    )


def check_bytes(net: nn.Module, run: Path | str) -> None:
    """Raise a `CumelError` for weights that one file cannot hold."""
    n_bytes = sum(weight.nbytes for weight in net.state_dict().values())
    if n_bytes > MOST_BYTES:
        raise CumelError(
            f"{run}: {n_bytes >> 20} MiB of weights, one file holds {MOST_BYTES >> 20}; use a smaller model"
        )
