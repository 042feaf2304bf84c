"""Resampling on a device, here the CPU as one: pieces against torchaudio's whole, and soxr as another opinion."""

import numpy as np
import pytest
import torch
from torchaudio.transforms import Resample

from cumel.esc50.audio import resampled_length, resampling
from cumel.esc50.audio.resampling import BETA, ROLLOFF, ZERO_CROSSINGS, resample_clips, resample_on
from cumel.kernels import InputError

from support.signals import signal

CPU = torch.device("cpu")
RATES = [(44100, 16000), (16000, 44100), (48000, 44100), (22050, 44100), (8000, 16000), (96000, 32000)]
PIECES_ATOL = 2e-6  # share of full scale; 3.0e-7: the convolution may add in another order
SOXR_ATOL = 1e-5  # for a tone, away from the ends; 1.2e-6: 44100 to 16000 Hz


@pytest.mark.parametrize(("sr", "target"), RATES)
@pytest.mark.parametrize("n_samples", [1, 700, 20011])
def test_pieces_are_torchaudios_whole(sr: int, target: int, n_samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "PIECE_SAMPLES", 3000)
    y = signal("noise", n_samples, sr)
    out = resample_on(CPU, y, sr, target)
    options = {"lowpass_filter_width": ZERO_CROSSINGS, "rolloff": ROLLOFF, "beta": BETA}
    expected = Resample(sr, target, "sinc_interp_kaiser", **options)(torch.from_numpy(y))
    assert out.dtype == np.float32
    assert len(out) == -(-n_samples * target // sr)
    np.testing.assert_allclose(out, expected.numpy(), rtol=0, atol=PIECES_ATOL)


@pytest.mark.parametrize(("sr", "target"), RATES)
def test_a_tone_agrees_with_soxr(sr: int, target: int) -> None:
    from cumel.esc50.audio import resample as soxr  # a bare GPU machine runs the test below without it

    y = signal("tone", sr, sr)
    ours, theirs = resample_on(CPU, y, sr, target), soxr(y, sr, target)
    middle = slice(len(ours) // 10, -len(ours) // 10)
    assert len(ours) == len(theirs)
    np.testing.assert_allclose(ours[middle], theirs[middle], rtol=0, atol=SOXR_ATOL)


def test_refuses_rates_without_a_practical_filter() -> None:
    with pytest.raises(InputError, match="44101 Hz to 44100 Hz: no filter of a practical size"):
        resample_on(CPU, np.zeros(100, np.float32), 44101, 44100)


@pytest.mark.parametrize(("sr", "target"), RATES)
def test_clips_are_resampled_together_as_alone(sr: int, target: int) -> None:
    clips = [signal("noise", n, sr) for n in (4001, 1, 700, 12_000)]
    padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(clip) for clip in clips], batch_first=True)
    out = resample_clips(padded, sr, target)
    for row, clip in zip(out, clips, strict=True):
        n, alone = resampled_length(len(clip), sr, target), resample_on(CPU, clip, sr, target)
        assert len(alone) == n
        np.testing.assert_allclose(row[:n].numpy(), alone, rtol=0, atol=PIECES_ATOL)


@pytest.mark.gpu
@pytest.mark.parametrize(("sr", "target"), RATES)
def test_a_gpu_resamples_as_the_cpu(sr: int, target: int) -> None:
    """With TF32, which cuDNN takes unasked, it is off by 1e-4 and more."""
    y = signal("noise", 50_001, sr)
    expected = resample_on(CPU, y, sr, target)
    device = torch.device("cuda", torch.cuda.current_device())
    np.testing.assert_allclose(resample_on(device, y, sr, target), expected, rtol=0, atol=PIECES_ATOL)
    together = resample_clips(torch.from_numpy(y).to(device)[None], sr, target)[0, : len(expected)].cpu().numpy()
    np.testing.assert_allclose(together, expected, rtol=0, atol=PIECES_ATOL)
