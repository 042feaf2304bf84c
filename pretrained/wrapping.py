"""Extractors of Hugging Face transformers whose features are computed here: the same call, and equal numbers."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, TypeVar

from ..kernels import CumelError
from . import computing, nemo_calls
from .extractors import CLASSES, RAW, config_of

Extractor = TypeVar("Extractor")
HOW: dict[str, type[computing.Wrapped]] = {
    "WhisperFeatureExtractor": computing.Whisper,
    "Qwen3ASRFeatureExtractor": computing.WhisperOnHost,
    "Dots3NoteFeatureExtractor": computing.WhisperOnHost,
    "MossTranscribeDiarizeFeatureExtractor": computing.Whisper,
    "VoxtralRealtimeFeatureExtractor": computing.VoxtralRealtime,
    "ASTFeatureExtractor": computing.Ast,
    "Speech2TextFeatureExtractor": computing.Kaldi,
    "SeamlessM4TFeatureExtractor": computing.Seamless,
    "FunAsrNanoFeatureExtractor": computing.FunAsr,
    "ParakeetFeatureExtractor": nemo_calls.Parakeet,
    "CohereAsrFeatureExtractor": nemo_calls.Nemo,
    "NemotronAsrStreamingFeatureExtractor": nemo_calls.Nemo,
    "GraniteSpeechFeatureExtractor": computing.Granite,
    "GraniteSpeech5FeatureExtractor": computing.Granite5,
    "Phi4MultimodalFeatureExtractor": computing.Phi4,
    "Gemma3nAudioFeatureExtractor": computing.Gemma3n,
    "Gemma4AudioFeatureExtractor": computing.Gemma4,
    "LasrFeatureExtractor": computing.Batch,
    "ClapFeatureExtractor": computing.Clap,
    "InklingFeatureExtractor": computing.Batch,
    "SpeechT5FeatureExtractor": computing.SpeechT5,
    "UnivNetFeatureExtractor": computing.UnivNet,
    "ClvpFeatureExtractor": computing.Clvp,
    "Pop2PianoFeatureExtractor": computing.Pop2Piano,
}


def wrap(extractor: Extractor) -> Extractor:
    """Return a copy of a Hugging Face feature extractor that computes its features here.

    Its call is the original's own: arguments, checks, padding, truncation, masks, keys and dtypes. It is an instance of
    the original's class, can be saved and pickled, and is read back from a file as a wrapped one. The copy has the
    numbers that the extractor had when it was wrapped: what is set on it afterwards does not change its filters.

    Parameters
    ----------
    extractor : SequenceFeatureExtractor
        Of one of the classes in `cumel.pretrained.extractors.CLASSES`.

    Returns
    -------
    SequenceFeatureExtractor
        On the CPU the result is what the original gives. With ``device="cuda"``, of the classes that have this
        argument, features are tensors that stay there; Qwen3-ASR and dots3 copy them as their originals do.

    Raises
    ------
    CumelError
        For anything that is no extractor, a class that is not known or whose models take samples, and for dither.

    Examples
    --------
    >>> from transformers import WhisperFeatureExtractor
    >>> extractor = wrap(WhisperFeatureExtractor())
    >>> extractor([0.0] * 16000, sampling_rate=16000)["input_features"].shape
    (1, 80, 3000)
    """
    original = type(extractor)._original if isinstance(extractor, computing.Wrapped) else type(extractor)
    values = _values(extractor, original)
    return _of(original, dict(vars(extractor)), values)


def _values(extractor: Any, original: type) -> dict[str, Any]:
    """Return an extractor's numbers as its file would have them."""
    name = original.__name__
    written = getattr(extractor, "to_json_string", None)
    if isinstance(extractor, type) or written is None or not callable(extractor):
        raise CumelError(f"extractor: expected a feature extractor of transformers, got {name}")
    if name not in CLASSES and name not in RAW:
        inner = ": wrap its feature_extractor" if hasattr(extractor, "feature_extractor") else ""
        raise CumelError(f"extractor: {name} is not known{inner or '; there are ' + ', '.join(CLASSES)}")
    return json.loads(written()) | {"feature_extractor_type": name}


def _of(original: type, state: dict[str, Any], values: dict[str, Any]) -> Any:
    """Make an instance, of a class of its own that has the config: to_dict() copies what an instance has."""
    given = computing.Configs(config_of(values), values)
    how = HOW[original.__name__]
    members = {
        "__module__": original.__module__,
        "__qualname__": original.__qualname__,
        "__doc__": original.__doc__,
        "__reduce__": lambda self: (_of, (original, dict(vars(self)), values)),
        "from_dict": staticmethod(partial(_from_dict, original)),
        "_original": original,
        "_configs": how.configs(given),
    }
    made = object.__new__(type(original.__name__, (how, original), members))
    vars(made).update(state)
    return made


def _from_dict(original: Any, *args: Any, **kwargs: Any) -> Any:
    made = original.from_dict(*args, **kwargs)
    return (wrap(made[0]), *made[1:]) if isinstance(made, tuple) else wrap(made)
