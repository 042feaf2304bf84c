"""The CPU path in C++: a clip's numbers depend on nothing but the clip, and equal the CUDA kernel's bit for bit."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cumel.kernels import PRESETS, CumelError, FeatureConfig, native
from cumel.kernels.plan import RADICES
from cumel.kernels.rules import Normalize

from support.emulation import Emulated
from support.launches import small
from support.native_library import STAGES, compute, fused, on, run, targets
from support.signals import CONFIGS, SMALL, signal

BLOCK = 16  # frames: the most that share a vector
CONFIG = SMALL.replace(pad_mode="reflect")
# Pre-emphasis of frames, of the clip and without its first sample; means; statistics of bands and of the clip.
FRONT_ENDS = {name: PRESETS[name] for name in ("seamless", "parakeet", "passt", "kaldi_no_snip", "gemma4")} | {
    "small": CONFIG,
    "bands": PRESETS["speech2text"].replace(mean=[*range(80)], std=[*range(1, 81)], top_db=40.0),
    "clip": PRESETS["whisper"].replace(normalize=Normalize(per="clip")),
}


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.pairwise
@pytest.mark.parametrize("target", targets())
@pytest.mark.parametrize("feature", STAGES)
@pytest.mark.parametrize("name", FRONT_ENDS)
def test_batches_and_threads_do_not_matter(name: str, feature: str, target: str) -> None:
    cfg = FRONT_ENDS[name].decibels if feature == "mel_image" else FRONT_ENDS[name]
    y = noise(5, 40000)
    lengths = [40000, cfg.least_samples + 6, 12345, 16000, 39999]
    with on(target):
        alone = [compute(feature, clip[:n], cfg, threads=1) for clip, n in zip(y, lengths, strict=True)]
        for threads in (1, 2, 3, 7):
            together = compute(feature, y, cfg, lengths, threads=threads)
            packed = np.concatenate([clip[:n] for clip, n in zip(y, lengths, strict=True)])
            np.testing.assert_array_equal(compute(feature, packed, cfg, lengths, threads=threads), together)
            for values, expected in zip(together, alone, strict=True):
                np.testing.assert_array_equal(values[:, : expected.shape[1]], expected)


@pytest.mark.parametrize("target", targets())
@pytest.mark.parametrize(
    "name", ["esc50", "whisper", "sparse", "hop441", "short_window", "kaldi", "phi4", "gemma3n", "univnet"]
)
def test_a_frame_does_not_depend_on_its_block(name: str, target: str) -> None:
    """Each lane in turn computes the same samples, in full blocks and in those at the end of a clip."""
    cfg = (CONFIGS[name] if name in CONFIGS else PRESETS[name]).replace(padding=(0, 0))
    y = noise(cfg.frame_length + 40 * cfg.hop_length)
    with on(target):
        whole = compute("melspectrogram", y, cfg)
        for first in range(1, BLOCK + 1):
            for n_frames in (1, 5, 23):
                last = (first + n_frames - 1) * cfg.hop_length + cfg.frame_length
                part = compute("melspectrogram", y[first * cfg.hop_length : last], cfg)
                np.testing.assert_array_equal(part, whole[:, first : first + n_frames])


@pytest.mark.parametrize(
    ("feature", "name"),
    [("stft", "small"), ("melspectrogram", "small"), *(("log_mel", name) for name in FRONT_ENDS)],
)
def test_any_strides_are_written(feature: str, name: str) -> None:
    cfg, lengths = FRONT_ENDS[name], [9000, 4001, 5000]
    y = noise(3, 9000)
    plain = compute(feature, y, cfg, lengths)
    n_clips, n_rows, n_frames = plain.shape
    layouts = {
        "frames first": np.full((n_clips, n_frames, n_rows), 7, plain.dtype).transpose(0, 2, 1),
        "clips last": np.full((n_rows, n_frames, n_clips), 7, plain.dtype).transpose(2, 0, 1),
        "with gaps": np.full((n_clips, n_rows + 3, n_frames + 5), 7, plain.dtype)[:, 2:-1, 1:-4],
        "frames first, with gaps": np.full((n_clips, n_frames, n_rows + 9), 7, plain.dtype)[..., 4:-5].transpose(
            0, 2, 1
        ),
        "backwards": np.full(plain.shape, 7, plain.dtype)[:, ::-1, ::-1],
    }
    for name, out in layouts.items():
        base = out if out.base is None else out.base
        untouched = base.size - out.size
        assert compute(feature, y, cfg, lengths, out=out) is out
        np.testing.assert_array_equal(out, plain, err_msg=name)
        assert np.count_nonzero(base == 7) == untouched, name
    with pytest.raises(CumelError, match=r"out has shape \(3, 41, 5\) and dtype .*: must be"):
        native.compute(native.Clips.of(y), cfg, STAGES[feature], np.zeros((3, 41, 5), plain.dtype))


@pytest.mark.parametrize("y", [np.zeros((2, 9), np.float64), np.zeros((2, 9), np.int32)])
def test_other_samples_are_refused(y: np.ndarray) -> None:
    with pytest.raises(CumelError, match=f"y has dtype {y.dtype}: give float32"):
        native.Clips.of(y)


@pytest.mark.parametrize("lengths", [[9, 10], [0, 9], [9], [9, 9, 9]])
def test_lengths_out_of_range_are_refused(lengths: list[int]) -> None:
    with pytest.raises(CumelError, match="lengths: give 2 numbers of samples between 1 and 9"):
        native.Clips.of(np.zeros((2, 9), np.float32), lengths)
    with pytest.raises(CumelError, match="lengths add up to"):
        native.Clips.of(np.zeros(17, np.float32), lengths)


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_int16_is_the_same_signal_scaled(name: str) -> None:
    y = np.random.default_rng(0).integers(-32768, 32768, 20000).astype(np.int16)
    for feature in STAGES:
        cfg = FRONT_ENDS[name].decibels if feature == "mel_image" else FRONT_ENDS[name]
        scaled = compute(feature, (y / 32768).astype(np.float32), cfg)
        np.testing.assert_array_equal(compute(feature, y, cfg), scaled)


@pytest.mark.parametrize("name", ["loudness", "seamless", "bands", "clip"])
def test_long_clips_are_finished_by_all_threads(name: str) -> None:
    cfg = FRONT_ENDS.get(name, FeatureConfig(sr=44100, top_db=20.0))
    y = noise(1, 60 * 44100) * np.linspace(0, 1, 60 * 44100, dtype=np.float32)
    one, several = (compute("log_mel", y, cfg, threads=threads) for threads in (1, 3))
    assert one.size > 1 << 18
    np.testing.assert_array_equal(one, several)
    across = np.empty((1, one.shape[2], one.shape[1]), np.float32).transpose(0, 2, 1)
    np.testing.assert_array_equal(compute("log_mel", y, cfg, out=across, threads=3), one)
    if name == "loudness":
        assert one.min() == one.max() - np.float32(20)


def test_callers_do_not_disturb_each_other() -> None:
    clips = noise(8, 30000)
    expected = compute("log_mel", clips, SMALL, threads=1)
    barrier = threading.Barrier(4)

    def call(i: int) -> list[np.ndarray]:
        barrier.wait()
        return [compute("log_mel", clips[i : i + 2], SMALL, threads=3) for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        for i, results in enumerate(pool.map(call, range(4))):
            for result in results:
                np.testing.assert_array_equal(result, expected[i : i + 2])


def test_denormals_count_as_silence_and_the_callers_mode_stays() -> None:
    tiny = np.full(9000, 1e-40, np.float32)
    before = tiny * np.float32(0.5)
    assert not compute("melspectrogram", tiny, SMALL).any()
    assert not compute("stft", tiny, SMALL).any()
    assert before.all()
    np.testing.assert_array_equal(tiny * np.float32(0.5), before)


@pytest.mark.parametrize("n_fft", RADICES)
@pytest.mark.parametrize("target", fused())
def test_bits_are_those_of_the_cuda_kernel(n_fft: int, target: str) -> None:
    """Up to decibels, where a GPU has an instruction for the logarithm: the same operations in the same order."""
    emulated, launched = Emulated(), {256: CONFIGS["small"], 400: CONFIGS["whisper"], 2048: small(2048, fmax=3000.0)}
    cfg = launched.get(n_fft, small(n_fft, pad_mode="reflect", n_mels=20, power=1))
    y = signal("quiet" if n_fft == 512 else "noise", 3 * n_fft + 1, cfg.sr)
    with on(target):
        for feature in ("stft", "spectrogram", "melspectrogram"):
            np.testing.assert_array_equal(compute(feature, y, cfg), emulated(feature, y, cfg), err_msg=feature)


PROGRAM = """
import numpy as np
from support.native_library import STAGES, compute, native
from cumel.kernels import FeatureConfig
"""


def test_threads_survive_a_fork() -> None:
    code = """
