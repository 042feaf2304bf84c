"""The CUDA path, on the emulator, against `reference` and librosa: every plan, within the tolerances of `signals`."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch

from cumel.kernels import PRESETS
from cumel.kernels.plan import RADICES

from simt.emulator import Emulator, compile_many
from simt.examples import Grid, Kernel as Source
from support.emulation import FEATURES, INT16, PLANS, Emulated, kernels
from support.signals import (
    CASES,
    CONFIGS,
    IN_DB,
    KINDS,
    MEAN_DB,
    NOISY,
    NOISY_DB,
    STFT_ATOL,
    TONAL_DB,
    librosa_db,
    librosa_input,
    librosa_mel,
    oracle,
    signal,
)

ALONE = [feature for feature in FEATURES if feature != "half"]
emulated = Emulated()


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Use all processors, once."""
    every = {kernel for cfg in CONFIGS.values() for kernel in kernels(cfg, ALONE)}
    every |= {kernel for name in PLANS for kernel in kernels(CONFIGS[name], ["half"])}
    every |= {kernel for name, feature in INT16 for kernel in kernels(CONFIGS[name], [feature], int16=True)}
    compile_many(every)


def as_float(y: np.ndarray) -> np.ndarray:
    return y.astype(np.float32) / 32768 if y.dtype == np.int16 else y


def test_plans_are_all_that_there_are() -> None:
    assert {*PLANS.values()} == {*RADICES, None}
    for name, n_fft in PLANS.items():
        assert n_fft in (CONFIGS[name].n_fft, None)


