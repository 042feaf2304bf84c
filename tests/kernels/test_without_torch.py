"""NumPy arrays need NumPy alone: where torch is missing, and where it is installed but nobody asked for it."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import cumel
from cumel import PRESETS, FeatureConfig, InputError
from cumel.kernels import host, native, numpy_fft, reference
from cumel.kernels.arrays import rows_first
from cumel.kernels.kinds import FEATURES
from cumel.kernels.plan import Stage

from support.front_ends import SIGNALS, Expected, clip, fields, lengths
from support.signals import CONFIGS, TONAL_DB

PLANNED = FeatureConfig(sr=16000, n_fft=512, hop_length=160, n_mels=40)
UNPLANNED = PLANNED.replace(n_fft=600, pad_mode="reflect")
LENGTHS = [4000, 2500, 700]

ALONE = """
import sys
sys.modules["torch"] = None  # importing it fails now
import numpy as np
import cumel
y = np.random.default_rng(0).normal(0, 0.1, (3, 4000)).astype(np.float32)
for cfg in (cumel.FeatureConfig(sr=16000, n_fft=512, hop_length=160, n_mels=40),
            cumel.FeatureConfig(sr=16000, n_fft=600, hop_length=160, n_mels=40, pad_mode="reflect")):
    for name in ("stft", "spectrogram", "melspectrogram", "log_mel", "mfcc", "mel_image"):
        compute = getattr(cumel, name)
        np.save(f"{name}-{cfg.n_fft}.npy", compute(y, cfg, [4000, 2500, 700]))
        compute((3000 * y).astype(np.int16), cfg)
for name in cumel.PRESETS:
    np.save(f"{name}.npy", cumel.log_mel(y, name))
try:
    cumel.log_mel(y, cfg, device="cuda")
except cumel.UnavailableError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, np.ndarray], str]:
    """Compute every feature in a process that has no torch."""
    folder = tmp_path_factory.mktemp("alone")
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return {path.stem: np.load(path) for path in folder.glob("*.npy")}, done.stdout.strip()


@pytest.mark.parametrize("cfg", [PLANNED, UNPLANNED], ids=["planned n_fft", "other n_fft"])
@pytest.mark.parametrize("name", FEATURES)
def test_without_torch_the_numbers_are_the_same(
    alone: tuple[dict[str, np.ndarray], str], name: str, cfg: FeatureConfig
) -> None:
    y = np.random.default_rng(0).normal(0, 0.1, (3, 4000)).astype(np.float32)
    features = alone[0][f"{name}-{cfg.n_fft}"]
    expected = getattr(cumel, name)(torch.from_numpy(y), cfg, LENGTHS).numpy()
    assert features.dtype == expected.dtype
    limit = {"mel_image": 1, "log_mel": 1e-4, "mfcc": 1e-3}.get(name, 1e-5 * float(np.abs(expected).max()))
    np.testing.assert_allclose(features, expected, rtol=0, atol=limit)
    if name == "mel_image":
        assert np.mean(features != expected) < 1e-3
    if cfg is PLANNED and native.available():
        np.testing.assert_array_equal(features, expected)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_without_torch(alone: tuple[dict[str, np.ndarray], str], name: str) -> None:
    y = np.random.default_rng(0).normal(0, 0.1, (3, 4000)).astype(np.float32)
    for samples, features in zip(y, rows_first(alone[0][name], PRESETS[name]), strict=True):
        Expected(samples, PRESETS[name]).check("log_mel", features)


def test_what_needs_torch_says_so(alone: tuple[dict[str, np.ndarray], str]) -> None:
    assert alone[1] == "torch is not installed: pip install 'cumel[gpu]'"


@pytest.mark.skipif(not native.available(), reason="the path in C++ was not built")
def test_torch_is_not_imported_for_a_numpy_array() -> None:
    code = (
        "import sys, cumel.kernels as k, numpy as np;"
        "k.log_mel(np.zeros(16000, np.float32), k.PRESETS['compact']); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", CONFIGS)
