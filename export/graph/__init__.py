"""The contents of a model file: front end, network, metadata."""

from typing import TYPE_CHECKING

from ...kernels.lazy import lazily

if TYPE_CHECKING:
    from .frontend import IR_VERSION, LOG_MEL, WAVEFORM, prepend
    from .metadata import FEATURES_NAME, INPUTS, PRECISIONS, Metadata
    from .network import PROBABILITIES, Classifier, halved, to_onnx
    from .quantize import calibration_clips, quantized
    from .ragged import FEATURES_LENS, OPSETS, WAVEFORMS, WAVEFORMS_LENS, front_end
    from .tape import OPSET

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
