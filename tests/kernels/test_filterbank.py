"""Windows, mel filters and the DCT against scipy and librosa."""

import itertools
import re
from typing import Any

import librosa
import numpy as np
import pytest
import scipy.fft
import scipy.signal
import torch
import torchaudio
from hypothesis import given, strategies as st

from cumel.kernels import PRESETS, CumelError, FeatureConfig
from cumel.kernels.filterbank import dct_matrix, hz_to_mel, mel_matrix, mel_rows, mel_to_hz, window
from cumel.kernels.rules import WINDOWS

from support.drawn import librosa_config
from support.signals import CONFIGS

WINDOW_ATOL = 5e-15  # share of 1; worst 8.9e-16: hann, 401 of 512
KALDI_ATOL = 5e-5  # torchaudio computes its filters in float32; worst 1.4e-5
MEL_RTOL = 1e-12  # share of a filter's highest weight; worst 0 with numpy 2.4 and librosa 0.11: the same bits
DCT_ATOL = 1e-13  # worst 1.3e-14: a lifter of 22 multiplies by up to 12

MATRICES = [
    {"sr": sr, "n_fft": n_fft, "n_mels": n_mels, "htk": htk, "norm": norm, "fmin": fmin, "fmax": fmax}
    for sr, n_fft, n_mels, fmin, fmax in [
        (44100, 2048, 128, 20.0, 8300.0),
        (22050, 1025, 40, 0.0, None),
        (16000, 509, 13, 300.0, 7000.0),
        (8000, 256, 1, 0.0, 4000.0),
    ]
    for htk in (False, True)
    for norm in ("slaney", None, 1, 2, "inf")
]


def librosa_filters(cfg: FeatureConfig) -> np.ndarray:
    names = ("sr", "n_fft", "n_mels", "fmin", "fmax", "htk", "norm")
    return librosa.filters.mel(dtype=np.float64, **{name: getattr(cfg, name) for name in names})


@pytest.mark.parametrize("values", MATRICES, ids=lambda values: "-".join(map(str, values.values())))
def test_mel_matrix_is_librosas(values: dict[str, Any]) -> None:
    cfg = FeatureConfig(**values)
    expected = librosa_filters(cfg)
    assert np.count_nonzero(expected.max(axis=1)) == cfg.n_mels
    assert_filters(mel_matrix(cfg), expected)


@given(librosa_config())
def test_any_mel_matrix_is_librosas(cfg: FeatureConfig) -> None:
    assert_filters(mel_matrix(cfg), librosa_filters(cfg))


