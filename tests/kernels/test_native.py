"""The CPU path in C++ against `reference`, with each instruction set of this machine."""

from collections.abc import Callable, Collection, Iterator
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from cumel.kernels import PRESETS, FeatureConfig, InputError, UnavailableError, native
from cumel.kernels.plan import RADICES, Stage

from support import librosa_cases
from support.drawn import free_fields
from support.native_library import STAGES, compute, on, targets
from support.signals import (
    CASES,
    CONFIGS,
    IN_DB,
    KINDS,
    NOISY,
    NOISY_DB,
    SMALL,
    TONAL_DB,
    Oracle,
    librosa_db,
    librosa_mel,
    oracle,
)

TARGETS = targets()
PLANNED = [case for case in CASES if CONFIGS[case[0]].n_fft in RADICES]
ODD = [
    SMALL.replace(n_mels=1, n_mfcc=1),
    SMALL.replace(n_fft=400, n_mels=11, fmax=4000.0),
    SMALL.replace(n_fft=256, n_mels=5, fmin=200.0, fmax=1700.0, power=1, n_mfcc=5),
    SMALL.replace(n_fft=4096, n_mels=33, fmin=300.0, fmax=3000.0, power=1),
    *(cfg for cfg in CONFIGS.values() if cfg.n_fft in RADICES),
]


@pytest.fixture(params=native.TARGETS)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    """Compute with an instruction set, where the machine has it."""
    if request.param not in TARGETS:
        pytest.skip(f"this machine does not have {request.param}")
    with on(request.param):
        assert native.target() == request.param
        yield request.param


def check(expected: Oracle, kind: str, compute: Callable[[str], np.ndarray], only: Collection[str] = STAGES) -> None:
    """Compare features of a clip, which `compute` returns by their names, with the reference."""
    checks: dict[str, Callable[[np.ndarray], None]] = {
        "stft": expected.check_stft,
        "spectrogram": expected.check_spectrogram,
        "melspectrogram": expected.check_mel,
        "log_mel": partial(expected.check_log_mel, limit=NOISY_DB if kind in NOISY else TONAL_DB),
        "mel_image": partial(expected.check_image, few=kind in ("noise", "quiet")),
    }
    for feature in checks.keys() & set(only):
        checks[feature](compute(feature))


def test_it_was_built() -> None:
    assert native.available(), native.reason()
    assert native.target() == TARGETS[0]
    assert TARGETS[-1] == "baseline"


@pytest.mark.pairwise
@pytest.mark.parametrize(("name", "kind", "length"), PLANNED)
def test_equals_the_reference(name: str, kind: str, length: str) -> None:
    expected = oracle(name, kind, length)
    check(expected, kind, lambda feature: compute(feature, expected.y, expected.cfg))


@pytest.mark.pairwise
@pytest.mark.parametrize(("name", "kind"), [case[:2] for case in PLANNED if case[2] == "odd"])
def test_each_instruction_set_equals_the_reference(name: str, kind: str, target: str) -> None:
    assert target
    expected = oracle(name, kind, "odd")
    check(expected, kind, lambda feature: compute(feature, expected.y, expected.cfg))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", IN_DB)
def test_equals_librosa(name: str, kind: str) -> None:
    expected = oracle(name, kind, "odd")
    librosas = librosa_db(librosa_mel(expected.y, expected.cfg), expected.cfg)
    ours = compute("log_mel", expected.y, expected.cfg)
    expected.check_log_mel(ours, NOISY_DB if kind in NOISY else TONAL_DB, librosas)


