"""What is in a model file."""

from typing import TYPE_CHECKING

from ...kernels.lazy import lazily

if TYPE_CHECKING:
    from .calibration import calibration_clips
    from .frontend import IR_VERSION, LOG_MEL, OPSET, WAVEFORM, prepend
    from .metadata import FEATURES_NAME, INPUTS, PRECISIONS, Metadata
    from .network import PROBABILITIES, Classifier, halved, to_onnx
    from .quantize import quantized

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
