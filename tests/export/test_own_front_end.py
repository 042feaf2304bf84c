"""A front end as a graph of its own: every preset and any config, clips of any lengths in one batch."""

from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings, strategies as st
from onnxscript import ir

from cumel import PRESETS, FeatureConfig, Normalize
from cumel.export.check.operators import without_cuda_kernel
from cumel.export.check.oracle import expected
from cumel.export.check.ragged import check_front_end
from cumel.export.graph.interface import OPSETS
from cumel.export.graph.ragged import front_end
from cumel.kernels import reference
from cumel.kernels.config import CHUNK_SAMPLES
from cumel.kernels.dft import narrowed

from support.drawn import any_config
from support.recordings import TINY
from support.signals import signal

NAMES = ["features", "features_lens"]

# A clip alone and the same clip in a batch: products and sums of other sizes may add up in another order.
same_but_rounding = partial(np.testing.assert_allclose, rtol=2e-6, atol=2e-6)


def session_of(cfg: FeatureConfig, opset: int = 18) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = ir.to_proto(front_end(cfg, opset)).SerializeToString()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


session = cache(session_of)


def run(cfg: FeatureConfig, *clips: np.ndarray, longest: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features [batch, n_mels, n_frames] of clips in one batch, filled up with NaN, and their frames."""
    batch = np.full((len(clips), max(longest, *map(len, clips))), np.nan, np.float32)
    for row, y in zip(batch, clips, strict=True):
        row[: len(y)] = y
    inputs = {"waveforms": batch, "waveforms_lens": np.array([len(y) for y in clips])}
    results: Any = session(cfg).run(NAMES, inputs)
    features, lens = results
    assert features.dtype == np.float32
    assert lens.dtype == np.int64
    return features.swapaxes(1, 2) if cfg.time_major else features, lens


def check(cfg: FeatureConfig, *clips: np.ndarray) -> None:
    """Compare each clip of a batch with the reference, and what is past its end."""
    features, lens = run(cfg, *clips)
    assert features.shape[1:] == (cfg.n_mels, max(1, cfg.n_frames(max(map(len, clips)))))
    for i, y in enumerate(clips):
        n = cfg.n_frames(len(y))
        assert lens[i] == n
        if n:
            wanted = expected(y, cfg)
            np.testing.assert_array_less(np.abs(features[i, :, :n] - wanted.values), wanted.tolerance + 1e-30)
            past = np.broadcast_to(wanted.past, (cfg.n_mels, features.shape[2] - n))
            steps = np.minimum(wanted.tolerance, 1).max()  # the floor moves with the clip's maximum
            np.testing.assert_allclose(features[i, :, n:], past, rtol=1e-6, atol=steps)
        assert np.isfinite(features[i]).all()


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_the_references(name: str, tmp_path: Path) -> None:
    """Silence, noise, tones and a drift, from the shortest clip on, alone and in a batch."""
    cfg = PRESETS[name]
    ir.save(front_end(cfg), tmp_path / "fe.onnx")
    report = check_front_end(tmp_path / "fe.onnx", cfg)
    assert 0 < report["share_of_tolerance"] < 1
    assert min(report["lengths"]) == cfg.least_samples


@pytest.mark.parametrize("name", PRESETS)
def test_both_opsets_compute_the_same(name: str) -> None:
    cfg = PRESETS[name]
    y = np.stack([signal("noise", 9000, cfg.sr), signal("chirp", 9000, cfg.sr)])
    lens = np.array([9000, 7001])
    made: list[Any] = [session_of(cfg, opset).run(NAMES, {"waveforms": y, "waveforms_lens": lens}) for opset in OPSETS]
    assert list(made[0][1]) == [cfg.n_frames(9000), cfg.n_frames(7001)]
    for old, new in zip(*made, strict=True):
        same_but_rounding(old, new)


@pytest.mark.parametrize("name", ["whisper", "kaldi_no_snip", "parakeet", "funasr", "passt", "gemma4", "esc50"])
def test_every_length_around_the_edges_of_frames(name: str) -> None:
    cfg = PRESETS[name]
    noise, least = signal("noise", 4 * cfg.n_fft, cfg.sr), cfg.least_samples
    near = [least + k * cfg.hop_length + d for k in (1, 3) for d in (-1, 0, 1)]
    check(cfg, *(noise[:n] for n in (least, least + 1, least + 2, *near, len(noise))))


@pytest.mark.parametrize("name", ["whisper", "speechbrain", "clvp", "speech2text"])
def test_a_clip_longer_than_a_chunk(name: str) -> None:
    cfg = PRESETS[name].replace(hop_length=4000)
    check(cfg, signal("noise", CHUNK_SAMPLES + 12345, cfg.sr), signal("chirp", cfg.sr, cfg.sr))


@pytest.mark.parametrize("pad_mode", ["reflect", "symmetric"])
def test_clips_are_mirrored_as_often_as_it_takes(pad_mode: str) -> None:
    cfg = TINY.replace(pad_mode=pad_mode, padding=(300, 411))
    noise = signal("noise", 3000, cfg.sr)
    check(cfg, *(noise[:n] for n in (1, 2, 3, 5, 100, 255, 3000)))


def test_a_clip_in_a_batch_is_the_clip_alone() -> None:
    for name in ("whisper", "kaldi", "parakeet", "seamless", "speech2text"):
        cfg = PRESETS[name]
        noise = signal("noise", 16000, 16000)
        clips = [noise, np.float32(1e-3) * noise[:9000], noise[:1000]]
        together, lens = run(cfg, *clips)
        for i, y in enumerate(clips):
            alone, _ = run(cfg, y)
            same_but_rounding(together[i, :, : lens[i]], alone[0])


def test_what_has_no_frame_has_silence() -> None:
    noise = signal("noise", 8000, 16000)
    for cfg in (PRESETS["kaldi"], PRESETS["speech2text"], PRESETS["passt"], PRESETS["whisper"]):
        least = cfg.least_samples
        features, lens = run(cfg, noise, noise[: least - 1])
        assert list(lens) == [cfg.n_frames(8000), 0]
        silence = 0.0 if cfg.normalize else cfg.levels.silence
        np.testing.assert_allclose(features[1], silence, rtol=1e-6)
        alone, lens = run(cfg, noise[: least - 1], longest=least - 1)
        assert alone.shape == (1, cfg.n_mels, 1)
        assert list(lens) == [0]


@pytest.mark.parametrize(
    "by",
    [
        Normalize(),
        Normalize(ddof=1),
        Normalize(ddof=1, eps=1e-5),
        Normalize(ddof=1, eps=1e-7, eps_in="var"),
        Normalize(per="clip"),
        Normalize(per="clip", ddof=1, eps=1e-3),
        Normalize(variance=False),
        Normalize(per="clip", variance=False),
    ],
    ids=str,
)
@pytest.mark.parametrize("time_major", [False, True])
def test_statistics_are_of_each_clips_own_frames(by: Normalize, time_major: bool) -> None:
    cfg = TINY.replace(normalize=by, time_major=time_major, log="ln", top_db=None)
    noise = signal("noise", 6000, cfg.sr)
    check(cfg, noise, noise[:999], signal("silence", 4000, cfg.sr), noise[:1], signal("chirp", 5000, cfg.sr))
    scaled = cfg.replace(mean=tuple(np.linspace(-1, 1, 16)), std=tuple(np.linspace(0.5, 2, 16)))
    features, _ = run(scaled, noise, noise[:999])
    assert (features[1, :, scaled.n_frames(999) :] == 0).all()
    wanted = (reference.log_mel(noise, cfg).T - scaled.mean) / scaled.std
    np.testing.assert_allclose(features[0], wanted.T, rtol=0, atol=1e-4)


FIELDS: dict[str, dict[str, Any]] = {
    "scale": {"scale": 32768.0},
    "frame pre-emphasis and mean": {"preemphasis": 0.97, "remove_dc": True, "window": "hamming"},
    "all of it": {"preemphasis": 1.0, "remove_dc": True},
    "clip": {"preemphasis": 0.9, "preemphasis_of": "clip", "pad_mode": "reflect"},
    "valid": {"preemphasis": 0.9, "preemphasis_of": "valid", "pad_mode": "symmetric"},
    "mean of a frame that is longer than its window": {"remove_dc": True, "win_length": 101},
    "mean, many hops": {"remove_dc": True, "preemphasis": 0.97, "window": "hamming", "hop_length": 5},
    "left": {"align": "left", "win_length": 201, "window": "hamming"},
    "left, a prime number of samples": {"align": "left", "win_length": 101, "remove_dc": True, "periodic": False},
    "narrow": {"win_length": 101, "pad_mode": "reflect"},
    "narrow and uncentred": {"win_length": 101, "center": False},
    "cut at the end": {"padding": (100, -37)},
    "prime n_fft": {"n_fft": 257, "win_length": 200, "align": "left"},
    "sparse": {"hop_length": 700, "remove_dc": True},
    "bin offset": {"bin_offset": 1e-3, "power": 1.0},
    "bands": {"mean": tuple(np.linspace(-50, 0, 16)), "std": tuple(np.linspace(1, 30, 16))},
    "no logarithm": {"log": None, "mean": 0.25, "std": 2.0},
    "offset": {"log": "log10", "offset": 1e-3, "amin": 0.0, "top_db": 20.0},
    "left triangles": {"triangles": "left", "htk": True, "norm": None},
}


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("time_major", [False, True])
def test_every_field(name: str, time_major: bool) -> None:
    cfg = TINY.replace(time_major=time_major, **FIELDS[name])
    noise = signal("noise", 5000, cfg.sr)
    check(cfg, noise, noise[: cfg.least_samples], np.float32(0.3) + noise[:2222], signal("silence", 1500, cfg.sr))


@pytest.mark.filterwarnings("ignore:n_fft=.* filters")
def test_empty_filters_read_silence() -> None:
    cfg = TINY.replace(n_mels=128, align="left", win_length=200)
    check(cfg, signal("noise", 3000, cfg.sr))


@settings(max_examples=30)
@given(cfg=any_config(), n_samples=st.lists(st.integers(1, 4000), min_size=1, max_size=3))
def test_any_config(cfg: FeatureConfig, n_samples: list[int]) -> None:
    check(cfg, *(signal("noise", n, cfg.sr) for n in n_samples))
    session.cache_clear()


@pytest.mark.parametrize("name", PRESETS)
def test_every_node_has_a_cuda_kernel(name: str) -> None:
    from onnxscript.ir.passes.common import ShapeInferencePass

    for opset in OPSETS:
        model = front_end(PRESETS[name], opset)
        ShapeInferencePass()(model)
        assert without_cuda_kernel(model.graph) == []
        operators = {node.op_type for node in model.graph}
        assert not operators & {"Max", "Min", "Mod", "If", "Loop", "Scan", "STFT", "DFT", "MelWeightMatrix"}


def test_narrowed_frames_are_the_same_features() -> None:
    for name in ("parakeet", "passt", "granite"):
        cfg = PRESETS[name].replace(normalize=None)
        narrow = narrowed(cfg)
        assert narrow.frame_length == cfg.win_length
        for n in (cfg.least_samples, 5000):
            y = signal("noise", n, cfg.sr)
            np.testing.assert_allclose(reference.log_mel(y, narrow), reference.log_mel(y, cfg), rtol=1e-9)
    assert narrowed(PRESETS["kaldi"]) == PRESETS["kaldi"]
    assert narrowed(PRESETS["parakeet"].replace(padding=(0, 0))).frame_length == 512
