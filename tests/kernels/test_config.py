"""FeatureConfig: each field's rule, what it derives, and its way through JSON."""

import dataclasses
import json
import math
from typing import Any

import librosa
import numpy as np
import pytest
from hypothesis import given

from cumel.kernels import PRESETS, CumelError, FeatureConfig
from cumel.kernels.filterbank import mel_matrix
from cumel.kernels.rules import WINDOWS

from support.drawn import any_config

NAN, INF = math.nan, math.inf
WHOLE = "must be a whole number"
BROKEN = [
    *(
        ("sr", value, f"{WHOLE} of hertz, 1 or more")
        for value in (0, -1, 44100.5, "44100", True, None, INF, NAN, [44100, 44100])
    ),
    *(("n_fft", value, f"{WHOLE} of samples, 1 or more") for value in (0, 2048.5, None)),
    *(("hop_length", value, f"{WHOLE} of samples, 1 or more") for value in (0, 0.5, None)),
    *(("n_mels", value, f"{WHOLE}, 1 or more") for value in (0, 12.5, None)),
    *(("n_mfcc", value, f"{WHOLE}, 1 or more") for value in (0, 12.5, None)),
    *(("win_length", value, "must be between 1 and n_fft=2048") for value in (0, 2049, 1024.5)),
    *(
        ("window", value, "must be one of boxcar, hann, hamming")
        for value in ("kaiser", None, ("kaiser", 4.0), ["hann"])
    ),
    *(("center", value, "must be true or false") for value in (1, None, "yes")),
    *(("htk", value, "must be true or false") for value in (0, None, "no")),
    *(("pad_mode", value, "must be constant or reflect") for value in ("edge", None, ["reflect"])),
    *(("power", value, "must be 1 (magnitude) or 2 (power)") for value in (0, 1.5, 3, True, "2", NAN)),
    *(("fmin", value, "must be 0 Hz or more") for value in (-1, NAN, INF, "20", None)),
    ("fmin", 11025, "must lie below sr / 2 = 11025 Hz"),
    *(
        ("fmax", value, "must lie above fmin=0 and at most at sr / 2 = 11025 Hz")
        for value in (0, -1, 11026, NAN, INF, "1")
    ),
    *(("norm", value, "must be slaney, None, inf or a number above 0") for value in ("l2", 0, -1, NAN, True, [1])),
    *(("ref", value, "must be above 0") for value in (0, -1.0, NAN, INF, None, "max")),
    *(("amin", value, "must be above 0") for value in (0, -1e-10, NAN, INF, None)),
    *(("top_db", value, "must be 0 dB or more") for value in (-1, NAN, INF, "80")),
    *(("lifter", value, "must be 0 or more") for value in (-1, NAN, INF, None)),
]


@pytest.mark.parametrize(("name", "value", "rule"), BROKEN)
def test_a_broken_rule_is_named(name: str, value: Any, rule: str) -> None:
    with pytest.raises(CumelError) as caught:
        FeatureConfig(**{name: value})
    assert str(caught.value).startswith(f"{name}={value!r}: {rule}")
    with pytest.raises(CumelError):
        FeatureConfig().replace(**{name: value})


def test_every_field_has_a_broken_rule_above() -> None:
    assert {name for name, _, _ in BROKEN} == {field.name for field in dataclasses.fields(FeatureConfig)}


@pytest.mark.parametrize(
    "values",
    [
        {"n_fft": 1, "hop_length": 1, "n_mels": 1, "n_mfcc": 1, "win_length": 1, "sr": 1, "fmax": 0.5},
        {"win_length": 2048, "fmax": 11025, "fmin": 11024.9, "top_db": 0, "n_mfcc": 128, "lifter": 0},
        {"power": 1}, {"power": 2}, {"norm": 0.5}, {"norm": INF}, {"norm": "inf"}, {"norm": None}, {"top_db": None},
        *({"window": window} for window in WINDOWS),
    ],
)  # fmt: skip
def test_the_edge_of_each_rule_is_allowed(values: dict[str, Any]) -> None:
    cfg = FeatureConfig(**values)
    assert all(getattr(cfg, name) == (INF if value == "inf" else value) for name, value in values.items())


def test_fields_cannot_be_set_nor_given_by_position() -> None:
    cfg = FeatureConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        cfg.sr = 16000  # type: ignore[misc]
    with pytest.raises(TypeError):
        FeatureConfig(16000)  # type: ignore[misc]
    assert hash(cfg) == hash(FeatureConfig())


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid(name: str) -> None:
    cfg = PRESETS[name]
    assert FeatureConfig.from_json(cfg.to_json()) == cfg
    assert mel_matrix(cfg).shape == (cfg.n_mels, cfg.n_bins)
    librosa.stft(np.zeros(cfg.n_fft), **cfg.librosa_stft())  # takes our names
    assert set(PRESETS) == {"esc50", "compact", "librosa", "whisper", "panns"}


