"""The CPU path in C++ for the front ends of pretrained models: every preset and field against `reference`."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from cumel.kernels import PRESETS, FeatureConfig, native, reference
from cumel.kernels.plan import RADICES
from cumel.kernels.rules import Normalize

from support.front_ends import SIGNALS, Expected, clip, fields, lengths
from support.native_library import compute, on, targets

FEATURES = ("stft", "spectrogram", "melspectrogram", "log_mel")
PLANNED = {name: cfg for name, cfg in PRESETS.items() if cfg.n_fft in RADICES}
CASES = [(name, kind, n) for name, cfg in PLANNED.items() for kind in SIGNALS for n in lengths(cfg)]
IMAGE_UNEQUAL = 1e-2  # share of the pixels that may lie one level off; 2.4e-3: wespeaker, by its quietest value
ODD = [
    FeatureConfig(sr=16000, n_fft=256, n_mels=5, n_mfcc=5, fmin=200.0, fmax=1700.0),
    FeatureConfig(sr=16000, n_fft=400, n_mels=16, n_mfcc=16, power=1),
    FeatureConfig(sr=16000, n_fft=512, n_mels=40, htk=True),
    FeatureConfig(sr=16000, n_fft=1024, n_mels=1, n_mfcc=1),
]


def test_all_but_one_preset_has_a_plan() -> None:
    assert {name for name, cfg in PRESETS.items() if not native.computes(cfg)} == {"inkling"}


def check(y: np.ndarray, cfg: FeatureConfig, features: Sequence[str] = FEATURES) -> None:
    """Compare features of a clip with the reference, by each instruction set of this machine."""
    expected = Expected(y, cfg)
    for target in targets():
        with on(target):
            for feature in features:
                expected.check(feature, compute(feature, y, cfg))


@pytest.mark.pairwise
@pytest.mark.parametrize(("name", "kind", "length"), CASES)
def test_presets_equal_the_reference(name: str, kind: str, length: str) -> None:
    cfg = PLANNED[name]
    check(clip(kind, lengths(cfg)[length], cfg.sr), cfg)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_config_equals_the_reference(data: st.DataObject) -> None:
    cfg = data.draw(st.sampled_from(ODD), "cfg")
    cfg = cfg.replace(**data.draw(fields(cfg.n_fft, cfg.n_mels), "fields"))
    n_samples = st.integers(cfg.least_samples, cfg.least_samples + 8 * cfg.n_fft)
    sizes = data.draw(st.lists(n_samples, min_size=1, max_size=3), "lengths")
    kind = data.draw(st.sampled_from(SIGNALS), "kind")
    clips = [clip(kind, n, cfg.sr) for n in sizes]
    expected = [Expected(y, cfg) for y in clips]
    with on(data.draw(st.sampled_from(targets()), "target")):
        for feature in FEATURES:
            together = compute(feature, np.concatenate(clips), cfg, sizes)
            for each, features in zip(expected, together, strict=True):
                each.check(feature, features[:, : cfg.n_frames(len(each.y))])


@pytest.mark.parametrize("hop_length", [1, 3, 160, 399, 400, 401, 2**31])
@pytest.mark.parametrize("kind", ["dc", "full scale"])
def test_any_hop(hop_length: int, kind: str) -> None:
    cfg = PRESETS["wespeaker_raw"].replace(hop_length=hop_length)
    check(clip(kind, 400 + 20 * min(hop_length, 401), cfg.sr), cfg, ["log_mel"])


@pytest.mark.parametrize("target", targets())
def test_samples_past_a_frame_are_no_part_of_it(target: str) -> None:
    """A left-aligned frame of 400 samples in 512: neither NaN nor infinity after it is heard, nor what came before."""
    cfg = PRESETS["kaldi"]
    y = clip("noise", 4000, cfg.sr)
    with on(target):
        clean = compute("melspectrogram", y, cfg)
        y[[1000, 1001]] = np.nan, np.inf
        touched = ~np.isfinite(compute("melspectrogram", y, cfg)).all(axis=0)
        starts = np.arange(clean.shape[1]) * cfg.hop_length
        hears = (starts <= 1001) & (starts + cfg.win_length > 1000)
        np.testing.assert_array_equal(touched, hears)
        np.testing.assert_array_equal(compute("melspectrogram", y, cfg)[:, ~hears], clean[:, ~hears])


@pytest.mark.parametrize("name", PLANNED)
def test_past_the_end(name: str) -> None:
    """Silence that is lifted to the clip's floor, or 0 where the clip is normalized; before the logarithm, 0."""
    cfg = PLANNED[name]
    n = cfg.least_samples + 5 * cfg.hop_length
    y = np.stack([clip("noise", 2 * n, cfg.sr)] * 2)
    features = partial(compute, y=y, cfg=cfg, lengths=[2 * n, n])
    assert not features("melspectrogram")[1, :, cfg.n_frames(n) :].any()
    own, after = np.split(features("log_mel")[1], [cfg.n_frames(n)], axis=1)
    levels = cfg.levels
    floor = max(levels.silence, own.max() - levels.span)
    expected = 0.0 if cfg.normalize else floor
    np.testing.assert_allclose(after, expected, rtol=2e-7, atol=0)
    assert cfg.normalize or own.min() >= after.max()


@pytest.mark.parametrize("normalize", [Normalize(per="clip"), Normalize(ddof=1), None])
def test_a_mean_and_deviation_of_each_band(normalize: Normalize | None) -> None:
    mean, std = np.linspace(-5, 5, 80), np.linspace(1, 3, 80)
    plain = PRESETS["kaldi"].replace(normalize=normalize)
    cfg = plain.replace(mean=mean.tolist(), std=std.tolist())
    y = np.stack([clip("noise", 8000, cfg.sr)] * 2)
    before, after = (compute("log_mel", y, each, [8000, 3000]) for each in (plain, cfg))
    expected = (before - mean[:, None]) / std[:, None]
    if normalize:
        expected[1, :, cfg.n_frames(3000) :] = 0
    np.testing.assert_allclose(after, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", [name for name, cfg in PLANNED.items() if cfg.normalize])
@pytest.mark.parametrize("n_frames", [1, 50])
@pytest.mark.parametrize("per", ["band", "clip"])
def test_what_never_changes_becomes_zero(name: str, n_frames: int, per: str) -> None:
    cfg = PLANNED[name]
    cfg = cfg.replace(normalize=Normalize(**{**vars(cfg.normalize), "per": per}))
    y = np.zeros(cfg.least_samples + (n_frames - 1) * cfg.hop_length, np.float32)
    assert not compute("log_mel", y, cfg).any()


@pytest.mark.parametrize("name", PLANNED)
def test_images_are_those_of_decibels(name: str) -> None:
    cfg = PLANNED[name].decibels
    y = clip("noise", cfg.least_samples + 20 * cfg.hop_length, cfg.sr)
    image, expected = compute("mel_image", y, cfg), reference.mel_image(y, cfg)
    difference = np.abs(image.astype(int) - expected)
    assert difference.max() <= 1
    assert np.count_nonzero(difference) <= IMAGE_UNEQUAL * image.size
