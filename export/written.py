"""A network and its front end as one checked ONNX file, with its labels, card and place in a Triton repository."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnxscript import ir

from ..esc50.datasets import Description
from ..esc50.system import replacing
from ..kernels import CumelError
from .card import LABELS_SUFFIX, card
from .check import BATCHES, Answers, check
from .graph import (
    IR_VERSION,
    WAVEFORM,
    End,
    Metadata,
    choose_outputs,
    describe,
    inputs_of,
    outputs_of,
    prepend,
    to_json,
)
from .runtime import onnxruntime
from .triton import for_batches, place_of, write_repository

CARD_SUFFIX = ".md"  # extension of the model card, which has the model's name


class Place(NamedTuple):
    """Where a model goes."""

    out: Path
    served: Path | None  # in a Triton repository

    @classmethod
    def of(cls, out: Path | str | None, triton: Path | str | None, name: str) -> Place:
        """Choose the file: `out`, or that of a model called `name` in a Triton repository."""
        served = None if triton is None else place_of(Path(triton), name)
        out = served if out is None else Path(out)
        if out is None:
            raise CumelError("out: name the .onnx file to write, or a Triton repository")
        if out.suffix.lower() != ".onnx" or out.is_dir():
            raise CumelError(f"{out}: give the name of a file that ends in .onnx")
        return cls(out, served)


def write_model(
    network: ir.Model,
    metadata: Metadata,
    answers: Answers,
    place: Place,
    clips: NDArray[np.float32] | None = None,
    learned_from: Description | None = None,
) -> dict[str, Any]:
    """Put the front end before a network's graph, and write the file once it has passed `check`.

    Parameters
    ----------
    network : Model
        From ``image`` [batch, *metadata.input_shape] to ``probabilities``.
    metadata : Metadata
    answers : callable
        What the file must agree with: from features to the network's outputs, by name.
    place : Place
    clips : ndarray [n_clips, n_samples], float32, optional
        Clips such as the network will hear; without them, seeded tones in noise.
    learned_from : Description, optional
        What is known of the network's data, for the card.

    Returns
    -------
    dict
        The files, the inputs and outputs, and the report of `check`.
    """
    out = place.out
    if place.served is not None:
        metadata = replace(metadata, interface=for_batches(metadata.interface))
    labels, described = out.with_suffix(LABELS_SUFFIX), json.dumps(to_json(metadata), indent=1, ensure_ascii=False)
    clips = tones(metadata, max(BATCHES)) if clips is None else clips
    with replacing(out) as model_part:
        ir.save(_assembled(network, metadata), model_part)
        try:
            checked = check(model_part, metadata, answers, clips)
        except CumelError as error:
            raise CumelError(f"{out}: not written, as the exported model fails its check: {error}") from None
        with replacing(labels) as labels_part, replacing(out.with_suffix(CARD_SUFFIX)) as card_part:
            labels_part.write_text(described + "\n", encoding="utf-8")
            card_part.write_text(card(metadata, out, checked, learned_from), encoding="utf-8")
    served = None if place.served is None else write_repository(out, metadata, place.served, _sizes(network))
    return {
        "model": str(out),
        "labels": str(labels),
        "card": str(out.with_suffix(CARD_SUFFIX)),
        **({} if served is None else {"triton": str(served)}),
        "bytes": out.stat().st_size,
        "name": metadata.name,
        "precision": metadata.precision,
        "input": _listed(inputs_of(metadata)),
        "output": _listed(outputs_of(metadata)),
        **checked,
    }


def versions() -> dict[str, str]:
    """Return the versions of the packages that write and check a file."""
    made = {name: version(name) for name in ("cumel", "torch", "onnx")}
    return made | {"onnxruntime": onnxruntime().__version__}


def _assembled(network: ir.Model, metadata: Metadata) -> ir.Model:
    """Put the front end before a network, in place, and its metadata into the file."""
    if metadata.input == WAVEFORM:
        prepend(
            network.graph,
            metadata.features,
            metadata.n_samples,
            metadata.kind,
            metadata.interface,
            metadata.channel,
        )
    choose_outputs(network.graph, metadata.interface.outputs, metadata.activation)
    network.ir_version = IR_VERSION
    network.producer_name, network.producer_version = "cumel", version("cumel")
    network.metadata_props.update(metadata.to_props())
    describe(network, metadata)
    return network


def _sizes(model: ir.Model) -> dict[str, list[int]]:
    """Return the axes of each output without the batch; -1 for one of any length."""
    return {
        value.name or "": [axis if isinstance(axis, int) else -1 for axis in (value.shape or [None, None])[1:]]
        for value in model.graph.outputs
    }


def _listed(ends: Sequence[End]) -> str:
    return ", ".join(f"{end.name} [{', '.join(map(str, end.shape))}] {end.dtype}" for end in ends)


def tones(metadata: Metadata, n: int) -> NDArray[np.float32]:
    """Make `n` seeded clips: decaying tones in noise, from faint to loud."""
    sr, rng = metadata.features.sr, np.random.default_rng(0)

    def draw(low: float, high: float) -> NDArray[np.float64]:
        return rng.uniform(low, high, (n, 1))

    seconds = np.arange(metadata.own_samples) / metadata.sr
    y = np.sin(2 * np.pi * draw(100, 0.4 * min(sr, metadata.sr)) * seconds) * np.exp(-draw(0.5, 10) * seconds)
    y = 10 ** draw(-3, 0) * (y + 10 ** draw(-3, -1) * rng.standard_normal(y.shape))
    return y.astype(np.float32)
