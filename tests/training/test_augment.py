"""Augmented spectrograms are drawn by a seed, within their bounds, and labelled by what is heard of each clip."""

import numpy as np
import pytest
import torch

from cumel.esc50.training.augment import spectrogram as augment


@pytest.fixture
def batch() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(-40, 10, (6, 1, 12, 20)).astype(np.float32))


@pytest.mark.parametrize("name", ["roll", "shift_bands", "gain", "mask", "cropped"])
def test_the_same_seed_gives_the_same_batch(batch: torch.Tensor, name: str) -> None:
    def once(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return augment.crop(batch, 8) if name == "cropped" else getattr(augment, name)(batch)

    before = batch.clone()
    assert torch.equal(once(1), once(1))
    assert not torch.equal(once(1), once(2))
    assert torch.equal(batch, before)


def test_roll_keeps_every_frame(batch: torch.Tensor) -> None:
    torch.manual_seed(0)
    rolled = augment.roll(batch)
    for clip, turned in zip(batch, rolled, strict=True):
        assert any(torch.equal(clip.roll(n, dims=2), turned) for n in range(20))


def test_shift_bands_moves_whole_bands(batch: torch.Tensor) -> None:
    torch.manual_seed(0)
    for clip, moved in zip(batch, augment.shift_bands(batch, 2), strict=True):
        shifts = [torch.arange(12).add(n).clamp(0, 11) for n in (-2, -1, 0, 1, 2)]
        assert any(torch.equal(clip[:, index], moved) for index in shifts)


def test_gain_is_one_number_per_clip_within_bounds(batch: torch.Tensor) -> None:
    change = augment.gain(batch, 6.0) - batch
    assert change.abs().max() <= 6.0001
    assert change.flatten(1).std(dim=1).max() < 1e-4
    assert change[:, 0, 0, 0].std() > 0


def test_mix_keeps_label_mass_and_lies_between_in_power(batch: torch.Tensor) -> None:
    torch.manual_seed(3)
    labels = torch.eye(6)
    mixed, shared = augment.mix(batch, labels)
    torch.testing.assert_close(shared.sum(dim=1), torch.ones(6))
    assert ((shared > 0).sum(dim=1) <= 2).all()
    torch.manual_seed(3)
    order = torch.randperm(6)
    other = torch.empty(6, dtype=torch.long)
    other[order] = order.roll(1)
    assert (other != torch.arange(6)).all()
    low, high = torch.minimum(batch, batch[other]), torch.maximum(batch, batch[other])
    assert (mixed >= low - 1e-3).all()
    assert (mixed <= high + 1e-3).all()


def test_a_quiet_clip_mixed_with_a_loud_one_is_still_heard() -> None:
    """What a clip has of the label it has of the loudness, however quiet it was."""
    torch.manual_seed(0)
    quiet, loud = torch.full((1, 1, 2, 8), -60.0), torch.full((1, 1, 2, 8), 0.0)
    quiet[:, :, 1], loud[:, :, 0] = -100.0, -100.0  # each in its own band
    pair, labels = torch.cat([quiet, loud]), torch.eye(2)
    mixed, shared = augment.mix(pair, labels)
    for spectrogram, share in zip(mixed, shared, strict=True):
        band = 10 ** (spectrogram[0, :, 0] / 20)
        torch.testing.assert_close(band / band.max(), share / share.max(), rtol=0.02, atol=0.02)


@pytest.mark.parametrize(("name", "axis"), [("mix_time", 3), ("mix_bands", 2)])
def test_what_another_clip_takes_over_it_has_of_the_label(name: str, axis: int) -> None:
    x = torch.arange(6.0)[:, None, None, None].expand(6, 1, 12, 20).contiguous()  # each clip is its own number
    torch.manual_seed(0)
    mixed, shared = getattr(augment, name)(x, torch.eye(6), share=0.5)
    torch.manual_seed(0)
    again, _ = getattr(augment, name)(x, torch.eye(6), share=0.5)
    assert torch.equal(mixed, again)
    n_changed = 0
    for clip, share in zip(mixed, shared, strict=True):
        parts = torch.bincount(clip.long().flatten(), minlength=6) / clip.numel()
        torch.testing.assert_close(parts.float(), share)
        line = clip.select(axis - 1, 0).flatten() if axis == 3 else clip[0, :, 0]
        assert (line.diff() != 0).sum() <= 1  # one edge
        n_changed += int(share.max() < 1)
    assert 1 <= n_changed <= 5
    torch.testing.assert_close(shared.sum(dim=1), torch.ones(6))


def test_partners_are_of_other_classes() -> None:
    labels = torch.eye(3).repeat_interleave(4, dim=0)
    torch.manual_seed(0)
    found = [augment.partners(labels) for _ in range(50)]
    assert all((other != torch.arange(12)).all() for other in found)
    same = torch.stack([(labels * labels[other]).sum(dim=1) for other in found]).mean()
    assert same < 0.05  # 3 in 11 by chance; three neighbours of one class in a row are rare
    assert augment.partners(torch.ones(2, 1)).tolist() == [1, 0]
    assert augment.partners(torch.ones(1, 1)).tolist() == [0]


def test_mask_blanks_one_stripe_each_way() -> None:
    torch.manual_seed(1)
    x = torch.arange(4 * 16 * 64, dtype=torch.float32).reshape(4, 1, 16, 64)
    blank = augment.mask(x, 8, 24) != x
    rows, columns = blank.all(dim=3).sum(dim=2), blank.all(dim=2).sum(dim=2)
    assert rows.max() <= 8
    assert columns.max() <= 24
    assert blank.any()


def test_a_crop_is_rarely_silence() -> None:
    x = torch.full((4000, 1, 3, 100), -80.0)
    x[..., 40:50] = 0.0
    torch.manual_seed(0)
    heard = (augment.crop(x, 50) > -1).any(dim=3)[:, 0, 0].float().mean()
    chance = 59 / 100  # a stretch of 50 in a circle of 100 meets ten frames so often
    assert float(heard) == pytest.approx(1 - (1 - chance) ** 2, abs=0.03)


def test_crop_and_views() -> None:
    x = torch.arange(10.0).expand(2, 1, 3, 10)
    torch.manual_seed(0)
    for part in augment.crop(x[:1].expand(50, 1, 3, 10).contiguous(), 4):
        assert torch.equal(part, (part[0, 0, 0] + torch.arange(4.0)).expand(1, 3, 4) % 10)
    assert augment.crop(x, 99).shape == x.shape
    views = augment.rolled_views(x, 5)
    assert [view[0, 0, 0, 0].item() for view in views] == [0, 2, 4, 6, 8]