def assert_filters(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.shape == expected.shape
    error = np.abs(actual - expected) / expected.max(axis=1, keepdims=True)
    assert error.max() <= MEL_RTOL


@pytest.mark.parametrize("cfg", CONFIGS.values(), ids=CONFIGS)
def test_sparse_rows_rebuild_the_matrix(cfg: FeatureConfig) -> None:
    rows, matrix = mel_rows(cfg), mel_matrix(cfg)
    rebuilt = np.zeros_like(matrix)
    for m, (start, stop) in enumerate(zip(rows.offsets[:-1], rows.offsets[1:], strict=True)):
        rebuilt[m, rows.bins[start:stop]] = rows.weights[start:stop]
        assert (np.diff(rows.bins[start:stop]) > 0).all()
    np.testing.assert_array_equal(rebuilt, matrix)
    touched = np.flatnonzero(matrix.any(axis=0))
    assert (rows.first_bin, rows.last_bin) == (touched[0], touched[-1] + 1)
    assert (rows.weights > 0).all()


def test_the_baseline_needs_759_weights() -> None:
    assert mel_rows(CONFIGS["esc50"]).weights.size == 759
    assert mel_matrix(CONFIGS["esc50"]).size == 131200


@pytest.mark.filterwarnings("ignore:Empty filters detected in mel frequency basis:UserWarning")  # librosa only warns
@pytest.mark.parametrize(
    "values",
    [
        {"sr": 44100, "n_fft": 512, "n_mels": 64, "htk": True},
        {"sr": 44100, "n_fft": 300, "n_mels": 64},
        {"sr": 48000, "n_fft": 2047, "n_mels": 229, "htk": True, "norm": None},
        {"sr": 44100, "n_fft": 375, "n_mels": 78, "htk": True, "fmin": 50.0},  # 512 would do by luck, 533 would not
    ],
)
def test_an_empty_filter_names_an_n_fft_that_works(values: dict[str, Any]) -> None:
    cfg = FeatureConfig(**values)
    with pytest.warns(UserWarning, match="have no bin") as caught:
        weights = mel_matrix(cfg)
    message = str(caught[0].message)
    found = re.fullmatch(
        r"n_fft=(\d+): (\d+) of n_mels=(\d+) filters have no bin in them, filter (\d+) first, and read silence; "
        r"use n_fft >= (\d+) or fewer n_mels",
        message,
    )
    assert found, message
    n_fft, n_empty, n_mels, first, enough = map(int, found.groups())
    empty = np.flatnonzero(librosa_filters(cfg).max(axis=1) == 0)
    assert (n_fft, n_mels, n_empty, first) == (cfg.n_fft, cfg.n_mels, len(empty), empty[0])
    np.testing.assert_allclose(weights, librosa_filters(cfg), rtol=MEL_RTOL)
    for larger in range(enough, enough + 64):  # "n_fft >=" is a promise
        assert (mel_matrix(cfg.replace(n_fft=larger)).max(axis=1) > 0).all()


def test_an_empty_filter_that_no_n_fft_fills() -> None:
    with pytest.warns(UserWarning, match=r"^n_fft=65536: \d+ of n_mels=64 filters .*silence; use fewer n_mels"):
        mel_matrix(FeatureConfig(sr=44100, n_fft=65536, n_mels=64, fmin=20.1, fmax=21.0))


def test_the_empty_filters_of_a_preset_are_its_models(recwarn: pytest.WarningsRecorder) -> None:
    empty = {name: int((mel_matrix(cfg).max(axis=1) == 0).sum()) for name, cfg in PRESETS.items()}
    assert {name: n for name, n in empty.items() if n} == {"ast": 1, "beats": 1, "lasr": 1, "gemma4": 1}
    assert not recwarn


def test_a_config_may_have_empty_filters_alone() -> None:
    with pytest.warns(UserWarning, match="3 of n_mels=3 filters"):
        rows = mel_rows(FeatureConfig(sr=16000, n_fft=16, n_mels=3, fmin=100.0, fmax=900.0))
    assert (rows.first_bin, rows.last_bin, rows.bins.size) == (0, 1, 0)
    np.testing.assert_array_equal(rows.first, [0, 0, 0])


@given(st.lists(st.floats(0, 24000), min_size=1), st.booleans())
def test_mel_scales_are_librosas_and_invertible(hz: list[float], htk: bool) -> None:
    mel = hz_to_mel(np.array(hz), htk=htk)
    np.testing.assert_allclose(mel, librosa.hz_to_mel(hz, htk=htk), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(mel_to_hz(mel, htk=htk), hz, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("name", sorted(set(WINDOWS) - {"povey"}))
@pytest.mark.parametrize(
    ("n_fft", "win_length"), [(512, None), (1023, None), (512, 401), (513, 400), (8, 1), (8, 2), (9, 3)]
)
@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("align", ["center", "left"])
def test_window_is_scipys(name: str, n_fft: int, win_length: int | None, periodic: bool, align: str) -> None:
    taper = scipy.signal.get_window(name, win_length or n_fft, fftbins=periodic)
    actual = window(FeatureConfig(n_fft=n_fft, win_length=win_length, window=name, periodic=periodic, align=align))
    placed = librosa.util.pad_center(taper, size=n_fft) if align == "center" else np.resize(taper, n_fft)
    placed[len(taper) :] *= align == "center"
    np.testing.assert_allclose(actual, placed, rtol=0, atol=WINDOW_ATOL)


def test_poveys_window_is_kaldis() -> None:
    actual = window(FeatureConfig(n_fft=512, win_length=400, window="povey", periodic=False, align="left"))
    expected = torch.hann_window(400, periodic=False, dtype=torch.float64).pow(0.85).numpy()
    np.testing.assert_allclose(actual[:400], expected, rtol=0, atol=WINDOW_ATOL)
    assert not actual[400:].any()


@pytest.mark.parametrize(("fmin", "fmax", "n_mels"), [(20.0, 8000.0, 23), (20.0, 7600.0, 80), (0.0, 7690.0, 40)])
def test_triangles_in_mel_are_kaldis(fmin: float, fmax: float, n_mels: int) -> None:
    cfg = FeatureConfig(sr=16000, n_fft=512, n_mels=n_mels, fmin=fmin, fmax=fmax, htk=True, norm=None, triangles="mel")
    banks, _ = torchaudio.compliance.kaldi.get_mel_banks(n_mels, 512, 16000.0, fmin, fmax, 100.0, -500.0, 1.0)
    np.testing.assert_allclose(mel_matrix(cfg)[:, :256], banks, rtol=0, atol=KALDI_ATOL)
    assert not mel_matrix(cfg)[:, 256].any()


def test_left_triangles_are_as_wide_on_the_right() -> None:
    cfg = FeatureConfig(sr=16000, n_fft=4096, n_mels=20, norm=None, triangles="left", fmax=7000.0)
    _, bins = mel_rows(cfg), np.fft.rfftfreq(4096, 1 / 16000)
    edges = mel_to_hz(np.linspace(hz_to_mel(0.0), hz_to_mel(7000.0), 22))
    for row, (low, peak) in zip(mel_matrix(cfg), itertools.pairwise(edges[:-1]), strict=True):
        np.testing.assert_allclose(row, np.maximum(0, 1 - np.abs(bins - peak) / (peak - low)), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("n_mels", "n_mfcc", "lifter"), [(128, 20, 0.0), (40, 13, 22.0), (5, 5, 3.5), (1, 1, 0.0)])
def test_dct_matrix_is_librosas(n_mels: int, n_mfcc: int, lifter: float) -> None:
    cfg = FeatureConfig(n_mels=n_mels, n_mfcc=n_mfcc, lifter=lifter)
    expected = librosa.feature.mfcc(S=np.eye(n_mels), n_mfcc=n_mfcc, lifter=lifter)
    np.testing.assert_allclose(dct_matrix(cfg), expected, rtol=0, atol=DCT_ATOL)
    if lifter == 0:
        plain = scipy.fft.dct(np.eye(n_mels), axis=0, norm="ortho")[:n_mfcc]
        np.testing.assert_allclose(dct_matrix(cfg), plain, rtol=0, atol=DCT_ATOL)


def test_no_more_coefficients_than_bands() -> None:
    with pytest.raises(CumelError, match=r"^n_mfcc=20: must be at most n_mels=16$"):
        dct_matrix(FeatureConfig(n_mels=16))


def test_cached_tables_cannot_be_changed() -> None:
    cfg = CONFIGS["esc50"]
    for table in (window(cfg), mel_matrix(cfg), dct_matrix(cfg), *mel_rows(cfg)):
        with pytest.raises(ValueError, match="read-only"):
            table[0] = 0
