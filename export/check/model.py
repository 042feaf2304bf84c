"""The check of an exported file: a valid graph, librosa's features, and torch's answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxscript import ir
from onnxscript.ir.passes.common import ShapeInferencePass

from ...kernels import CumelError
from ..graph import (
    EMBEDDING,
    FEATURES_NAME,
    LOGITS,
    PREFIX,
    PROBABILITIES,
    WAVEFORM,
    Metadata,
    inputs_of,
    outputs_of,
)
from ..runtime import Session
from .answers import Answers
from .feeds import Clip, features_of, given
from .frontend import check_frontend, lengths
from .operators import demand_cuda_kernels, valid_graph, without_cuda_kernel

BATCHES = (1, 2, 7, 64)


@dataclass(frozen=True)
class Bounds:
    """Largest allowed differences from torch in float32, for one precision."""

    difference: float  # largest difference of a probability
    tied: float  # difference of probabilities below which the network's two best classes count as equal
    agreement: float  # least share of clips with its best class


# The comments give the worst differences of trained and untrained networks.
BOUNDS = {
    "fp32": Bounds(1e-3, 1e-5, 1.0),  # 1.3e-6; the baseline with logits scaled to +-30: 3.6e-5
    "fp16": Bounds(3e-2, 1e-2, 1.0),  # 3.1e-3
    "int8": Bounds(0.5, 1e-5, 0.9),  # 0.29 (untrained); on 100 held-out recordings 100 % agree
}

# An image that the graph makes may have pixels one of 256 levels beside torch's, where a value lies on a boundary.
PIXELS = 5e-3  # difference of a probability; 1.3e-3 with logits scaled to +-30


def check(path: Path, metadata: Metadata, answers: Answers, clips: NDArray[np.float32]) -> dict[str, Any]:
    """Compare an ONNX file with the network that it was exported from, on ONNX Runtime's CPU provider.

    Parameters
    ----------
    path : Path
    metadata : Metadata
        What the file says of itself.
    answers : callable
        The network's own outputs, from features, by name.
    clips : ndarray [n_clips, n_samples], float32
        Typical clips; they are repeated to fill the largest batch.

    Returns
    -------
    dict
        Opset, number of nodes, batch sizes, lengths in samples, the largest difference of a probability, the share of
        clips with the same class on top, their bounds, the largest errors of the front end in dB, and the operators of
        a network that has no recipe for which no CUDA kernel is known.

    Raises
    ------
    CumelError
        For an invalid graph, a fixed axis, a node without a CUDA kernel, wrong features, or answers that are not the
        network's.
    """
    bounds = BOUNDS[metadata.precision]
    if metadata.kind == "image" and metadata.input == WAVEFORM:
        bounds = replace(bounds, difference=max(bounds.difference, PIXELS), tied=max(bounds.tied, PIXELS))
    model = _check_graph(path, metadata)
    report: dict[str, Any] = {"opset": metadata.interface.opset, "nodes": len(model.graph), "batches": list(BATCHES)}
    report["without_cuda_kernel"] = _without_cuda_kernel(model, metadata)
    if metadata.input == WAVEFORM:
        report |= check_frontend(model, metadata)
    del model
    session = Session(path, "cpu")
    filled = _repeated(clips, metadata)
    expected = answers(features_of(filled, metadata))
    cases: list[tuple[str, Sequence[Clip], Mapping[str, NDArray[np.float32]]]]
    cases = [(f"batch of {n}", filled[:n], {name: wanted[:n] for name, wanted in expected.items()}) for n in BATCHES]
    if metadata.input == WAVEFORM:
        report["lengths"] = lengths(metadata)
        for n in report["lengths"]:
            y = [np.resize(clip, n) for clip in clips[: 1 if n > metadata.own_samples else 2]]
            cases.append((f"{n} samples", y, answers(features_of(y, metadata))))
    if metadata.interface.lengths:
        y = [np.resize(clip, n) for clip, n in zip(filled, report["lengths"][:-1], strict=False)]
        cases.append(("clips of all lengths in one batch", y, answers(features_of(y, metadata))))
    report |= {"max_difference": 0.0, "tolerance": bounds.difference}
    for name, y, wanted in cases:
        got = session.run_all(given(y, metadata))
        got.pop(FEATURES_NAME, None)  # `check_frontend` has compared these.
        worst = _compared(name, got, wanted, bounds)
        report["max_difference"] = max(report["max_difference"], worst)
    scores = next((name for name in (PROBABILITIES, LOGITS) if name in metadata.interface.outputs), None)
    if scores is None:
        return report
    parts = [filled[i : i + BATCHES[-1]] for i in range(0, len(filled), BATCHES[-1])]
    got = np.concatenate([session.run_all(given(part, metadata))[scores] for part in parts])
    same = float(_same_top(got, expected[scores], bounds.tied)[: len(clips)].mean())
    if same < bounds.agreement:
        told = f"{100 * same:.1f} % of {len(clips)} clips have the network's class on top"
        raise CumelError(f"{told}, {100 * bounds.agreement:g} % is least")
    return report | {"clips": len(clips), "same_top": same, "least_same_top": bounds.agreement}


def _compared(
    name: str, got: Mapping[str, NDArray[np.float32]], wanted: Mapping[str, NDArray[np.float32]], bounds: Bounds
) -> float:
    """Compare each output with the network's own; return the largest difference, of large values a share of them."""
    worst = 0.0
    for output, values in got.items():
        if not np.isfinite(wanted[output]).all():
            raise CumelError(f"{name}: the network's own {output} are not all numbers")
        largest = max(1.0, float(np.abs(wanted[output]).max()))
        difference = float(np.abs(values - wanted[output]).max()) / largest
        if not difference <= bounds.difference:  # NaN is no pass
            one = "a probability is" if output == PROBABILITIES else f"of {output}, one is"
            raise CumelError(f"{name}: {one} {difference:.1e} from the network's, more than {bounds.difference:g}")
        worst = max(worst, difference)
        ranked = output == PROBABILITIES and bounds.agreement == 1
        if ranked and not _same_top(values, wanted[output], bounds.tied).all():
            raise CumelError(f"{name}: another class than the network's comes out on top")
    return worst


