"""Wrapped extractors beside their originals in transformers: the same results, and the same refusals."""

import copy
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

transformers = pytest.importorskip("transformers")

from cumel import CumelError, log_mel  # noqa: E402
from cumel.kernels.filterbank import mel_matrix  # noqa: E402
from cumel.pretrained import computing, nemo_calls, wrap  # noqa: E402
from cumel.pretrained.extractors import CLASSES, RAW, config_of  # noqa: E402

# What the originals themselves warn of: statistics of silence, and of one frame.
pytestmark = pytest.mark.filterwarnings(
    "ignore:invalid value:RuntimeWarning", "ignore:Degrees of freedom", "ignore:Mean of empty"
)
# Worst seen: 2.6e-4, of Fun-ASR near the floor; medians of 1.4e-6 of the largest value, of Speech2Text's deviations.
ATOL, MEDIAN = 4e-4, 2e-6
NAMES = [name.removesuffix("FeatureExtractor") for name in CLASSES if not name.startswith("Pop2Piano")]
SHORT = {"Whisper": {"chunk_length": 2}, "Qwen3ASR": {"chunk_length": 2}, "Dots3Note": {"chunk_length": 2},
         "MossTranscribeDiarize": {"chunk_length": 2}, "CohereAsr": {"dither": 0.0, "max_audio_clip_s": 6.0},
         "Clap": {"max_length_s": 1}, "Gemma4Audio": {"per_bin_mean": [1.0] * 128, "per_bin_stddev": [2.0] * 128},
         "Clvp": {"mel_norms": [2.0] * 80}}  # fmt: skip
STATISTICS = ("Speech2Text", "SeamlessM4T", "Parakeet", "CohereAsr")  # which divide by what rounding leaves of silence


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(logging.ERROR)
    yield
    transformers.logging.set_verbosity(before)


def extractor(name: str, **values: Any) -> Any:
    return getattr(transformers, f"{name}FeatureExtractor")(**(SHORT.get(name, {}) | values))


def noise(*sizes: int) -> list[np.ndarray]:
    rng = np.random.default_rng(sum(sizes))
    return [(rng.standard_normal(n) * 0.1 + 0.05).astype(np.float32) for n in sizes]


def called(one: Any, clips: Any, **options: Any) -> Any:
    """Call as the class wants it; those that draw numbers draw the same."""
    np.random.seed(0)  # noqa: NPY002  # CLAP draws from the global state.
    name = type(one).__name__
    rated = {} if name == "GraniteSpeechFeatureExtractor" else {"sampling_rate": one.sampling_rate}
    quiet = {"return_noise": False} if name == "UnivNetFeatureExtractor" else {}
    if name == "SpeechT5FeatureExtractor":
        return one(audio_target=clips, **rated, **options)
    return one(clips, **rated, **quiet, **options)


def outcome(one: Any, clips: Any, **options: Any) -> Any:
    """Return a call's result, or None for a refusal."""
    try:
        return called(one, clips, **options)
    except (ValueError, RuntimeError, AssertionError, TypeError, LookupError, AttributeError):
        return None


def check_equal(theirs: Any, ours: Any) -> None:
    assert type(ours) is type(theirs)
    assert list(ours) == list(theirs)
    for key, expected in theirs.items():
        check_values(key, expected, ours[key])


def check_values(key: str, expected: Any, got: Any) -> None:
    assert type(got) is type(expected), key
    if isinstance(expected, list | tuple):
        assert len(got) == len(expected), key
        for a, b in zip(expected, got, strict=True):
            check_values(key, a, b)
        return
    if expected is None or np.isscalar(expected):
        assert got == expected, key
        return
    assert got.dtype == expected.dtype, key
    if expected.dtype == object:  # clips of several lengths
        check_values(key, list(expected), list(got))
        return
    a, b = np.asarray(expected), np.asarray(got)
    assert a.shape == b.shape, key
    if a.dtype.kind != "f":
        np.testing.assert_array_equal(b, a, key)
        return
    np.testing.assert_allclose(b, a, atol=ATOL, rtol=1e-6, err_msg=key)
    if a.size and not np.isnan(a).all():
        assert np.nanmedian(np.abs(b - a)) <= MEDIAN * max(1.0, np.nanmax(np.abs(a))), key


