"""The contents of a model file: front end, network, metadata."""

from typing import TYPE_CHECKING

from ...kernels.lazy import lazily

if TYPE_CHECKING:
    from .file import read_network
    from .frontend import LOG_MEL, prepend
    from .interface import (
        CLIP_NAME,
        EMBEDDING,
        FEATURES_NAME,
        IMAGE,
        LENGTHS,
        LOGITS,
        MOST_BYTES,
        MOST_SECONDS,
        OPSET,
        OPSETS,
        PROBABILITIES,
        WAVEFORM,
        Interface,
    )
    from .metadata import PRECISIONS, Metadata
    from .network import Classifier, activated, halved, to_onnx
    from .outputs import choose_outputs
    from .quantize import calibration_clips, quantized
    from .ragged import FEATURES_LENS, WAVEFORMS, WAVEFORMS_LENS, front_end
    from .resampling import resample
    from .tape import IR_VERSION, PREFIX
    from .texts import End, describe, inputs_of, outputs_of, summary, to_json

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