def _same_top(got: NDArray[np.float32], expected: NDArray[np.float32], tied: float) -> NDArray[np.bool_]:
    """Return which clips have the network's best class, or one whose value in it is as high."""
    chosen = np.take_along_axis(expected, got.argmax(axis=1)[:, None], axis=1)[:, 0]
    return chosen >= expected.max(axis=1) - tied


def _repeated(clips: NDArray[np.float32], metadata: Metadata) -> list[Clip]:
    """Return clips as the file takes them, as many as the largest batch has, or all."""
    filled = clips[np.arange(max(BATCHES[-1], len(clips))) % len(clips)]
    n = metadata.interface.samples
    return list(filled) if n is None else [np.resize(y, n) for y in filled]


def _check_graph(path: Path, metadata: Metadata) -> ir.Model:
    """Check the file's graph and return it."""
    model = valid_graph(path)
    opsets = dict(model.graph.opset_imports)
    if opsets != {"": metadata.interface.opset}:
        raise CumelError(
            f"its operator sets are {opsets}, not the standard one at version {metadata.interface.opset} alone"
        )
    ends = (*inputs_of(metadata), *outputs_of(metadata))
    actual = {value.name: _axes_of(value) for value in (*model.graph.inputs, *model.graph.outputs)}
    if list(actual) != [end.name for end in ends]:
        stated = ", ".join(end.name for end in ends)
        raise CumelError(f"its inputs and outputs are {', '.join(map(str, actual))}, not {stated}")
    for end in ends:
        axes = actual[end.name]
        own_size = end.name == EMBEDDING and len(axes) == len(end.shape) and axes[0] == end.shape[0]
        if axes != list(end.shape) and not own_size:
            raise CumelError(f"{end.name} has the axes {axes}, not {list(end.shape)}")
    return model


def _without_cuda_kernel(model: ir.Model, metadata: Metadata) -> list[str]:
    """Name the nodes of another's network that ONNX Runtime may run on the CPU; our own models may have none."""
    if metadata.precision == "int8":  # int8 is for the CPU and the web.
        return []
    ShapeInferencePass()(model)
    ours = [node for node in model.graph if metadata.recipe is not None or str(node.name).startswith(PREFIX)]
    demand_cuda_kernels(ours)
    return without_cuda_kernel(model.graph)


def _axes_of(value: ir.Value) -> list[str | int | None]:
    return [axis if isinstance(axis, int) else axis.value for axis in value.shape or ()]
