"""Kaldi's functions against torchaudio's own, and what they take beyond those."""

import inspect
from typing import Any

import numpy as np
import pytest
import torch
import torchaudio.compliance.kaldi as torchaudios

import cumel
from cumel import CumelError, kaldi
from cumel.kernels import PRESETS, reference

FBANK_ATOL, MFCC_ATOL = 1e-3, 5e-3  # natural logarithm; torchaudio computes in float32 too: 4e-4 near the floor, 2e-3
MEDIAN = 5e-6
OPTIONS: list[dict[str, Any]] = [
    {},
    {"num_mel_bins": 80, "snip_edges": False, "high_freq": -400.0},
    {"use_power": False, "window_type": "hamming"},
    {"use_log_fbank": False},
    {"window_type": "blackman", "subtract_mean": True, "sample_frequency": 8000.0, "num_mel_bins": 30},
    {"frame_length": 32.0, "frame_shift": 8.0, "preemphasis_coefficient": 0.5, "window_type": "rectangular"},
    {"round_to_power_of_two": False, "window_type": "hanning", "remove_dc_offset": False},
]


def sounds(n_clips: int, n_samples: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    y = 0.1 * rng.standard_normal((n_clips, n_samples)) + np.linspace(-0.02, 0.05, n_samples)
    y[:, : n_samples // 4] *= 0.01
    return y.astype(np.float32)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("n_samples", [801, 16000])
def test_fbank_is_torchaudios(options: dict[str, Any], n_samples: int) -> None:
    y = torch.from_numpy(sounds(2, n_samples))
    expected = torchaudios.fbank(y, channel=1, **options)
    actual = kaldi.fbank(y, channel=1, **options)
    assert actual.shape == expected.shape
    error = (actual - expected).abs() / (1.0 if options.get("use_log_fbank", True) else expected.abs().max())
    assert error.max() <= FBANK_ATOL
    assert error.median() <= MEDIAN


@pytest.mark.parametrize(
    "options", [{}, {"htk_compat": True, "num_ceps": 20}, {"subtract_mean": True, "cepstral_lifter": 0.0}], ids=str
)
def test_mfcc_is_torchaudios(options: dict[str, Any]) -> None:
    y = torch.from_numpy(sounds(1, 12345))
    actual, expected = kaldi.mfcc(y, **options), torchaudios.mfcc(y, **options)
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= MFCC_ATOL


@pytest.mark.parametrize("name", ["fbank", "mfcc"])
def test_arguments_are_torchaudios(name: str) -> None:
    ours = list(inspect.signature(getattr(kaldi, name)).parameters.values())
    theirs = list(inspect.signature(getattr(torchaudios, name)).parameters.values())
    assert [(p.name, p.default) for p in ours[: len(theirs)]] == [(p.name, p.default) for p in theirs]
    assert [p.name for p in ours[len(theirs) :]] == ["lengths"]


@pytest.mark.parametrize("snip_edges", [True, False])
def test_every_length_around_a_hop(snip_edges: bool) -> None:
    for n in (400, *range(558, 563), *range(639, 643)):
        y = torch.from_numpy(sounds(1, n))
        expected = torchaudios.fbank(y, snip_edges=snip_edges)
        assert kaldi.fbank(y, snip_edges=snip_edges).shape == expected.shape
        assert (kaldi.fbank(y, snip_edges=snip_edges) - expected).abs().max() <= FBANK_ATOL


def test_a_batch_is_each_clip_alone() -> None:
    y, lengths = sounds(3, 8000), [8000, 4321, 400]
    for function in (kaldi.fbank, kaldi.mfcc):
        batch = function(y, subtract_mean=True, lengths=lengths)
        for row, clip, n in zip(batch, y, lengths, strict=True):
            alone = function(clip[:n], subtract_mean=True)
            np.testing.assert_array_equal(row[: len(alone)], alone)
            assert not row[len(alone) :].any()
        np.testing.assert_array_equal(function(np.stack([y, y], 1), channel=1), function(y, lengths=[8000] * 3))


def test_a_gradient_flows() -> None:
    y = torch.from_numpy(sounds(1, 4000)).requires_grad_()
    kaldi.fbank(y, snip_edges=False).sum().backward()
    ours, y.grad = y.grad, None
    torchaudios.fbank(y, snip_edges=False).sum().backward()
    assert ours is not None
    assert y.grad is not None
    assert (ours - y.grad).norm() <= 1e-3 * y.grad.norm()


def test_int16_at_kaldis_scale() -> None:
    pcm = (32767 * sounds(1, 4000)).astype(np.int16)
    expected = reference.log_mel(pcm[0] * 1.0, PRESETS["kaldi"]).T
    np.testing.assert_allclose(
        cumel.log_mel(pcm[0], PRESETS["kaldi"].replace(scale=32768.0)), expected, rtol=0, atol=FBANK_ATOL
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dither": 1.0}, "dither=1.0: adds noise"),
        ({"use_energy": True}, "use_energy=True: adds a column"),
        ({"vtln_warp": 1.1}, "vtln_warp=1.1: warps the filters for each speaker"),
        ({"blackman_coeff": 0.5}, "blackman_coeff=0.5: our Blackman window has 0.42"),
        ({"window_type": "hann"}, "window_type=hann: must be one of povey, hanning, "),
        ({"frame_length": 0.01}, "frame_length=0.01, frame_shift=10.0 ms: 0 and 160 samples"),
        ({"frame_length": 25.1, "round_to_power_of_two": False}, "frame_length=25.1 ms: 401 samples are odd"),
        ({"frame_shift": 60.0, "snip_edges": False}, "frame_shift=60.0 ms: .* need snip_edges=True"),
        ({"sample_frequency": 16000.5}, "sample_frequency=16000.5: must be a whole number"),
        ({"high_freq": 9000.0}, "fmax=9000.0: must lie above fmin=20 and at most at sr / 2 = 8000 Hz"),
        ({"channel": 2}, "channel=2: waveform has 1 channels"),
        ({"preemphasis_coefficient": 2.0}, "preemphasis=2.0: must be between 0 and 1"),
    ],
)
def test_what_cannot_be_is_one_clear_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CumelError, match=f"^{message}"):
        kaldi.fbank(sounds(1, 8000), **options)


def test_clips_that_are_too_short() -> None:
    assert kaldi.fbank(sounds(1, 8000), min_duration=1.0).size == 0
    with pytest.raises(CumelError, match="clip 0 has 399 samples, fewer than the 400 of one frame"):
        kaldi.fbank(sounds(1, 399))
    with pytest.raises(CumelError, match="waveform has shape"):
        kaldi.fbank(np.zeros((1, 1, 1, 800), np.float32))
