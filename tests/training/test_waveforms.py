"""Augmented waveforms are drawn by a seed, keep energy and labels in step, and weigh loudness as librosa does."""

import librosa
import numpy as np
import pytest
import torch

from cumel.esc50.training.augment import waveform

SR = 16000
# dB between librosa's A-weighting and ours; worst: 3.6e-14
WEIGHTING_TOLERANCE = 1e-9
# Share of the energy of unit noise (16,000 samples) by which a mix of two equally loud clips may differ; worst: 0.0125
ENERGY_TOLERANCE = 0.05


@pytest.fixture
def noise() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (6, SR)).astype(np.float32))


def sines(hz: float, n_clips: int = 4) -> torch.Tensor:
    return torch.sin(2 * np.pi * hz * torch.arange(SR, dtype=torch.float64) / SR).float().expand(n_clips, -1)


CHANGES = {
    "speed": waveform.speed,
    "gain": waveform.gain,
    "roll": waveform.roll,
    "pad_crop": lambda y: waveform.pad_crop(y, 12000, pad=500),
    "mix": lambda y: waveform.mix(y, torch.eye(6), SR)[0],
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_same_seed_gives_the_same_batch(noise: torch.Tensor, name: str) -> None:
    def once(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return CHANGES[name](noise)

    before = noise.clone()
    assert torch.equal(once(1), once(1))
    assert not torch.equal(once(1), once(2))
    assert torch.equal(noise, before)
    assert once(1).dtype == torch.float32


def test_speed_moves_the_pitch_and_the_end() -> None:
    torch.manual_seed(0)
    fast = waveform.speed(sines(1000.0), 2.0, 2.0)
    torch.testing.assert_close(fast[:, :7900], sines(2000.0)[:, :7900], rtol=0, atol=1e-5)  # every second sample
    assert not fast[:, 8000:].any()
    slow = waveform.speed(sines(1000.0), 0.8, 0.8)
    torch.testing.assert_close(slow, sines(800.0), rtol=0, atol=0.02)  # half a step between samples: 1 - cos(pi / 16)
    ratios = [float((waveform.speed(torch.ones(1, SR), 0.5, 2.0) > 0).sum()) for _ in range(20)]
    assert len(set(ratios)) > 5


def test_gain_is_one_number_per_clip_within_bounds(noise: torch.Tensor) -> None:
    torch.manual_seed(0)
    decibels = 20 * (waveform.gain(noise, 6.0) / noise).log10()
    assert decibels.abs().max() <= 6.001
    assert decibels.std(dim=1).max() < 1e-3
    assert decibels[:, 0].std() > 0


def test_roll_keeps_every_sample(noise: torch.Tensor) -> None:
    torch.manual_seed(0)
    for clip, turned in zip(noise, waveform.roll(noise), strict=True):
        shift = int((clip == turned[0]).nonzero()[0])
        assert torch.equal(clip.roll(-shift), turned)


def test_pad_crop_takes_a_stretch_of_the_padded_clip() -> None:
    torch.manual_seed(0)
    y = torch.arange(1.0, 101.0).expand(200, -1)
    starts = set()
    for clip in waveform.pad_crop(y, 60, pad=10):
        whole = torch.nn.functional.pad(y[0], (10, 10))
        start = next(n for n in range(61) if torch.equal(whole[n : n + 60], clip))
        starts.add(start)
    assert min(starts) == 0
    assert max(starts) == 60
    assert torch.equal(waveform.pad_crop(y[:1], 130, pad=10)[0].count_nonzero(), torch.tensor(100))


def test_a_weighting_is_librosas() -> None:
    hz = np.array([20.0, 100.0, 1000.0, 4000.0, 16000.0])
    ours = 20 * waveform.a_weighting(torch.from_numpy(hz)).log10()
    np.testing.assert_allclose(ours, librosa.A_weighting(hz, min_db=None), atol=WEIGHTING_TOLERANCE)


def test_loudness_hears_the_loudest_window() -> None:
    steady, burst = sines(1000.0, 1), sines(1000.0, 1).clone()
    burst[:, 4000:] = 0
    low = sines(50.0, 1)
    levels = torch.cat([waveform.loudness(y, SR) for y in (steady, steady / 10, burst, low)])
    assert float(levels[0] - levels[1]) == pytest.approx(20, abs=1e-3)
    assert float(levels[2]) == pytest.approx(float(levels[0]), abs=0.1)
    assert 25 < float(levels[0] - levels[3]) < 35  # 30 dB at 50 Hz


def test_mix_keeps_energy_and_label_mass(noise: torch.Tensor) -> None:
    torch.manual_seed(0)
    mixed, shared = waveform.mix(noise, torch.eye(6), SR)
    torch.testing.assert_close(shared.sum(dim=1), torch.ones(6))
    energy = mixed.square().mean(dim=1) / noise.square().mean(dim=1)
    assert (energy - 1).abs().max() <= ENERGY_TOLERANCE


def test_a_quiet_clip_mixed_with_a_loud_one_is_still_heard() -> None:
    """What a clip has of the label it has of the loudness, however quiet it was."""
    torch.manual_seed(0)
    pair = torch.cat([sines(500.0, 1) * 1e-3, sines(2000.0, 1)])
    mixed, shared = waveform.mix(pair, torch.eye(2), SR)
    weight = waveform.a_weighting(torch.tensor([500.0, 2000.0]))
    for clip, share in zip(mixed, shared, strict=True):
        heard = torch.fft.rfft(clip)[[500, 2000]].abs() * weight
        assert float(heard[0] / heard[1]) == pytest.approx(float(share[0] / share[1]), rel=0.02)
