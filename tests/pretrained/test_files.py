"""Configuration files of pretrained models: what they say, and what is wrong with them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cumel import PRESETS, CumelError, Normalize
from cumel.kernels.filterbank import mel_matrix
from cumel.pretrained import config

DEFAULTS = {  # what a file with the class alone says
    "WhisperFeatureExtractor": "whisper",
    "Qwen3ASRFeatureExtractor": "whisper128",
    "VoxtralRealtimeFeatureExtractor": "voxtral_realtime",
    "ASTFeatureExtractor": "ast",
    "Speech2TextFeatureExtractor": "speech2text",
    "SeamlessM4TFeatureExtractor": "seamless",
    "FunAsrNanoFeatureExtractor": "wespeaker_raw",
    "ParakeetFeatureExtractor": "parakeet",
    "NemotronAsrStreamingFeatureExtractor": "nemotron_streaming",
    "GraniteSpeechFeatureExtractor": "granite",
    "GraniteSpeech5FeatureExtractor": "granite",
    "Phi4MultimodalFeatureExtractor": "phi4",
    "Gemma3nAudioFeatureExtractor": "gemma3n",
    "Gemma4AudioFeatureExtractor": "gemma4",
    "LasrFeatureExtractor": "lasr",
    "ClapFeatureExtractor": "clap_fused",
    "InklingFeatureExtractor": "inkling",
    "SpeechT5FeatureExtractor": "speecht5",
    "UnivNetFeatureExtractor": "univnet",
    "ClvpFeatureExtractor": "clvp",
    "Pop2PianoFeatureExtractor": "pop2piano",
}


def kind(name: str, **values: Any) -> dict[str, Any]:
    return {"feature_extractor_type": f"{name}FeatureExtractor"} | values


WHISPER = kind("Whisper")


def written(folder: Path, values: Any, name: str = "preprocessor_config.json") -> Path:
    text = values if isinstance(values, str) else json.dumps(values)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize(("kind", "preset"), DEFAULTS.items())
def test_a_class_has_its_presets_numbers(kind: str, preset: str, tmp_path: Path) -> None:
    written(tmp_path, {"feature_extractor_type": kind})
    assert config(tmp_path) == PRESETS[preset]


@pytest.mark.parametrize(
    ("values", "preset", "changes"),
    [
        ({"feature_size": 128, "chunk_length": 60, "n_samples": 960000}, "whisper", {"n_mels": 128}),
        (kind("AST", do_normalize=False), "ast", {"mean": 0.0, "std": 1.0}),
        (kind("AST", mean=-6.0, std=2.5), "ast", {"mean": -6.0, "std": 5.0}),
        (kind("Clap", truncation="rand_trunc", frequency_min=50), "clap",
         {"fmin": 50.0}),
        (kind("Speech2Text", normalize_vars=False), "speech2text",
         {"normalize": Normalize(variance=False)}),
        (kind("Speech2Text", do_ceptral_normalize=False), "speech2text",
         {"normalize": None}),
        (kind("Gemma3nAudio", per_bin_mean=[0.5] * 128, fft_overdrive=False),
         "gemma3n", {"mean": (0.5,) * 128, "n_fft": 512}),
        (kind("Gemma4Audio", preemphasis=0.9, preemphasis_htk_flavor=False),
         "gemma4", {"preemphasis": 0.9, "preemphasis_of": "clip", "padding": (159, 0)}),
        (kind("CohereAsr", dither=0.0), "parakeet128", {}),
        (kind("VoxtralRealtime", global_log_mel_max=None), "whisper128", {}),
        (kind("UnivNet", do_normalize=True, normalize_min=-3.0, normalize_max=1.0), "univnet",
         {"mean": -1.0, "std": 2.0}),
        (kind("GraniteSpeech", melspec_kwargs={"n_mels": 40}), "granite",
         {"n_mels": 40}),
        (kind("SpeechT5", win_length=50), "speecht5", {"win_length": 800, "align": "left", "padding": (400, 400)}),
        (kind("Inkling", audio_token_duration_s=0.032), "inkling",
         {"n_fft": 1024, "hop_length": 512, "padding": (512, 511)}),
    ],
)  # fmt: skip
def test_numbers_are_read(values: dict[str, Any], preset: str, changes: dict[str, Any], tmp_path: Path) -> None:
    assert config(written(tmp_path, WHISPER | values)) == PRESETS[preset].replace(**changes)


def test_a_processor_file_holds_the_extractors(tmp_path: Path) -> None:
    written(tmp_path, {"processor_class": "WhisperProcessor", "feature_extractor": WHISPER}, "processor_config.json")
    assert config(tmp_path) == PRESETS["whisper"]


def test_filters_that_a_file_holds_are_compared(tmp_path: Path) -> None:
    filters = mel_matrix(PRESETS["whisper"]).astype(np.float32)
    for given in (filters, filters.T):
        assert config(written(tmp_path, WHISPER | {"mel_filters": given.tolist()})) == PRESETS["whisper"]
    with pytest.raises(CumelError, match="mel_filters: contradict the other numbers"):
        config(written(tmp_path, WHISPER | {"mel_filters": (filters * 1.01).tolist()}))


NEMO = """
sample_rate: 16000
preprocessor:
  _target_: nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor
  sample_rate: 16000
  normalize: per_feature
  window_size: 0.025
  window_stride: 0.01
  window: hann
  features: 80
  n_fft: 512
  frame_splicing: 1
  dither: 1.0e-05
  pad_to: 0
