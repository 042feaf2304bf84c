"""Quantisation to eight bits: weights per channel, activations by ranges measured on real clips (static QDQ).

int8 is for the CPU and the web: ONNX Runtime's CUDA provider has no integer convolution, and would copy to the CPU and
back.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxscript import ir

from ...esc50.audio import load_all
from ...esc50.system import CORES
from ...kernels import CumelError, InputError
from .interface import IMAGE
from .metadata import Metadata

BATCH = 16  # clips per call while ranges are measured
LEAST_RECORDINGS = 16
MOST_RECORDINGS = 400  # evenly picked from more; ranges hardly grow beyond
HELD_OUT = 4  # every fourth recording judges the result, and is not measured


def calibration_clips(paths: Sequence[Path], metadata: Metadata) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read recordings at the rate that the model takes, each fitted to the length of its clips.

    Returns
    -------
    measured, held_out : ndarray [n_clips, n_samples], float32

    Raises
    ------
    CumelError
        For fewer than LEAST_RECORDINGS recordings, and for one that cannot be read.
    """
    if len(paths) < LEAST_RECORDINGS:
        raise CumelError(
            f"calibration: {len(paths)} recordings; give {LEAST_RECORDINGS} or more such as the model will classify"
        )
    picked = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, min(len(paths), MOST_RECORDINGS)).astype(int))]
    clips = np.empty((len(picked), metadata.own_samples), np.float32)
    for i, loaded in enumerate(load_all(picked, metadata.sr, CORES)):
        if isinstance(loaded, InputError):
            raise CumelError(f"calibration: {loaded}")
        clips[i] = metadata.fitted(loaded[0], metadata.own_samples)
    judges = np.arange(len(clips)) % HELD_OUT == HELD_OUT - 1
    return clips[~judges], clips[judges]


def quantized(model: ir.Model, features: NDArray[np.float32]) -> ir.Model:
    """Quantise a network that takes ``image``; the rest of a graph stays float32.

    Parameters
    ----------
    model : Model
        From ``image`` [batch, 1, n_mels, n_frames] to ``probabilities``.
    features : ndarray [n_clips, 1, n_mels, n_frames], float32
        Features of the recordings on which ranges are measured.
    """
    import onnx
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        """The features in batches."""

        def __init__(self) -> None:
            self.batches = iter(np.array_split(features, -(-len(features) // BATCH)))

        def get_next(self) -> dict[str, Any] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
            """Return the next batch, and None after the last."""
            batch = next(self.batches, None)
            return None if batch is None else {IMAGE: batch}

    last = [node.name for node in model.graph if node.op_type == "Gemm"][
        -1
    ]  # The scores of the last layer stay float32.
    with tempfile.TemporaryDirectory() as place, _quiet():
        before, after = Path(place) / "float.onnx", Path(place) / "int8.onnx"
        ir.save(model, before)
        quantization.quantize_static(
            before,
            after,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Relu", "MaxPool", "Gemm"],
            nodes_to_exclude=[last],
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )
        int8 = ir.from_proto(onnx.load(after))  # into memory, before the folder is deleted
    int8.graph.opset_imports.clear()
    int8.graph.opset_imports.update(model.graph.opset_imports)
    return int8


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantiser's advice to pre-process; torch's exporter has done so."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