@pytest.mark.pairwise
@pytest.mark.parametrize(("name", "kind", "length"), CASES)
def test_equals_the_reference(name: str, kind: str, length: str) -> None:
    expected = oracle(name, kind, length)
    y = expected.y if (name, "stft") in INT16 else as_float(expected.y)
    expected.check_all(lambda feature: emulated(feature, y, expected.cfg), kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", IN_DB)
def test_equals_librosa(name: str, kind: str) -> None:
    expected = oracle(name, kind, "odd")
    cfg, y, ours = expected.cfg, librosa_input(expected.y), as_float(expected.y)
    librosas = librosa.stft(y, **cfg.librosa_stft())
    np.testing.assert_allclose(emulated("stft", ours, cfg), librosas, rtol=0, atol=STFT_ATOL * np.abs(librosas).max())
    librosas = librosa_db(librosa_mel(y, cfg), cfg)
    expected.check_log_mel(emulated("log_mel", ours, cfg), NOISY_DB if kind in NOISY else TONAL_DB, librosas)


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_real_recordings_equal_librosa(real_data: Path, every: int) -> None:
    cfg = PRESETS["esc50"]
    paths = sorted((real_data / "esc50-44k" / "audio").iterdir())
    assert len(paths) == 100
    for path in paths[::every]:
        y, sr = soundfile.read(path, dtype="int16")
        assert (sr, y.ndim) == (cfg.sr, 1)
        error = np.abs(emulated("log_mel", y, cfg) - librosa_db(librosa_mel(y, cfg), cfg))
        assert error.max() <= TONAL_DB, path.name  # 1.3e-3: 4-192068-A-31
        assert error.mean() <= MEAN_DB, path.name  # 7.1e-6: 4-111671-A-42


@pytest.mark.parametrize("name", PLANS)
def test_float16_is_the_float32_rounded(name: str) -> None:
    loud = CONFIGS[name].replace(top_db=None, amin=1e-30, ref=1e-3)
    for cfg in (CONFIGS[name], loud, loud.replace(amin=1e5, ref=2e5)):
        for kind in KINDS:
            for n_samples in (cfg.n_fft + 1, 9 * cfg.n_fft):
                y = as_float(signal(kind, n_samples, cfg.sr))
                half = emulated("half", y, cfg)
                assert half.dtype == np.float16
                np.testing.assert_array_equal(half, emulated("log_mel", y, cfg).astype(np.float16))


HALVES = """
extern "C" __global__ void halves(const float *x, unsigned short *y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = half_bits(x[i]);
}
"""


def test_float16_is_rounded_to_nearest_even() -> None:
    """All float16 numbers, what lies half-way between two of them, the neighbours of both, and too large numbers."""
    exact = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    exact = np.sort(exact[np.isfinite(exact)])
    between = (exact[1:] + exact[:-1]) / 2
    most = np.array([65504, 65519.996, 65520, 65535, 65536, 1e6, np.finfo(np.float32).max, np.inf], np.float32)
    tiny = np.array([1e-45, 1e-38, 2.0**-25, 2.0**-24, 0.0, -0.0], np.float32)
    x = np.concatenate([exact, between, most, -most, tiny, -tiny])
    neighbours = x.view(np.int32)[np.isfinite(x), None] + np.array([-1, 1], np.int32)  # NaN beside zero
    x = np.append(x, neighbours.view(np.float32)).astype(np.float32)
    y = torch.zeros(len(x), dtype=torch.float16)
    text = next(kernels(CONFIGS["odd"], ["half"])).text()
    Emulator().launch(
        Source("halves", text + HALVES), Grid(blocks=-(-len(x) // 64)), [torch.from_numpy(x), y, np.int32(len(x))]
    )
    with np.errstate(over="ignore"):
        expected = x.astype(np.float16)
    np.testing.assert_array_equal(np.isnan(y.numpy()), np.isnan(x))
    np.testing.assert_array_equal(y.numpy().view(np.uint16)[~np.isnan(x)], expected.view(np.uint16)[~np.isnan(x)])


PLACES = """
extern "C" __global__ void places(const int *blocks, const int *per_clip, const int *reciprocals, int *out) {
  Batch batch = {};
  batch.width = 1 << 30;
  batch.n_blocks = per_clip[blockIdx.x];
  batch.reciprocal = reciprocals[blockIdx.x];
  const Clip clip = clip_of(batch, blocks[blockIdx.x], 0);
  out[2 * blockIdx.x] = clip.index;
  out[2 * blockIdx.x + 1] = clip.first_frame;
}
"""


def test_a_block_finds_its_clip() -> None:
    """By a division that is exact for all numbers of blocks, and of blocks of a clip."""
    rng, most = np.random.default_rng(0), 2**31 - 1
    per_clip = np.concatenate([[1, 2, 3, 4, 1024, 65536, 2**30], (2.0 ** rng.uniform(0, 30, 300)).astype(int)])
    around = per_clip * np.array([0, 1, 2, 7, 1000])[:, None] + np.array([-1, 0, 1])[:, None, None]
    blocks = np.stack([around, rng.integers(0, most, around.shape), np.full(around.shape, most)])
    possible = (blocks >= 0) & (blocks <= most)
    per_clip, blocks = np.broadcast_to(per_clip, blocks.shape)[possible], blocks[possible]
    out = torch.zeros(len(blocks), 2, dtype=torch.int32)
    reciprocals = torch.from_numpy(((2**32 - 1) // per_clip).astype(np.uint32).view(np.int32))
    given = (torch.from_numpy(array.astype(np.int32)) for array in (blocks, per_clip))
    text = next(kernels(CONFIGS["odd"], ["stft"])).text()
    Emulator().launch(Source("places", text + PLACES), Grid(blocks=len(blocks), threads=32), [*given, reciprocals, out])
    np.testing.assert_array_equal(out.numpy(), np.stack(np.divmod(blocks, per_clip), axis=1))


@pytest.mark.parametrize(("name", "feature"), dict.fromkeys(INT16))
def test_int16_is_the_same_as_float32(name: str, feature: str) -> None:
    cfg = CONFIGS[name]
    for n_samples in (1, cfg.n_fft // 3, 6 * cfg.n_fft + 3):
        y = np.random.default_rng(n_samples).integers(-32768, 32768, n_samples).astype(np.int16)
        np.testing.assert_array_equal(emulated(feature, y, cfg), emulated(feature, as_float(y), cfg))
