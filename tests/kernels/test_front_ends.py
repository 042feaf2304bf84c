"""Every front end on the paths that torch computes, chunked on the CPU and differentiable, against `reference`."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from cumel import kernels
from cumel.kernels import PRESETS, FeatureConfig, Normalize, autograd, cpu, native, reference, tensors
from cumel.kernels.kinds import FEATURES
from cumel.kernels.tensors import Padded

from support.drawn import any_config
from support.signals import Oracle

BACKENDS = {"cpu": cpu, "autograd": autograd}
SIGNALS = ("noise", "quiet", "silence", "DC and noise", "drift", "quiet beside loud", "full scale")
either = pytest.mark.parametrize("backend", BACKENDS)
BANDS = PRESETS["gigaam"].replace(mean=tuple(range(64)), std=tuple(range(1, 65)), top_db=30.0)
CLIPS = {name: PRESETS[name] for name in ("whisper", "kaldi", "seamless", "parakeet", "passt", "gemma3n", "pop2piano")}
CLIPS |= {"bands": BANDS, "one deviation": PRESETS["espnet"].replace(normalize=Normalize(per="clip"), mean=1.0)}


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


@pytest.mark.parametrize("name", CLIPS)
def test_a_clip_in_a_batch_has_its_own_bits(name: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing past a clip's end is heard; neither its mates, nor threads, nor blocks of bands change a bit."""
    assert threads
    cfg = rows_first(CLIPS[name])
    clips = [drawn("quiet beside loud", n, seed=n) for n in (*awkward(cfg), 8 * cfg.n_fft + 5)]
    alone = {f: [compute("cpu", f, padded([clip]), cfg)[0] for clip in clips] for f in FEATURES}
    together = {function: compute("cpu", function, padded(clips, past=np.nan), cfg) for function in FEATURES}
    monkeypatch.setattr(cpu, "chunk_rows", lambda _: 3)
    blocks = compute("cpu", "log_mel", padded(clips), cfg)
    for i, clip in enumerate(clips):
        n_frames = cfg.n_frames(len(clip))
        for function in FEATURES:
            np.testing.assert_array_equal(together[function][i, :, :n_frames], alone[function][i])
        if cfg.normalize is None or cfg.normalize.per == "band":
            np.testing.assert_array_equal(blocks[i, :, :n_frames], alone["log_mel"][i])


@either
@pytest.mark.parametrize("name", CLIPS)
def test_past_a_clips_end(name: str, backend: str) -> None:
    """0 without a logarithm and after `normalize`, else silence: at the clip's own floor, less `mean`, by `std`."""
    cfg = rows_first(CLIPS[name])
    clips = [drawn("noise", n, seed=n) for n in (8 * cfg.n_fft, cfg.least_samples, 3 * cfg.n_fft)]
    batch = padded(clips, past=np.nan)
    for function in ("stft", "spectrogram", "melspectrogram", "mel_image"):
        values = compute(backend, function, batch, cfg)
        assert not any(values[i, :, cfg.n_frames(len(clip)) :].any() for i, clip in enumerate(clips))
    log_mel, cepstra = (compute(backend, function, batch, cfg) for function in ("log_mel", "mfcc"))
    whole = reference.log_mel(np.zeros(8 * cfg.n_fft), cfg.replace(normalize=None))[:, 0]
    for i, clip in enumerate(clips):
        n_frames = cfg.n_frames(len(clip))
        expected = np.zeros(cfg.n_mels) if cfg.normalize else whole
        if cfg.top_db is not None and cfg.normalize is None and cfg.log is not None:
            plain = cfg.replace(mean=0.0, std=1.0)
            mean, std = np.array(cfg.mean), np.array(cfg.std)
            levels = plain.levels
            floor = reference.log_mel(clip, plain).max() - levels.span
            expected = np.maximum(expected, (floor - mean) / std)
        past = log_mel[i, :, n_frames:]
        np.testing.assert_allclose(past, np.broadcast_to(expected[:, None], past.shape), rtol=0, atol=2e-5)
        assert not cfg.normalize or not (past.any() or cepstra[i, :, n_frames:].any())


