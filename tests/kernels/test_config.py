"""FeatureConfig: each field's rule, what it derives, and its way through JSON."""

import dataclasses
import json
import math
import re
from typing import Any

import librosa
import numpy as np
import pytest
from hypothesis import given

from cumel.kernels import PRESETS, CumelError, FeatureConfig, Normalize, reference
from cumel.kernels.filterbank import mel_matrix
from cumel.kernels.rules import WINDOWS

from support.drawn import any_config

NAN, INF = math.nan, math.inf
WHOLE = "must be a whole number"
OF_BANDS = "must be a number, or one for each of n_mels=128 bands"
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
    *(("window", value, "must be boxcar, hann, hamming") for value in ("kaiser", None, ("kaiser", 4.0), ["hann"])),
    *(("center", value, "must be true or false") for value in (1, None, "yes")),
    *(("htk", value, "must be true or false") for value in (0, None, "no")),
    *(("pad_mode", value, "must be constant, reflect or symmetric") for value in ("edge", None, ["reflect"])),
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
    *(("scale", value, "must be above 0, and fit in float32") for value in (0, -1.0, NAN, INF, None, "1")),
    *(("remove_dc", value, "must be true or false") for value in (1, None, "frame")),
    *(("preemphasis", value, "must be between 0 and 1") for value in (-0.1, 1.1, NAN, None, True)),
    *(("preemphasis_of", value, "must be frame, clip or valid") for value in ("all", None, 1)),
    *(("periodic", value, "must be true or false") for value in (1, None)),
    *(("align", value, "must be center or left") for value in ("right", None, True)),
    *(
        ("padding", value, "must be two numbers of samples, (left, right); right may be negative")
        for value in (200, (200,), (1, 2, 3), (-1, 0), (0.5, 0), "200,40", (True, 0), (2**40, 0), (0, -(2**40)))
    ),
    *(("bin_offset", value, "must be 0 or more") for value in (-1e-9, NAN, INF, None)),
    *(("triangles", value, "must be hz, mel or left") for value in ("kaldi", None, 1)),
    *(("offset", value, "must be 0 or more, and fit in float32") for value in (-1.0, NAN, INF, None)),
    *(("log", value, "must be db, ln, log10 or None") for value in ("log2", 10, ["db"])),
    *(("normalize", value, "must be a Normalize, or None") for value in ("band", True, 1.0)),
    *(("mean", value, OF_BANDS) for value in ("0", None, NAN, (1.0, 2.0))),
    *(("std", value, OF_BANDS) for value in (INF, (1.0,) * 127, (None,) * 128)),
    *(("std", value, "must be above 0") for value in (0.0, -1.0, (1.0,) * 127 + (0.0,))),
    *(("time_major", value, "must be true or false") for value in (1, None)),
    *(("lifter_from", value, "must be 0 (Kaldi) or 1 (librosa)") for value in (2, -1, 0.5, None)),
    *(("lifter", value, "must be 0 or more") for value in (-1, NAN, INF, None)),
]


@pytest.mark.parametrize(("name", "value", "rule"), BROKEN)
def test_a_broken_rule_is_named(name: str, value: Any, rule: str) -> None:
    with pytest.raises(CumelError) as caught:
        FeatureConfig(**{name: value})
    assert re.fullmatch(rf"{name}=.*?: {re.escape(rule)}.*", str(caught.value))
    assert len(repr(value)) > 60 or str(caught.value).startswith(f"{name}={value!r}: ")
    with pytest.raises(CumelError):
        FeatureConfig().replace(**{name: value})


def test_every_field_has_a_broken_rule_above() -> None:
    assert {name for name, _, _ in BROKEN} == {field.name for field in dataclasses.fields(FeatureConfig)}