@pytest.mark.parametrize(
    "case", [case for case in librosa_cases.CASES if case.cfg.n_fft in RADICES], ids=lambda case: case.test
)
def test_librosas_own_cases(case: librosa_cases.Case) -> None:
    batch = np.atleast_2d(case.clip()).astype(np.float32)
    for i, clip in enumerate(batch):
        check(Oracle(clip, case.cfg), "any", lambda feature: compute(feature, batch, case.cfg)[i], case.features)  # noqa: B023


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_equals_the_reference_for_any_config(data: st.DataObject) -> None:
    cfg = data.draw(st.sampled_from(ODD), "cfg")
    cfg = cfg.replace(**data.draw(free_fields(cfg.n_fft, cfg.n_mels), "fields"))
    shortest = cfg.least_samples
    lengths = data.draw(st.lists(st.integers(shortest, 20 * cfg.n_fft), min_size=1, max_size=3), "lengths")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), "seed"))
    clips = [(0.3 * rng.standard_normal(n)).astype(np.float32) for n in lengths]
    if data.draw(st.booleans(), "int16"):
        clips = [(clip * 10000).astype(np.int16) for clip in clips]
    target = data.draw(st.sampled_from(TARGETS), "target")
    with on(target):
        features = {feature: compute(feature, np.concatenate(clips), cfg, lengths) for feature in STAGES}
    for i, clip in enumerate(clips):
        n_frames = cfg.n_frames(len(clip))
        check(Oracle(clip, cfg), "any", lambda feature: features[feature][i, :, :n_frames])  # noqa: B023


@pytest.mark.pairwise
@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
@pytest.mark.parametrize("hop_length", [1, 2, 3, 5, 129, 255, 256, 257, 2**31])
def test_any_hop(hop_length: int, pad_mode: str, target: str) -> None:
    assert target
    cfg = SMALL.replace(n_fft=256, n_mels=20, hop_length=hop_length, pad_mode=pad_mode)
    for n_samples in (1, 2, 300, 20 * min(hop_length, 256) + 7):
        y = np.random.default_rng(0).standard_normal(n_samples).astype(np.float32)
        check(Oracle(y, cfg), "any", partial(compute, y=y, cfg=cfg))


def test_silence_reads_exactly_as_documented(target: str) -> None:
    assert target
    silence = np.zeros(44100, np.float32)
    assert set(compute("log_mel", silence, FeatureConfig(sr=44100)).flat) == {-100.0}
    least = FeatureConfig(amin=1e-50, ref=10.0)  # no float32
    assert set(compute("log_mel", silence, least).flat) == {-510.0}
    assert not compute("mel_image", silence, FeatureConfig()).any()


@pytest.mark.pairwise
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e38])
@pytest.mark.parametrize("at", [0, 3000, 9999])
def test_nan_and_infinity_are_seen(bad: float, at: int, target: str) -> None:
    assert target
    y = np.random.default_rng(0).standard_normal((3, 10000)).astype(np.float32)
    clean = compute("melspectrogram", y, SMALL)
    y[1, at] = bad
    for feature in ("log_mel", "mel_image"):
        with pytest.raises(InputError, match="clip 1 of 3 holds NaN or infinity"):
            compute(feature, y, SMALL)
    mel = compute("melspectrogram", y, SMALL)
    touched = ~np.isfinite(mel[1]).all(axis=0)
    centres = np.arange(mel.shape[2]) * SMALL.hop_length
    heard = np.abs(centres - at) < SMALL.n_fft // 2 - 1
    assert (touched[heard] | (at in (0, 9999) and bad == 1e38)).all()
    assert not touched[np.abs(centres - at) > SMALL.n_fft // 2].any()  # not in the other lanes of its block
    np.testing.assert_array_equal(mel[[0, 2]], clean[[0, 2]])


def test_an_instruction_set_that_is_not_there() -> None:
    with on("sse9"):
        assert not native.available()
        assert native.reason() == "CUMEL_CPU=sse9: not of this machine; there are avx512, avx2, baseline"
        with pytest.raises(UnavailableError, match="the CPU path in C\\+\\+ is not there: CUMEL_CPU=sse9"):
            native.target()


def test_instruction_sets_agree() -> None:
    cfg = PRESETS["esc50"]
    y = np.random.default_rng(0).standard_normal(5 * cfg.sr).astype(np.float32)
    results = []
    for name in TARGETS:
        with on(name):
            results.append(native.compute(native.Clips.of(y[None]), cfg, Stage.DECIBEL)[0])
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=0, atol=NOISY_DB)