@either
@pytest.mark.parametrize("per", ["band", "clip"])
@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_what_never_changes_is_normalized_to_zero(backend: str, per: str, eps: float) -> None:
    cfg = rows_first(PRESETS["speech2text"].replace(normalize=Normalize(per=per, eps=eps, ddof=1)))
    for n_samples in (400, 16000):  # of one frame there is no deviation
        clips = padded([np.zeros(n_samples, np.float32), np.full(n_samples, 0.1, np.float32)])
        assert not compute(backend, "log_mel", clips, cfg)[0].any()
    one = padded([drawn("noise", 400)])
    assert np.isfinite(compute(backend, "log_mel", one, cfg)).all()
    assert per == "clip" or not compute(backend, "log_mel", one, cfg).any()


@either
def test_samples_between_frames_are_not_heard(backend: str) -> None:
    """What lies before a frame or past a window at its left is not part of it: not even as NaN times 0."""
    cfg = rows_first(PRESETS["phi4"].replace(hop_length=600))
    y = drawn("noise", 5000)
    expected = compute(backend, "log_mel", padded([y]), cfg)
    between = np.arange(5000) % 600 >= cfg.frame_length
    y[between] = np.nan
    np.testing.assert_array_equal(compute(backend, "log_mel", padded([y]), cfg), expected)


@pytest.mark.parametrize("name", PRESETS)
def test_chunks_meet_without_a_seam(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = rows_first(PRESETS[name])
    clip = drawn("noise", cfg.least_samples + 10 * cfg.hop_length + 3)
    monkeypatch.setattr(tensors, "CHUNK_SAMPLES", 3 * max(cfg.n_fft, cfg.hop_length))
    Oracle(clip, cfg).check_all(lambda function: compute("cpu", function, padded([clip]), cfg)[0])


@pytest.mark.parametrize("padding", [(3000, 0), (0, 3000), (3000, 3000), (3000, -10), (0, -600)], ids=str)
@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "symmetric"])
@pytest.mark.parametrize("preemphasis_of", ["frame", "clip", "valid"])
def test_frames_that_lie_in_the_padding(padding: tuple[int, int], pad_mode: str, preemphasis_of: str) -> None:
    """Chunks of one frame, of which some hold no sample of the clip and some hold all of them."""
    cfg = rows_first(PRESETS["kaldi"]).replace(
        padding=padding, pad_mode=pad_mode, preemphasis_of=preemphasis_of, hop_length=10**6, n_mels=40
    )
    for shift in range(0, sum(padding) + 1200, 390):
        moved = cfg.replace(padding=(max(padding[0] - shift, 0), padding[1]))
        for n_samples in (moved.least_samples, moved.least_samples + 1200):
            clip = drawn("noise", n_samples, seed=shift)
            for backend in BACKENDS:
                Oracle(clip, moved).check_stft(compute(backend, "stft", padded([clip]), moved)[0])


@pytest.mark.parametrize("name", ["whisper", "kaldi", "parakeet"])
@pytest.mark.parametrize("function", FEATURES)
def test_the_functions_lay_results_out_as_the_config_says(
    name: str, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames in rows with `time_major`, for arrays and tensors, in `out` or not, with a gradient or without."""
    monkeypatch.setattr(native, "computes", lambda _: False)
    cfg, public = PRESETS[name], getattr(kernels, function)
    y = np.stack([drawn("noise", 4000, seed) for seed in range(2)])
    expected = compute("cpu", function, padded(list(y)), cfg)
    expected = expected.swapaxes(1, 2) if cfg.time_major else expected
    for lengths in (None, [4000, 4000]):
        np.testing.assert_array_equal(public(y, name, lengths), expected)
        np.testing.assert_array_equal(public(torch.from_numpy(y), cfg, lengths), expected)
    out = np.empty_like(expected)
    assert public(y, cfg, out=out) is out
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(public(y.ravel(), cfg, [4000, 4000]), expected)
    traced = public(torch.from_numpy(y).requires_grad_(), cfg).detach()
    assert traced.shape == expected.shape
    assert public(y[:0], cfg).shape == expected[:0].shape
