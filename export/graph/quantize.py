"""A network in eight bits: weights per channel, activations by ranges measured on real clips (static QDQ).

For the CPU and the web: ONNX Runtime's CUDA provider has no integer convolution, and would copy to the CPU and back.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxscript import ir

from .frontend import OPSET
from .network import IMAGE

BATCH = 16  # clips at once while ranges are measured


def quantized(model: ir.Model, features: NDArray[np.float32]) -> ir.Model:
    """Quantise a network that takes ``image``; what comes before and after it stays float32.

    Parameters
    ----------
    model : Model
        ``image`` [batch, 1, n_mels, n_frames] to ``probabilities``.
    features : ndarray [n_clips, 1, n_mels, n_frames], float32
        Of the recordings that ranges are measured on.
    """
    import onnx
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        """Hands out the features in batches."""

        def __init__(self) -> None:
            self.batches = iter(np.array_split(features, -(-len(features) // BATCH)))

        def get_next(self) -> dict[str, Any] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
            """Return the next batch, and None after the last."""
            batch = next(self.batches, None)
            return None if batch is None else {IMAGE: batch}

    last = [node.name for node in model.graph if node.op_type == "Gemm"][-1]  # whose outputs are compared
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
        made = ir.from_proto(onnx.load(after))  # into memory: the file goes
    made.graph.opset_imports.clear()
    made.graph.opset_imports[""] = OPSET
    return made


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantiser's advice to pre-process, which torch's exporter has done."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