import os
y = np.random.default_rng(0).standard_normal((4, 50000)).astype(np.float32)
cfg = FeatureConfig(n_fft=512, n_mels=40)
expected = compute("log_mel", y, cfg, threads=3)
child = os.fork()
same = all(np.array_equal(compute("log_mel", y, cfg, threads=3), expected) for _ in range(20))
if child == 0:
    os._exit(0 if same else 1)
print(same, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(PROGRAM + code, timeout=60).split() == ["True", "0"]


def test_neither_torch_nor_librosa_is_imported() -> None:
    code = """
import sys, numpy as np
from cumel.kernels import native, FeatureConfig
native.compute(native.Clips.of(np.zeros((1, 9000), np.float32)), FeatureConfig(), 3)
print([name for name in ("torch", "librosa", "scipy") if name in sys.modules])
"""
    assert run(code).strip() == "[]"


def test_without_the_library(tmp_path: Path) -> None:
    code = """
from cumel.kernels import native
print(native.available(), native.reason())
"""
    missing = run(code, CUMEL_CPU_LIBRARY=str(tmp_path / "native.so"))
    assert missing.strip() == "False native.so was not built: install with a C++ compiler (g++) on the PATH"
    (tmp_path / "native.so").write_text("no library")
    assert run(code, CUMEL_CPU_LIBRARY=str(tmp_path / "native.so")).startswith("False native.so does not load: ")