@pytest.mark.parametrize("name", NAMES)
def test_results_are_those_of_the_original(name: str) -> None:
    theirs = extractor(name)
    ours = wrap(theirs)
    assert isinstance(ours, type(theirs))
    one, ragged, batch = noise(9000)[0], noise(9000, 6007, 12345), np.stack(noise(8000, 8001)[:1] * 2)
    inputs = [one, one.astype(np.float64), ragged, ragged[:1], batch]
    compared = 0
    for clips in inputs:
        for options in ({}, {"return_tensors": "np"}, {"return_tensors": "pt"}):
            if options and name == "GraniteSpeech":
                continue
            expected = outcome(theirs, clips, **options)
            got = outcome(ours, clips, **options)
            assert (got is None) == (expected is None), (name, options)
            if expected is not None:
                check_equal(expected, got)
                compared += 1
    assert compared >= 2


OPTIONS: list[dict[str, Any]] = [
    {"padding": "longest"},
    {"padding": "max_length", "max_length": 20000},
    {"truncation": True, "max_length": 7000, "padding": "max_length"},
    {"padding": True, "pad_to_multiple_of": 1000},
    {"return_attention_mask": True},
    {"return_attention_mask": False},
    {"do_normalize": True},
    {"do_normalize_per_mel_bins": False},
    {"truncation": "rand_trunc"},
    {"padding": "repeat"},
    {"center": False},
    {"is_last_audio_chunk": True, "center": False},
    {"n_window": 7},
    {"pad_end": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "GraniteSpeech"])
def test_options_mean_what_they_do_in_the_original(name: str, options: dict[str, Any]) -> None:
    theirs = extractor(name)
    if not set(options) <= set(type(theirs).__call__.__code__.co_varnames):
        return
    ours = wrap(theirs)
    clips = noise(60000, 52800) if name == "Clap" else noise(9000, 6007)
    expected, got = outcome(theirs, clips, **options), outcome(ours, clips, **options)
    assert (got is None) == (expected is None)
    if expected is not None:
        check_equal(expected, got)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 159, 161, 399, 400, 401, 600, 1601])
def test_short_clips_are_computed_or_refused_as_by_the_original(name: str, size: int) -> None:
    theirs, clip = extractor(name), noise(size)
    expected, got = outcome(theirs, clip), outcome(wrap(theirs), clip)
    if expected is None:
        assert got is None
    elif name == "SpeechT5" and size == 1:  # a constant, in float64: ours has the rounding of float32 above the floor
        assert np.asarray(got["input_values"]).max() < -7
    elif name not in STATISTICS or size > 1000:  # deviations of one or two frames magnify rounding, or are no numbers
        check_equal(expected, got)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in STATISTICS])
def test_silence(name: str) -> None:
    theirs = extractor(name)
    clips = [np.zeros(9000, np.float32), np.concatenate([np.zeros(4000, np.float32), *noise(5000)])]
    expected, got = outcome(theirs, clips), outcome(wrap(theirs), clips)
    assert (got is None) == (expected is None)
    if expected is not None:
        check_equal(expected, got)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "GraniteSpeech"])
def test_another_rate_is_the_originals_error(name: str) -> None:
    theirs = extractor(name)
    ours = wrap(theirs)
    if "sampling_rate" not in type(theirs).__call__.__code__.co_varnames:
        return
    key = "audio_target" if name == "SpeechT5" else "raw_speech"
    with pytest.raises(ValueError, match=r"sampling.rate") as expected:
        theirs(**{key: noise(9000)[0]}, sampling_rate=12345)
    with pytest.raises(ValueError, match=r"sampling.rate") as got:
        ours(**{key: noise(9000)[0]}, sampling_rate=12345)
    assert str(got.value) == str(expected.value)


@pytest.mark.parametrize("feature", [None, 1.5])
def test_voxtrals_floor_may_be_of_the_batch(feature: float | None) -> None:
    theirs = extractor("VoxtralRealtime", global_log_mel_max=feature)
    check_equal(called(theirs, noise(9000, 6000)), called(wrap(theirs), noise(9000, 6000)))