@pytest.mark.parametrize(
    "values",
    [
        {"n_fft": 1, "hop_length": 1, "n_mels": 1, "n_mfcc": 1, "win_length": 1, "sr": 1, "fmax": 0.5},
        {"win_length": 2048, "fmax": 11025, "fmin": 11024.9, "top_db": 0, "n_mfcc": 128, "lifter": 0},
        {"scale": 32768.0, "preemphasis": 1.0, "padding": (0, -1), "amin": 0.0, "offset": 1e-30, "lifter_from": 0},
        {"log": None, "amin": 0.0}, {"mean": (0.5,) * 128, "std": (1.5,) * 128},
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


OUR_OWN = {"esc50", "compact", "librosa"}
OF_MODELS = 35


def test_every_model_family_has_a_preset() -> None:
    assert len(set(PRESETS) - OUR_OWN) == OF_MODELS
    for name in OUR_OWN | {"panns"}:
        librosa.stft(np.zeros(PRESETS[name].n_fft), **PRESETS[name].librosa_stft())  # takes our names


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"scale": 2.0}, "scale=2.0"), ({"remove_dc": True}, "remove_dc=True"), ({"window": "povey"}, "window=povey"),
        ({"preemphasis": 0.9}, "preemphasis=0.9"), ({"periodic": False, "align": "left"}, "periodic=False, align=left"),
        ({"padding": (1, 2)}, r"padding=\(1, 2\)"), ({"bin_offset": 1e-9}, "bin_offset=1e-09"),
        ({"triangles": "mel"}, "triangles=mel"),
    ],
)  # fmt: skip
def test_what_librosa_cannot_express_is_named(values: dict[str, Any], named: str) -> None:
    cfg = FeatureConfig(**values)
    for arguments in (cfg.librosa_stft, cfg.librosa_mel):
        with pytest.raises(CumelError, match=f"librosa cannot express {named};"):
            arguments()


def test_combinations_that_contradict_each_other() -> None:
    for values, rule in (
        ({"padding": (1, 1), "center": False}, r"padding=\(1, 1\): says where frames begin, as center=False does"),
        ({"log": "ln", "ref": 2.0}, "ref=2.0: only decibels have a reference, and log=ln: use mean"),
        ({"amin": 0.0}, "amin=0.0: must be above 0, as the logarithm of silence is infinite without an offset"),
    ):
        with pytest.raises(CumelError, match=f"^{rule}"):
            FeatureConfig(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"per": "all"}, "per='all': must be band or clip"), ({"ddof": 2}, "ddof=2: must be 0 or 1"),
        ({"variance": 1}, "variance=1: must be true or false"), ({"eps": -1.0}, "eps=-1.0: must be 0 or more"),
        ({"eps_in": "band"}, "eps_in='band': must be std or var"), ({"ddoff": 1}, "ddoff: no such option; there are"),
    ],
)  # fmt: skip
def test_statistics_are_checked_too(values: dict[str, Any], message: str) -> None:
    with pytest.raises(CumelError, match=f"^normalize: {message}"):
        FeatureConfig(normalize=values)  # type: ignore[arg-type]
    assert FeatureConfig(normalize={"ddof": np.int64(1)}).normalize == Normalize(ddof=1)  # type: ignore[arg-type]


def test_json_of_an_older_version_is_read() -> None:
    old = {"sr": 44100, "fmin": 20.0, "fmax": 8300.0, "pad_mode": "reflect", "lifter": 0.0}
    assert FeatureConfig.from_dict(old) == PRESETS["esc50"].replace(pad_mode="reflect")


@pytest.mark.parametrize("name", PRESETS)
def test_n_frames_is_the_oracles(name: str) -> None:
    cfg = PRESETS[name]
    for n in {cfg.least_samples, cfg.n_fft, *range(3 * cfg.hop_length - 2, 3 * cfg.hop_length + 3)}:
        if n >= cfg.least_samples:
            padded = reference.samples(np.zeros(n), cfg)
            frames = np.lib.stride_tricks.sliding_window_view(padded, cfg.frame_length)[:: cfg.hop_length]
            assert len(frames) == cfg.n_frames(n) > 0
    assert cfg.n_frames(cfg.least_samples - 1) == 0


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
        ('{"n_ftt": 512}', "n_ftt: no such feature option; there are sr, scale,"),
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
