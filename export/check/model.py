"""The check of an exported file: a valid graph, librosa's features, and torch's answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnxscript import ir
from onnxscript.ir.passes.common import ShapeInferencePass
from torch import nn

from ...kernels import CumelError
from ..graph import LENGTHS, PROBABILITIES, WAVEFORM, Metadata
from ..runtime import onnxruntime
from .feeds import Clip, features_of, given
from .frontend import check_frontend, lengths
from .operators import without_cuda_kernel

BATCHES = (1, 2, 7, 64)


@dataclass(frozen=True)
class Bounds:
    """Largest allowed differences from torch in float32, for one precision."""

    difference: float  # largest difference of a probability
    tied: float  # difference of probabilities below which torch's two best classes count as equal
    agreement: float  # least share of clips with torch's best class


# The comments give the worst differences of trained and untrained networks.
BOUNDS = {
    "fp32": Bounds(1e-3, 1e-5, 1.0),  # 1.3e-6; the baseline with logits scaled to +-30: 3.6e-5
    "fp16": Bounds(3e-2, 1e-2, 1.0),  # 3.1e-3
    "int8": Bounds(0.5, 1e-5, 0.9),  # 0.29 (untrained); on 100 held-out recordings 100 % agree
}

# An image that the graph makes may have pixels one of 256 levels beside torch's, where a value lies on a boundary.
PIXELS = 5e-3  # difference of a probability; 1.3e-3 with logits scaled to +-30


def check(path: Path, metadata: Metadata, net: nn.Module, clips: NDArray[np.float32]) -> dict[str, Any]:
    """Compare an ONNX file with the network that it was exported from, on ONNX Runtime's CPU provider.

    Parameters
    ----------
    path : Path
    metadata : Metadata
        What the file says of itself.
    net : nn.Module
        From features to probabilities [batch, n_classes] in float32, in evaluation mode.
    clips : ndarray [n_clips, n_samples], float32
        Typical clips; they are repeated to fill the largest batch.

    Returns
    -------
    dict
        Opset, number of nodes, batch sizes, lengths in samples, the largest difference of a probability, the share of
        clips with the same class on top, their bounds, and the largest errors of the front end in dB.

    Raises
    ------
    CumelError
        For an invalid graph, a fixed axis, a node without a CUDA kernel, wrong features, or other answers than torch's.
    """
    bounds = BOUNDS[metadata.precision]
    if metadata.kind == "image" and metadata.input == WAVEFORM:
        bounds = replace(bounds, difference=max(bounds.difference, PIXELS), tied=max(bounds.tied, PIXELS))
    model = _check_graph(path, metadata)
    report: dict[str, Any] = {"opset": metadata.interface.opset, "nodes": len(model.graph), "batches": list(BATCHES)}
    if metadata.input == WAVEFORM:
        report |= check_frontend(model, metadata)
    del model
    session = onnxruntime().InferenceSession(path, providers=["CPUExecutionProvider"])
    filled = _repeated(clips, metadata)
    expected = _answers(net, filled, metadata)
    cases = [(f"batch of {n}", filled[:n], expected[:n]) for n in BATCHES]
    if metadata.input == WAVEFORM:
        report["lengths"] = lengths(metadata)
        for n in report["lengths"]:
            y = [np.resize(clip, n) for clip in clips[: 1 if n > metadata.n_samples else 2]]
            cases.append((f"{n} samples", y, _answers(net, y, metadata)))
    if metadata.interface.lengths:
        y = [np.resize(clip, n) for clip, n in zip(filled, report["lengths"][:-1], strict=False)]
        cases.append(("clips of all lengths in one batch", y, _answers(net, y, metadata)))
    worst = 0.0
    for name, y, wanted in cases:
        got = _run(session, y, metadata)
        difference = float(np.abs(got - wanted).max())
        if not difference <= bounds.difference:  # NaN is no pass
            raise CumelError(f"{name}: a probability is {difference:.1e} from torch's, more than {bounds.difference:g}")
        if bounds.agreement == 1 and not _same_top(got, wanted, bounds.tied).all():
            raise CumelError(f"{name}: another class than torch's comes out on top")
        worst = max(worst, difference)
    parts = [filled[i : i + BATCHES[-1]] for i in range(0, len(filled), BATCHES[-1])]
    scores = np.concatenate([_run(session, part, metadata) for part in parts])
    same = float(_same_top(scores, expected, bounds.tied)[: len(clips)].mean())
    if same < bounds.agreement:
        raise CumelError(
            f"{100 * same:.1f} % of {len(clips)} clips have torch's class on top, {100 * bounds.agreement:g} % is least"
        )
    return report | {
        "max_difference": worst,
        "tolerance": bounds.difference,
        "clips": len(clips),
        "same_top": same,
        "least_same_top": bounds.agreement,
    }


def _same_top(got: NDArray[np.float32], expected: NDArray[np.float32], tied: float) -> NDArray[np.bool_]:
    """Return which clips have torch's best class, or one whose probability in torch is as high."""
    chosen = np.take_along_axis(expected, got.argmax(axis=1)[:, None], axis=1)[:, 0]
    return chosen >= expected.max(axis=1) - tied