def test_numpys_fft_is_the_reference(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = CONFIGS[name]
    y = np.random.default_rng(1).normal(0, 0.1, cfg.n_fft * 4).astype(np.float32)
    monkeypatch.setattr(native, "computes", lambda _: False)
    db = host.of_clips(FEATURES["log_mel"], native.Clips.of(y[None]), cfg)[0]
    np.testing.assert_allclose(db, reference.log_mel(y, cfg), rtol=0, atol=TONAL_DB)


@pytest.mark.pairwise
@pytest.mark.parametrize(
    ("name", "kind", "length"),
    [(name, kind, n) for name, cfg in PRESETS.items() for kind in SIGNALS for n in lengths(cfg)],
)
def test_numpys_fft_is_the_reference_for_every_preset(name: str, kind: str, length: str) -> None:
    cfg = PRESETS[name]
    y = clip(kind, lengths(cfg)[length], cfg.sr)
    expected = Expected(y, cfg)
    for feature in ("stft", "spectrogram", "melspectrogram", "log_mel"):
        stage = FEATURES[feature].stage
        expected.check(feature, numpy_fft.compute(native.Clips.of(y[None]), cfg, stage)[0])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_numpys_fft_is_the_reference_for_any_config(data: st.DataObject) -> None:
    """In a padded batch, each clip as the reference has it alone; and past its end, what the path in C++ has there."""
    n_fft = data.draw(st.sampled_from([256, 400, 600]), "n_fft")
    cfg = FeatureConfig(sr=16000, n_fft=n_fft, n_mels=12, n_mfcc=12)
    cfg = cfg.replace(**data.draw(fields(n_fft, 12), "fields"))
    size = st.integers(cfg.least_samples, cfg.least_samples + 9 * n_fft)
    n = data.draw(st.lists(size, min_size=2, max_size=2), "lengths")
    y = np.stack([clip(kind, max(n), cfg.sr) for kind in data.draw(st.permutations(("noise", "dc", "drift")))[:2]])
    clips = native.Clips.of(y, n)
    features = numpy_fft.compute(clips, cfg, Stage.DECIBEL)
    for samples, values, length in zip(y, features, n, strict=True):
        Expected(samples[:length], cfg).check("log_mel", values[:, : cfg.n_frames(length)])
    if native.computes(cfg):
        by_cpp, shorter = native.compute(clips, cfg, Stage.DECIBEL), int(np.argmin(n))
        after = (each[shorter, :, cfg.n_frames(n[shorter]) :] for each in (features, by_cpp))
        np.testing.assert_allclose(*after, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["whisper", "kaldi", "parakeet"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numpys_fft_warns_of_nothing_that_it_refuses(name: str, value: float) -> None:
    y = np.full((2, 4000), 0.1, np.float32)
    y[1, 100] = value
    with pytest.raises(InputError, match=r"^clip 1 "):
        numpy_fft.compute(native.Clips.of(y), PRESETS[name], Stage.DECIBEL)


def test_an_out_over_the_samples_is_filled_at_the_end() -> None:
    memory = np.random.default_rng(2).normal(0, 0.1, 41 * 40 * 4).astype(np.float32)
    y, out = memory[:6400], memory[: 40 * 41].reshape(40, 41)
    expected = cumel.log_mel(y.copy(), PLANNED)
    assert cumel.log_mel(y, PLANNED, out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_threads_follow_torch_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert native.default_threads() == torch.get_num_threads()
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert native.default_threads() == 1


@pytest.mark.parametrize("name", FEATURES)
def test_a_batch_may_be_wider_than_all_of_its_clips(name: str) -> None:
    y = np.random.default_rng(3).normal(0, 0.1, (2, 4000)).astype(np.float32)
    compute, lengths = getattr(cumel, name), [1500, 1200]
    wide, narrow = compute(y, PLANNED, lengths), compute(np.ascontiguousarray(y[:, :1500]), PLANNED, lengths)
    assert wide.shape[2] == PLANNED.n_frames(4000)
    np.testing.assert_array_equal(wide[:, :, : narrow.shape[2]], narrow)
    np.testing.assert_array_equal(compute(torch.from_numpy(y), PLANNED, lengths).numpy(), wide)