@pytest.mark.parametrize(
    ("n_samples", "n_fft", "hop_length", "center", "n_frames"),
    [
        (220500, 2048, 512, True, 431),
        (0, 2048, 512, True, 0),
        (-1, 2048, 512, True, 0),
        (1, 2048, 512, True, 1),
        (511, 2048, 512, True, 1),
        (512, 2048, 512, True, 2),
        (1, 1, 1, True, 1),
        (1, 5, 1, True, 1),  # padded by 2 on each side
        (2, 5, 1, True, 2),
        (7, 5, 10, True, 1),
        (2047, 2048, 512, False, 0),
        (2048, 2048, 512, False, 1),
        (2559, 2048, 512, False, 1),
        (2560, 2048, 512, False, 2),
        (0, 1, 1, False, 0),
    ],
)
def test_n_frames(n_samples: int, n_fft: int, hop_length: int, center: bool, n_frames: int) -> None:
    cfg = FeatureConfig(n_fft=n_fft, hop_length=hop_length, center=center)
    assert cfg.n_frames(n_samples) == n_frames
    if n_frames > 0:
        padded = np.zeros(n_samples + 2 * cfg.edges[0])
        assert librosa.util.frame(padded, frame_length=n_fft, hop_length=hop_length).shape[1] == n_frames


def test_derived_sizes() -> None:
    assert (FeatureConfig(n_fft=2048).n_bins, FeatureConfig(n_fft=509).n_bins, FeatureConfig(n_fft=1).n_bins) == (
        1025,
        255,
        1,
    )
    assert (FeatureConfig(n_fft=509).edges[0], FeatureConfig(center=False).edges[0]) == (254, 0)
    assert (FeatureConfig(fmax=8000).top_frequency, FeatureConfig(sr=16000).top_frequency) == (8000, 8000)


@given(any_config())
def test_any_config_survives_json(cfg: FeatureConfig) -> None:
    text = cfg.to_json()
    assert "\n" not in text
    json.loads(text, parse_constant=pytest.fail)  # strict JSON: neither NaN nor Infinity
    again = FeatureConfig.from_json(text)
    assert again == cfg
    assert hash(again) == hash(cfg)
    assert again.differences(cfg) == []
    assert FeatureConfig.from_dict(cfg.to_dict()) == cfg


def test_an_infinite_norm_is_inf_in_json() -> None:
    assert FeatureConfig(norm=INF).to_dict()["norm"] == "inf"
    assert FeatureConfig.from_json('{"norm": "inf"}').norm == INF


def test_absent_fields_take_their_default() -> None:
    assert FeatureConfig.from_dict({}) == FeatureConfig()
    assert FeatureConfig.from_json('{"sr": 16000}') == FeatureConfig(sr=16000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"n_ftt": 512}', "n_ftt: no such feature option; there are sr, n_fft,"),
        ('{"b": 1, "a": 2}', "a, b: no such feature option"),
        ('{"n_fft": 0}', "n_fft=0: must be a whole number"),
        ('{"fmin": NaN}', "fmin=nan: must be 0 Hz or more"),
        ("[]", "feature config: expected an object of named fields, got list"),
        ("{", "feature config: not JSON"),
        (None, "feature config: not JSON"),
    ],
)
def test_bad_json_is_refused(text: Any, message: str) -> None:
    with pytest.raises(CumelError) as caught:
        FeatureConfig.from_json(text)
    assert str(caught.value).startswith(message)


def test_replace_checks_again_and_refuses_unknown_fields() -> None:
    cfg = FeatureConfig(sr=16000)
    assert cfg.replace(n_fft=512) == FeatureConfig(sr=16000, n_fft=512)
    assert cfg.n_fft == 2048
    with pytest.raises(CumelError, match=r"^nfft: no such feature option"):
        cfg.replace(nfft=512)
    with pytest.raises(CumelError, match=r"^fmax=8001\.0: must lie above fmin=0 and at most at sr / 2 = 8000 Hz$"):
        cfg.replace(fmax=8001.0)


def test_differences_name_both_sides() -> None:
    mine, theirs = FeatureConfig(n_fft=512, top_db=None), FeatureConfig(window="hamming")
    assert mine.differences(theirs) == ["n_fft=512, not 2048", "window=hann, not hamming", "top_db=None, not 80.0"]
    assert FeatureConfig(power=2).differences(FeatureConfig(power=2.0)) == []
