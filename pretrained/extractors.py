"""Feature extractors of Hugging Face transformers (5.24): their classes and numbers -> `FeatureConfig`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..kernels import CumelError, FeatureConfig
from ..kernels.filterbank import mel_matrix
from . import recognition, synthesis
from .numbers import Numbers

FILTER_ATOL = 1e-4  # share of the largest weight: files hold filters in float32, of any of three implementations
CLASSES: dict[str, Callable[[Numbers], FeatureConfig]] = {
    "WhisperFeatureExtractor": recognition.whisper,
    "Qwen3ASRFeatureExtractor": recognition.whisper128,
    "Dots3NoteFeatureExtractor": recognition.dots3,
    "MossTranscribeDiarizeFeatureExtractor": recognition.whisper,
    "VoxtralRealtimeFeatureExtractor": recognition.voxtral_realtime,
    "ASTFeatureExtractor": recognition.ast,
    "Speech2TextFeatureExtractor": recognition.speech2text,
    "SeamlessM4TFeatureExtractor": recognition.seamless,
    "FunAsrNanoFeatureExtractor": recognition.fun_asr,
    "ParakeetFeatureExtractor": recognition.parakeet,
    "CohereAsrFeatureExtractor": recognition.cohere,
    "NemotronAsrStreamingFeatureExtractor": recognition.nemotron,
    "GraniteSpeechFeatureExtractor": recognition.granite,
    "GraniteSpeech5FeatureExtractor": recognition.granite5,
    "Phi4MultimodalFeatureExtractor": recognition.phi4,
    "Gemma3nAudioFeatureExtractor": recognition.gemma3n,
    "Gemma4AudioFeatureExtractor": recognition.gemma4,
    "LasrFeatureExtractor": recognition.lasr,
    "ClapFeatureExtractor": recognition.clap,
    "InklingFeatureExtractor": recognition.inkling,
    "SpeechT5FeatureExtractor": synthesis.speecht5,
    "UnivNetFeatureExtractor": synthesis.univnet,
    "ClvpFeatureExtractor": synthesis.clvp,
    "Pop2PianoFeatureExtractor": synthesis.pop2piano,
}
RAW = (  # classes whose models take samples, and no filters
    *("Wav2Vec2FeatureExtractor", "EncodecFeatureExtractor", "DacFeatureExtractor", "DiaFeatureExtractor"),
    *("KyutaiSpeechToTextFeatureExtractor", "PeAudioFeatureExtractor", "MuseSparkFeatureExtractor"),
    *("OmniASRFeatureExtractor", "VibeVoiceAcousticTokenizerFeatureExtractor", "Gemma4UnifiedAudioFeatureExtractor"),
)


def config_of(values: Mapping[str, Any]) -> FeatureConfig:
    """Read the values of a ``preprocessor_config.json``.

    Raises
    ------
    CumelError
        For a class that is not known, and for numbers that contradict each other.
    """
    values = of_extractor(values)
    name = values.get("feature_extractor_type")
    if not isinstance(name, str):
        raise CumelError("names no feature_extractor_type, the class that the numbers are of")
    if name in RAW:
        raise CumelError(f"feature_extractor_type={name}: its models take samples, and no mel features")
    if name not in CLASSES:
        raise CumelError(f"feature_extractor_type={name}: this class is not known; there are {', '.join(CLASSES)}")
    cfg = CLASSES[name](Numbers(values))
    _check_filters(values.get("mel_filters"), cfg)
    return cfg


def of_extractor(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values of the extractor: those of a ``processor_config.json`` stand among others'."""
    inner = values.get("feature_extractor")
    return inner if isinstance(inner, dict) else values


def _check_filters(given: Any, cfg: FeatureConfig) -> None:
    """Compare filters that an older file holds in full with those of a config."""
    if given is None:
        return
    try:
        filters = np.array(given, np.float64)
    except (TypeError, ValueError):
        raise CumelError("mel_filters: must be numbers, in rows of one length") from None
    ours = mel_matrix(cfg)
    filters = filters.T if filters.ndim == 2 and filters.shape == ours.shape[::-1] else filters
    if filters.shape != ours.shape or np.abs(filters - ours).max() > FILTER_ATOL * ours.max():
        raise CumelError("mel_filters: contradict the other numbers, which make other filters")
