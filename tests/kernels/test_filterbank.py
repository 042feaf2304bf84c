"""Windows, mel filters and the DCT against scipy and librosa."""

import re
from typing import Any

import librosa
import numpy as np
import pytest
import scipy.fft
import scipy.signal
from hypothesis import given, strategies as st

from cumel.kernels import CumelError, FeatureConfig
from cumel.kernels.filterbank import dct_matrix, hz_to_mel, mel_matrix, mel_rows, mel_to_hz, window
from cumel.kernels.rules import WINDOWS

from support.drawn import any_config
from support.signals import CONFIGS

WINDOW_ATOL = 5e-15  # share of 1; worst 8.9e-16: hann, 401 of 512
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


@given(any_config())
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
    with pytest.raises(CumelError) as caught:
        mel_matrix(cfg)
    message = str(caught.value)
    found = re.fullmatch(
        r"n_fft=(\d+): mel filter (\d+) of n_mels=(\d+) has no bin in it; use n_fft >= (\d+) or fewer n_mels", message
    )
    assert found, message
    n_fft, empty, n_mels, enough = map(int, found.groups())
    assert (n_fft, n_mels) == (cfg.n_fft, cfg.n_mels)
    assert librosa_filters(cfg)[empty].max() == 0
    for larger in range(enough, enough + 64):  # "n_fft >=" is a promise
        assert (mel_matrix(cfg.replace(n_fft=larger)).max(axis=1) > 0).all()


def test_an_empty_filter_that_no_n_fft_fills() -> None:
    with pytest.raises(CumelError, match=r"^n_fft=65536: mel filter 0 of n_mels=64 has no bin in it; .*fewer n_mels"):
        mel_matrix(FeatureConfig(sr=44100, n_fft=65536, n_mels=64, fmin=20.1, fmax=21.0))


@given(st.lists(st.floats(0, 24000), min_size=1), st.booleans())
def test_mel_scales_are_librosas_and_invertible(hz: list[float], htk: bool) -> None:
    mel = hz_to_mel(np.array(hz), htk=htk)
    np.testing.assert_allclose(mel, librosa.hz_to_mel(hz, htk=htk), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(mel_to_hz(mel, htk=htk), hz, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize(
    ("n_fft", "win_length"), [(512, None), (1023, None), (512, 401), (513, 400), (8, 1), (8, 2), (9, 3)]
)
def test_window_is_scipys_centred(name: str, n_fft: int, win_length: int | None) -> None:
    taper = scipy.signal.get_window(name, win_length or n_fft, fftbins=True)
    actual = window(FeatureConfig(n_fft=n_fft, win_length=win_length, window=name))
    np.testing.assert_allclose(actual, librosa.util.pad_center(taper, size=n_fft), rtol=0, atol=WINDOW_ATOL)


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
