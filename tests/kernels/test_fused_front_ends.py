"""The CUDA path, on the emulator, for front ends of pretrained models: each clip within the tolerances of `signals`."""

import numpy as np
import pytest
import torch

from cumel.kernels import FeatureConfig, Normalize, plan
from cumel.kernels.cuda import Clips

from simt.emulator import compile_many
from support.emulation import FEATURES, Emulated, kernels, together
from support.model_clips import CONFIGS, SIGNALS, awkward, clip_of
from support.pairwise import running
from support.signals import Oracle

# By default, one of each way that samples and levels take, as each kernel takes seconds to compile.
USUAL = ("stft", "log_mel")
BY_DEFAULT = ("kaldi", "seamless", "parakeet", "passt", "odd frame", "bands", "clip around cuFFT")
OF_INT16 = ("kaldi", "passt", "clip around cuFFT")
THOROUGH = ("univnet", "clip around cuFFT")  # all features
every_front_end = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in BY_DEFAULT else [pytest.mark.exhaustive]) for name in CONFIGS]
)
emulated = Emulated()


def as_float(clip: np.ndarray) -> np.ndarray:
    return clip.astype(np.float32) / 32768 if clip.dtype == np.int16 else clip


def features_of(name: str) -> list[str]:
    return [feature for feature in FEATURES if feature in USUAL or (name in THOROUGH and feature != "half")]


@pytest.fixture(scope="module", autouse=True)
def compiled(request: pytest.FixtureRequest) -> None:
    """Use all processors, once."""
    names = running(request, "name")
    every = {kernel for name in names for kernel in kernels(CONFIGS[name], features_of(name))}
    int16 = (name for name in names if name in OF_INT16)
    compile_many(every | {kernel for name in int16 for kernel in kernels(CONFIGS[name], USUAL, int16=True)})


@pytest.mark.parametrize("kind", SIGNALS)
@every_front_end
def test_equals_the_reference(name: str, kind: str) -> None:
    """Nothing past a clip's end is heard: there is NaN, or loud noise of 16 bits."""
    cfg = CONFIGS[name]
    clips = [clip_of(kind, n) for n in awkward(cfg)]
    if name not in OF_INT16:
        clips = [as_float(clip) for clip in clips]
    y, lengths = together(clips, packed=False)
    features = USUAL if kind == "full scale" else features_of(name)
    batch = {feature: emulated(feature, y, cfg, lengths) for feature in features}
    for i, clip in enumerate(clips):
        oracle, n_frames = Oracle(clip, cfg), cfg.n_frames(len(clip))
        got = {feature: out[i, :, :n_frames] for feature, out in batch.items()}
        if len(got) > len(USUAL):
            oracle.check_all(got.__getitem__)
        else:
            oracle.check_stft(got["stft"])
            oracle.check_log_mel(got["log_mel"])


