"""NVIDIA NeMo's ``model_config.yaml`` -> `FeatureConfig`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..kernels import PRESETS, CumelError, FeatureConfig, Normalize, need
from .numbers import Numbers

TARGETS = ("AudioToMelSpectrogramPreprocessor", "AudioToMelSpectrogramFeatures")
EPSILON = 1e-5  # added to deviations
WINDOWS = {"hann": "hann", "hamming": "hamming", "blackman": "blackman", "none": "boxcar"}


def config_of(text: str) -> FeatureConfig:
    """Read the section ``preprocessor`` of a model's configuration, or that section alone.

    Dither and ``pad_to`` belong to training and to batches: NeMo adds no noise when a model is used.

    Raises
    ------
    CumelError
        For text that is no YAML, without such a section, or of another kind of features.
    MissingExtraError
        Without PyYAML.
    """
    yaml = need("yaml", __name__)
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CumelError(f"not YAML ({' '.join(str(error).split())[:120]})") from None
    if not isinstance(values, dict):
        raise CumelError("expected named values")
    model = values.get("model", values)
    section = model.get("preprocessor", model) if isinstance(model, dict) else model
    if not isinstance(section, dict) or not ("features" in section or "_target_" in section):
        raise CumelError("has no section `preprocessor`, which describes the features")
    target = str(section.get("_target_", TARGETS[0])).rpartition(".")[2]
    if target not in TARGETS:
        raise CumelError(f"preprocessor: {target}: must be {TARGETS[0]}")
    return _of(Numbers(section), section)


def _of(n: Numbers, section: Mapping[str, Any]) -> FeatureConfig:
    sr = n.whole("sample_rate", 16000)
    length = n.whole("n_window_size", int(n.real("window_size", 0.02) * sr))
    hop = n.whole("n_window_stride", int(n.real("window_stride", 0.01) * sr))
    if length < 1 or hop < 1:
        raise CumelError(f"window_size and window_stride: {length} and {hop} samples are too few")
    n_fft = n.whole("n_fft", 0) if section.get("n_fft") else 1 << (length - 1).bit_length()
    power, guard = n.real("mag_power", 2.0), n.word("log_zero_guard_type", "add", ("add", "clamp"))
    if not n.flag("log", True) or power != 2.0:
        raise CumelError("log=false and mag_power other than 2 are not described")
    if n.flag("exact_pad", False):
        raise CumelError("exact_pad=true: its padding depends on the length of the clip; it is not described")
    if (n.values.get("frame_splicing") or 1) != 1:
        raise CumelError("frame_splicing: frames are stacked after a front end; give 1, and stack them")
    epsilon = _guard(section.get("log_zero_guard_value", 2.0**-24))
    per = n.word("normalize", "per_feature", ("per_feature", "all_features", "NA", "none"))
    band, clip = Normalize(ddof=1, eps=EPSILON), Normalize(per="clip", ddof=1, eps=EPSILON)
    highest = n.values.get("highfreq")
    return PRESETS["parakeet"].replace(
        sr=sr,
        preemphasis=0.0 if section.get("preemph", 0.97) is None else n.real("preemph", 0.97),
        n_fft=n_fft,
        win_length=length,
        hop_length=hop,
        window=WINDOWS[n.word("window", "hann", tuple(WINDOWS))],
        padding=(n_fft // 2, n_fft // 2 - hop),
        n_mels=n.whole("features", n.whole("nfilt", 64)),
        fmin=n.real("lowfreq", 0.0),
        fmax=None if highest in (None, sr / 2) else n.real("highfreq", 0.0),
        norm=n.word("mel_norm", "slaney", ("slaney",)),
        offset=epsilon if guard == "add" else 0.0,
        amin=0.0 if guard == "add" else epsilon,
        normalize={"per_feature": band, "all_features": clip}.get(per),
        time_major=False,
    )


def _guard(value: Any) -> float:
    """Return NeMo's guard against the logarithm of 0: a number, or `tiny` or `eps` of float32."""
    named = {"tiny": 2.0**-126, "eps": 2.0**-23}
    return (
        named[value] if value in named else Numbers({"log_zero_guard_value": value}).real("log_zero_guard_value", 0.0)
    )