def _repeated(clips: NDArray[np.float32], metadata: Metadata) -> list[Clip]:
    """Return clips as the file takes them, as many as the largest batch has, or all."""
    filled = clips[np.arange(max(BATCHES[-1], len(clips))) % len(clips)]
    n = metadata.interface.samples
    return list(filled) if n is None else [np.resize(y, n) for y in filled]


def _run(session: Any, y: Sequence[Clip], metadata: Metadata) -> NDArray[np.float32]:
    return session.run([PROBABILITIES], given(y, metadata))[0]


def _answers(net: nn.Module, y: Sequence[Clip], metadata: Metadata) -> NDArray[np.float32]:
    """Return torch's probabilities, computed eight clips at a time."""
    with torch.inference_mode():
        return np.concatenate(
            [net(torch.from_numpy(features_of(y[i : i + 8], metadata))).numpy() for i in range(0, len(y), 8)]
        )


def _check_graph(path: Path, metadata: Metadata) -> ir.Model:
    """Check the file's graph and return it."""
    import onnx

    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise CumelError(f"invalid ONNX ({str(error).splitlines()[0]})") from None
    model = ir.load(path)
    opsets = dict(model.graph.opset_imports)
    if opsets != {"": metadata.interface.opset}:
        raise CumelError(
            f"its operator sets are {opsets}, not the standard one at version {metadata.interface.opset} alone"
        )
    stated = _axes(metadata)
    actual = {value.name: _axes_of(value) for value in (*model.graph.inputs, *model.graph.outputs)}
    if list(actual) != list(stated):
        raise CumelError(f"its inputs and outputs are {', '.join(map(str, actual))}, not {', '.join(stated)}")
    for name, axes in stated.items():
        if actual[name] != axes:
            raise CumelError(f"{name} has the axes {actual[name]}, not {axes}")
    if metadata.precision != "int8":  # int8 is for the CPU and the web.
        ShapeInferencePass()(model)
        missing = without_cuda_kernel(model.graph)
        if missing:
            raise CumelError(f"{', '.join(missing)}: not listed as having a CUDA kernel in ONNX Runtime")
    return model


def _axes(metadata: Metadata) -> dict[str, list[str | int]]:
    """Return the axes that a file's inputs and outputs are to have, in their order."""
    samples = metadata.interface.samples or "samples"
    inputs: dict[str, list[str | int]] = {metadata.input: ["batch", *metadata.input_shape]}
    if metadata.input == WAVEFORM:
        inputs = {WAVEFORM: ["batch", samples]}
    if metadata.interface.lengths:
        inputs[LENGTHS] = ["batch"]
    return inputs | {PROBABILITIES: ["batch", len(metadata.labels)]}


def _axes_of(value: ir.Value) -> list[str | int | None]:
    return [axis if isinstance(axis, int) else axis.value for axis in value.shape or ()]