@every_front_end
def test_a_clip_has_the_same_bits_in_any_company(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, packed at odd samples, as int16, in large blocks, and with lengths on the device; a wrong one is NaN."""
    cfg = CONFIGS[name]
    pcm = [clip_of("full scale", n) for n in awkward(cfg)]
    clips = [as_float(clip) for clip in pcm]
    kinds = (clips, pcm) if name in OF_INT16 else (clips,)
    for feature in USUAL:
        alone = [emulated(feature, clip, cfg) for clip in clips]
        outputs = [emulated(feature, *_given(each, cfg, packed)) for each in kinds for packed in (False, True)]
        y, lengths = together(clips, packed=False)
        there = Clips.of(torch.from_numpy(y), torch.tensor([*lengths[:-1], y.shape[1] + 1]), cfg)
        outputs.append(getattr(emulated.frontend, feature)(there, cfg).numpy())
        assert np.isnan(outputs[-1][-1]).all()
        with monkeypatch.context() as patch:
            patch.setattr(plan, "FEW_BLOCKS", 0)
            patch.setattr(plan, "ONE_BLOCK_BYTES", 0)
            outputs.append(emulated(feature, y, cfg, lengths))
        for out in outputs:
            for ours, expected in list(zip(out, alone, strict=True))[: 3 if out is outputs[-2] else 4]:
                np.testing.assert_array_equal(ours[:, : expected.shape[1]], expected)


def _given(clips: list[np.ndarray], cfg: FeatureConfig, packed: bool) -> tuple[np.ndarray, FeatureConfig, list[int]]:
    y, lengths = together(clips, packed=packed)
    return y, cfg, lengths


@every_front_end
def test_past_a_clips_end(name: str) -> None:
    """0 in a spectrum and after `normalize`, else silence, at the clip's own floor, less `mean`, by `std`."""
    cfg = CONFIGS[name]
    clips = [clip_of("noise", n) for n in awkward(cfg)[:2]]
    y, lengths = together(clips, packed=False)
    for feature in USUAL:
        past = emulated(feature, y, cfg, lengths)[1, :, cfg.n_frames(lengths[1]) :]
        assert past.size
        if feature == "stft" or cfg.normalize is not None:
            assert not past.any()
            continue
        levels = cfg.replace(mean=0.0, std=1.0).levels if cfg.is_per_band else cfg.levels
        plain = cfg.replace(mean=0.0, std=1.0) if cfg.is_per_band else cfg
        floor = max(levels.silence, float(emulated(feature, clips[1], plain).max()) - levels.span)
        expected = np.full(cfg.n_mels, floor)
        if cfg.is_per_band:
            expected = (floor - np.array(cfg.mean)) / np.array(cfg.std)
        np.testing.assert_allclose(past, np.broadcast_to(expected[:, None], past.shape), rtol=1e-6, atol=2e-5)


@pytest.mark.parametrize("name", ["kaldi", "passt", "odd frame", "frame around cuFFT"])
def test_only_frames_that_hold_a_sample_hear_it(name: str) -> None:
    """A frame is deaf past its `frame_length` samples, and in front of it but for pre-emphasis of the clip."""
    cfg = CONFIGS[name].replace(top_db=None, normalize=None, pad_mode="constant")
    y = clip_of("noise", cfg.least_samples + 12 * cfg.hop_length)
    expected, at = emulated("stft", y, cfg), len(y) // 2
    y[at] = np.nan
    begins = np.arange(expected.shape[1]) * cfg.hop_length - cfg.edges[0] + cfg.n_dropped
    holds = (begins <= at + (cfg.preemphasis_of != "frame")) & (at < begins + cfg.frame_length)
    out = emulated("stft", y, cfg)
    assert np.isnan(out[:, holds]).all()
    np.testing.assert_array_equal(out[:, ~holds], expected[:, ~holds])
    assert holds.any()
    assert not holds.all()


@pytest.mark.parametrize("name", ["seamless", "clip around cuFFT", "bands"])
def test_half_is_the_float32_rounded(name: str) -> None:
    cfg = CONFIGS[name]
    y, lengths = together([clip_of("noise", n) for n in awkward(cfg)], packed=True)
    half = emulated("half", y, cfg, lengths)
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, emulated("log_mel", y, cfg, lengths).astype(np.float16))


@pytest.mark.parametrize("per", ["band", "clip"])
def test_statistics_of_many_values_far_from_zero(per: str) -> None:
    """Levels near -1e4 that differ by little keep their digits; a band that never changes is 0, whatever eps is."""
    from cumel.kernels.cuda import _batch, _prepared

    cfg = CONFIGS["seamless"].replace(n_mels=3, normalize=Normalize(per=per, ddof=1))
    n_frames = 5000
    x = (np.random.default_rng(0).standard_normal((2, 3, n_frames)) * 2.0**-6 - 1e4).astype(np.float32)
    if per == "band":
        x[:, 1] = x[:, 1, :1]
    n_samples = cfg.least_samples + (n_frames - 1) * cfg.hop_length
    clips = Clips.of(torch.zeros(2, n_samples), None, cfg)
    prepared = _prepared(cfg, plan.Stage.DECIBEL, plan.Form.FLOAT, False, torch.device("cpu"))
    out = torch.from_numpy(x.copy())
    arguments = (*_batch(clips, prepared, cfg, 16), *prepared.after, out, out)
    emulated.launcher.launch(*plan.statistics(cfg, 2, plan.Form.FLOAT), arguments)
    for ours, exact in zip(out.numpy(), x.astype(np.float64), strict=True):
        axis = 1 if per == "band" else None
        deviation = exact.std(axis, ddof=1, keepdims=True)
        expected = (exact - exact.mean(axis, keepdims=True)) / np.where(deviation == 0, 1.0, deviation)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-6)
