"""Every front end on the paths that torch computes, chunked on the CPU and differentiable, against `reference`."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from cumel.kernels import PRESETS, FeatureConfig, autograd, cpu, reference, tensors
from cumel.kernels.kinds import FEATURES
from cumel.kernels.tensors import Padded

from support.drawn import any_config
from support.signals import Oracle

BACKENDS = {"cpu": cpu, "autograd": autograd}
SIGNALS = ("noise", "quiet", "silence", "DC and noise", "drift", "quiet beside loud", "full scale")
either = pytest.mark.parametrize("backend", BACKENDS)
FAMILIES = ("whisper", "kaldi", "parakeet", "seamless", "passt", "gemma3n", "speechbrain", "univnet", "pop2piano")


def drawn(kind: str, n_samples: int, seed: int = 0) -> np.ndarray:
    """Make a clip that is hard for what front ends do besides a spectrogram."""
    rng = np.random.default_rng(seed)
    noise, t = rng.standard_normal(n_samples), np.linspace(0.0, 1.0, n_samples)
    if kind in ("quiet", "full scale"):
        most = 3 if kind == "quiet" else 32767
        return rng.integers(-most - 1, most + 1, n_samples).astype(np.int16)
    made = {
        "noise": 0.3 * noise,
        "silence": 0.0 * t,
        "DC and noise": 0.4 + 0.01 * noise,
        "drift": t - 0.5 + 0.01 * noise,
        "quiet beside loud": 0.3 * noise * np.where(t < 0.5, 1e-4, 1.0),
    }
    return made[kind].astype(np.float32)


def padded(clips: list[np.ndarray], past: float = 0.0) -> Padded:
    """Put clips into one tensor, with `past` after their ends."""
    samples = np.full((len(clips), max(map(len, clips))), past, clips[0].dtype)
    for row, clip in zip(samples, clips, strict=True):
        row[: len(clip)] = clip
    return Padded(torch.from_numpy(samples), [len(clip) for clip in clips])


def compute(backend: str, function: str, clips: Padded, cfg: FeatureConfig) -> np.ndarray:
    """Call a backend as the public functions do."""
    return FEATURES[function].on(BACKENDS[backend])(clips, cfg.decibels if function == "mel_image" else cfg).numpy()


def rows_first(cfg: FeatureConfig) -> FeatureConfig:
    """Return a config as backends take it: they know one layout."""
    return cfg.replace(time_major=False)


def awkward(cfg: FeatureConfig) -> list[int]:
    """Return lengths: the least, and around where a frame more begins."""
    least, hop = cfg.least_samples, cfg.hop_length
    return [least, least + hop - 1, least + hop, 3 * cfg.n_fft + 17]


@either
@pytest.mark.parametrize("kind", SIGNALS)
@pytest.mark.parametrize("name", PRESETS)
def test_presets_equal_the_reference(name: str, kind: str, backend: str) -> None:
    cfg = rows_first(PRESETS[name])
    clips = [drawn(kind, n, seed=n) for n in awkward(cfg)]
    batch = {function: compute(backend, function, padded(clips), cfg) for function in FEATURES}
    for i, clip in enumerate(clips):
        n_frames = cfg.n_frames(len(clip))
        Oracle(clip, cfg).check_all(lambda function: batch[function][i, :, :n_frames])  # noqa: B023


@settings(max_examples=150)
@given(any_config(), st.data())
def test_any_config_equals_the_reference(cfg: FeatureConfig, data: st.DataObject) -> None:
    cfg = rows_first(cfg)
    lengths = st.integers(cfg.least_samples, cfg.least_samples + 4 * cfg.n_fft)
    kind = data.draw(st.sampled_from(SIGNALS), "kind")
    clips = [drawn(kind, n, seed=n) for n in data.draw(st.lists(lengths, min_size=1, max_size=3), "lengths")]
    for backend in BACKENDS:
        batch = {function: compute(backend, function, padded(clips), cfg) for function in FEATURES}
        for i, clip in enumerate(clips):
            n_frames = cfg.n_frames(len(clip))
            Oracle(clip, cfg).check_all(lambda function: batch[function][i, :, :n_frames])  # noqa: B023