@pytest.mark.parametrize("name", ["Whisper", "Parakeet", "Clap", "Gemma4Audio"])
def test_a_wrapped_extractor_is_an_extractor(name: str, tmp_path: Path) -> None:
    theirs = extractor(name)
    ours = wrap(theirs)
    assert list(ours.to_dict()) == list(theirs.to_dict())
    assert ours.to_json_string() == theirs.to_json_string()
    ours.save_pretrained(tmp_path)
    expected = called(ours, noise(9000, 8000))
    for other in (
        pickle.loads(pickle.dumps(ours)),
        copy.deepcopy(ours),
        wrap(ours),
        type(ours).from_pretrained(tmp_path),
    ):
        assert type(other).__call__ is not object
        np.testing.assert_array_equal(
            np.asarray(called(other, noise(9000, 8000))["input_features"]), np.asarray(expected["input_features"])
        )


def test_pop2pianos_spectrogram_is_librosas_scale() -> None:
    """The class needs essentia: the method that has the filters is called on what it reads of an instance."""
    from transformers.audio_utils import spectrogram

    cfg = config_of({"feature_extractor_type": "Pop2PianoFeatureExtractor"})
    bars = np.stack(noise(9000, 9001)[:1] * 2)
    window = np.hanning(cfg.n_fft + 1)[:-1]
    expected = [
        spectrogram(y, window, cfg.n_fft, cfg.hop_length, power=2.0, mel_filters=mel_matrix(cfg).T) for y in bars
    ]

    piano = type("Piano", (computing.Pop2Piano,), {"_configs": {"": cfg}})()
    np.testing.assert_allclose(piano.mel_spectrogram(bars), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bad", [3, None, "whisper", CumelError, transformers.WhisperFeatureExtractor], ids=str)
def test_what_is_no_extractor(bad: Any) -> None:
    with pytest.raises(CumelError, match="expected a feature extractor of transformers"):
        wrap(bad)


def test_classes_that_cannot_be_wrapped() -> None:
    assert "Wav2Vec2FeatureExtractor" in RAW
    with pytest.raises(CumelError, match="take samples, and no mel features"):
        wrap(transformers.Wav2Vec2FeatureExtractor())
    with pytest.raises(CumelError, match="dither"):
        wrap(transformers.CohereAsrFeatureExtractor())
    unknown = type("OtherFeatureExtractor", (transformers.WhisperFeatureExtractor,), {})
    with pytest.raises(CumelError, match="OtherFeatureExtractor is not known; there are Whisper"):
        wrap(unknown())


@pytest.mark.parametrize("name", NAMES)
def test_features_are_computed_here(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An original that did the work itself would pass all other tests."""
    computed: list[np.ndarray] = []

    def seen(y: Any, *args: Any, **kwargs: Any) -> Any:
        computed.append(y)
        return log_mel(y, *args, **kwargs)

    monkeypatch.setattr(computing, "log_mel", seen)
    monkeypatch.setattr(nemo_calls, "log_mel", seen)
    called(wrap(extractor(name)), noise(9000))
    assert computed


def test_whispers_padding_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[np.ndarray] = []

    def seen(y: Any, cfg: Any, given: Any) -> Any:
        lengths.append(given)
        return log_mel(y, cfg, given)

    theirs = transformers.WhisperFeatureExtractor(chunk_length=1)
    ours = wrap(theirs)
    monkeypatch.setattr(computing, "log_mel", seen)
    sizes = [1, 2, 159, 160, 161, 199, 200, 201, 360, 400, 8000, 15399, 15400, 15401, 15840, 15999, 16000]
    clips = noise(*sizes)
    clips[3][-50:] = 0  # silent samples of its own
    check_equal(called(theirs, clips), called(ours, clips))
    assert (lengths[0] <= np.minimum(16000, np.array(sizes) + 560)).all()


def test_seamless_takes_the_first_channel() -> None:
    theirs = extractor("SeamlessM4T")
    stereo = [np.stack(noise(9000, 9000)), np.stack(noise(7000, 7000))]
    check_equal(called(theirs, stereo), called(wrap(theirs), stereo))


@pytest.mark.parametrize(
    "name", ["Parakeet", "NemotronAsrStreaming", "Phi4Multimodal", "Lasr", "Inkling", "FunAsrNano"]
)
def test_tensors_are_taken_where_the_original_takes_them(name: str) -> None:
    import torch

    theirs = extractor(name)
    for clips in (torch.from_numpy(noise(9000)[0]), [torch.from_numpy(y).double() for y in noise(9000, 7000)]):
        expected, got = outcome(theirs, clips), outcome(wrap(theirs), clips)
        assert (got is None) == (expected is None)
        if expected is not None:
            check_equal(expected, got)