"""


def test_nemos_yaml(tmp_path: Path) -> None:
    nemo = PRESETS["parakeet"].replace(time_major=False)
    assert config(written(tmp_path, NEMO, "model_config.yaml")) == nemo
    changed = NEMO.replace("per_feature", "NA").replace("features: 80", "features: 128\n  preemph: null")
    expected = nemo.replace(normalize=None, n_mels=128, preemphasis=0.0)
    assert config(written(tmp_path, f"model:{changed}".replace("\n", "\n  "), "model_config.yaml")) == expected


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "AudioToMelSpectrogramPreprocessor",
            "AudioToMFCCPreprocessor",
            "preprocessor: AudioToMFCCPreprocessor: must be",
        ),
        ("preprocessor:", "processor:", "has no section `preprocessor`"),
        ("window: hann", "window: kaiser", "window='kaiser': must be hann or "),
        ("n_fft: 512", "exact_pad: true", "exact_pad=true: "),
        ("frame_splicing: 1", "frame_splicing: 3", "frame_splicing: "),
        ("window_size: 0.025", "window_size: [", "not YAML"),
        ("window_size: 0.025", "window_size: wide", "window_size='wide': must be a number"),
    ],
)
def test_what_a_yaml_cannot_say(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, NEMO.replace(old, new), "model_config.yaml")
    with pytest.raises(CumelError) as caught:
        config(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_kaldis_options(tmp_path: Path) -> None:
    text = (
        "# frames\n--num-mel-bins=80 # bands\n--dither=0.0\n--snip-edges=false\n--high-freq=-400\n--use-energy=false\n"
    )
    assert config(written(tmp_path, text, "fbank.conf")) == PRESETS["kaldi_no_snip"].replace(scale=32768.0)
    written(tmp_path, "--sample-frequency=8000\n--energy-floor=1.0\n\n", "fbank.conf")
    narrow = PRESETS["kaldi"].replace(sr=8000, n_fft=256, win_length=200, hop_length=80, n_mels=23)
    assert config(tmp_path) == narrow.replace(scale=32768.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            kind("Other"),
            "feature_extractor_type=OtherFeatureExtractor: this class is",
        ),
        (
            kind("Wav2Vec2"),
            "feature_extractor_type=Wav2Vec2FeatureExtractor: its",
        ),
        ({"feature_extractor_type": None}, "names no feature_extractor_type"),
        ({"dither": 1e-4}, "dither=0.0001 adds noise, so that no two calls agree; set it to 0"),
        (
            kind("CohereAsr"),
            "dither=1e-05, the default of this class, adds noise",
        ),
        ({"n_samples": 320000}, "n_samples=320000: contradicts the other numbers"),
        ({"feature_size": "80"}, "feature_size='80': must be a number"),
        ({"feature_size": 80.5}, "feature_size=80.5: must be a whole number"),
        ({"hop_length": 0}, "hop_length=0: must be a whole number of samples, 1 or more"),
        (kind("SeamlessM4T", feature_size=40), "feature_size=40: contradicts"),
        (
            kind("Gemma4Audio", per_bin_mean=[1]),
            "per_bin_mean: must be a list",
        ),
        (kind("Gemma3nAudio", fft_length=512), "fft_length=512: contradicts"),
        (kind("Clap", truncation="middle"), "truncation='middle': must be"),
        (kind("UnivNet", center=True), "center=true: "),
        (
            kind("Inkling", audio_token_duration_s=0.0501),
            "audio_token_duration_s",
        ),
        ("{", "not JSON"),
        ("[1]", "expected an object of named values, got list"),
    ],
)
def test_what_a_json_cannot_say(values: Any, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, values if isinstance(values, str) else WHISPER | values)
    with pytest.raises(CumelError) as caught:
        config(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--num-mel-bins=eighty", "line 1: --num-mel-bins=eighty: must be a whole number"),
        ("--snip-edges=no", "line 1: --snip-edges=no: must be true or false"),
        ("\n--num-ceps=13", "line 2: --num-ceps=13: must be one of --sample-frequency"),
        ("num-mel-bins 80", "line 1: num-mel-bins 80: must be one of"),
        ("--dither=1.0", "dither=1.0: adds noise"),
        ("--use-energy", "use_energy=True: adds a column"),
        ("--vtln-warp=0.9", "vtln_warp=0.9: warps"),
    ],
)
def test_what_a_conf_cannot_say(text: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, text, "fbank.conf")
    with pytest.raises(CumelError) as caught:
        config(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_what_is_no_file_of_these(tmp_path: Path) -> None:
    with pytest.raises(CumelError, match="there is no such file"):
        config(tmp_path / "absent.json")
    with pytest.raises(CumelError, match=r"the folder has none of preprocessor_config\.json, "):
        config(tmp_path)
    with pytest.raises(CumelError, match=r"must end in .json, .yaml, .yml, .conf"):
        config(written(tmp_path, "", "model.bin"))
    (tmp_path / "fbank.conf").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CumelError, match="is no text in UTF-8"):
        config(tmp_path / "fbank.conf")
