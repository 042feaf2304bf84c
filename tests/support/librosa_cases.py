"""What librosa's own tests ask of it, as data: their parameters and inputs, and what we leave out and why.

Taken from tests/ of librosa's repository: test_core.py, test_features.py, test_filters.py, test_multichannel.py,
test_failures.py, and makeTestData.m, which made their .mat files. Inputs that those compute are computed here alike; in
place of their recordings (test1_22050.wav, test1_44100.wav) stands `recording`, of the same rate and kind.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from typing import Any

import librosa
import numpy as np

from cumel.kernels import FeatureConfig

SECONDS = 1  # length of the recording; librosa's has 4.6


def recording(sr: int) -> np.ndarray:
    """Plucked notes over soft noise [2, SECONDS * sr]: two channels that differ."""
    t, rng = np.arange(SECONDS * sr) / sr, np.random.default_rng(0)
    y = 0.003 * rng.standard_normal((2, t.size))
    for start, pitch in enumerate((220.0, 277.2, 329.6, 440.0, 554.4, 659.3, 880.0)):
        since = t - 0.13 * start
        note = sum(np.sin(2 * np.pi * k * pitch * since) / k**1.5 for k in range(1, 12) if k * pitch < sr / 2)
        y += (0.15 + 0.1 * np.array([[start % 2], [start % 3]])) * np.where(since > 0, np.exp(-5 * since), 0) * note
    return y


def impulses(power: np.ndarray, n_fft: int) -> np.ndarray:
    """Frames of one impulse each, side by side: every bin of frame t has exactly `power[t]` without a window."""
    y = np.zeros((len(power), n_fft))
    y[:, 0] = np.sqrt(power)
    return y.astype(np.float32).reshape(-1)


@dataclass(frozen=True)
class Case:
    """One clip, what is computed of it, and what holds of that besides librosa's own values."""

    test: str  # librosa's, with its parameters
    cfg: FeatureConfig
    clip: Callable[[], np.ndarray]  # [n_samples] or [n_clips, n_samples]
    features: tuple[str, ...]
    holds: str = ""  # a function of the tests
    emulated: bool = True  # each shape of a filterbank costs the emulator two seconds of g++

    @property
    def parameters(self) -> list[str]:
        """Those of librosa's test, in its name's order."""
        return self.test.partition("[")[2].rstrip("]").split(", ")


def clicks(n_samples: int, *at: int) -> np.ndarray:
    """Zeros, but for a 1 at each of some samples."""
    y = np.zeros(n_samples)
    y[list(at)] = 1
    return y


def two_tones(sr: int) -> np.ndarray:
    """Five seconds of 17 Hz and 103 Hz."""
    t = np.linspace(0, 5, 5 * sr, endpoint=False)
    return np.sin(17 * t * 2 * np.pi) + np.sin(103 * t * 2 * np.pi)


@cache
def clip(kind: str, sr: int = 22050) -> np.ndarray:
    """Return one of librosa's inputs."""
    if kind == "recording":
        return recording(sr).mean(axis=0)
    if kind == "chirp":
        return librosa.chirp(fmin=32, fmax=8192, sr=sr, duration=2.0)
    if kind == "tone":
        return librosa.tone(440.0, sr=sr, duration=1)
    return np.random.default_rng(1).standard_normal({"noise": 100_000, "long": 1_000_000, "short": 8192}[kind])


MEL = ("melspectrogram", "log_mel")
STFT = [  # makeTestData.m, testSTFT: the 18 .mat files of test_stft
    Case(
        f"test_core.py::test_stft[{n_fft}, {hop}, {window}]",
        FeatureConfig(n_fft=n_fft, hop_length=hop, window=window, center=False),
        partial(clip, "recording"),
        ("stft",),
    )
    for n_fft, hop, window in product((128, 256, 1024), (64, 128, 256), ("boxcar", "hann"))
]
STFT += [  # librosa transforms what numpy.empty(1_000_000) happens to hold
    Case(
        f"test_core.py::test_stft_winsizes[{n_fft}]",
        FeatureConfig(n_fft=n_fft, hop_length=n_fft // 2, win_length=n_fft),
        partial(clip, "long"),
        ("stft",),
    )
    for n_fft in (2**power for power in range(12, 17))
]
STFT += [
    Case(
        f"test_core.py::test_istft_reconstruction[{sr}, {n_fft}, {window}, {hop}]",
        FeatureConfig(sr=sr, n_fft=n_fft, hop_length=hop, window=window),
        partial(clip, "chirp", sr),
        ("stft",),
        "inverts",
    )
    for sr, n_fft, window, hop in product(
        (22050, 44100), (1024, 2048, 4096), ("hann", "blackmanharris"), (128, 256, 512)
    )
]
STFT += [
    Case(
        f"test_features.py::test_rms[{n_fft}, {hop}, {center}]",
        FeatureConfig(n_fft=n_fft, hop_length=hop, window="boxcar", center=center),
        partial(clip, "noise"),
        ("stft",),
        "keeps_energy",
    )
    for n_fft, hop, center in product((2048, 2049, 4096, 4097), (128, 512, 1024), (False, True))
]
STFT += [
    Case(
        f"test_core.py::test__spectrogram[{n_fft}, {hop}, {power}]",
        FeatureConfig(n_fft=n_fft, hop_length=hop or n_fft // 4, power=power),
        partial(clip, "recording"),
        ("spectrogram",),
    )
    for n_fft, hop, power in product((1024, 755, 2048, 2049), (None, 512), (1, 2))
]
STFT += [  # cases whose STFT alone is compared
    Case(
        f"test_core.py::test___reassign_times[{n_fft}]",
        FeatureConfig(n_fft=n_fft, hop_length=n_fft, center=False),
        partial(clicks, 4096, 263, 2633),
        ("stft",),
    )
    for n_fft in (128, 256, 1024, 2099)
]
STFT += [
    Case(
        f"test_core.py::test___reassign_frequencies[{sr}, {n_fft}, False]",
        FeatureConfig(sr=sr, n_fft=n_fft, hop_length=n_fft, center=False),
        partial(two_tones, sr),
        ("stft",),
    )
    for sr, n_fft in product((256, 512, 2000, 2048), (128, 255, 256, 512, 1280))
]
STFT += [
    Case(
        "test_core.py::test___reassign_times_center",
        FeatureConfig(sr=4000, hop_length=2048),
        partial(clicks, 4096, 2049),
        ("stft",),
    ),
    *(
        Case(
            f"test_core.py::test_reassigned_spectrogram_flags[{center}]",
            FeatureConfig(center=center),
            partial(clicks, 2048),
            ("stft",),
        )
        for center in (False, True)
    ),
]
STFT += [Case("test_multichannel.py::test_stft_multi", FeatureConfig(), partial(recording, 44100), ("stft",))]


def hollow(cfg: FeatureConfig) -> bool:
    """Whether a filter of librosa's misses every bin."""
    names = ("sr", "n_fft", "n_mels", "fmin", "fmax", "htk", "norm")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Empty filters", UserWarning)
        return not librosa.filters.mel(**{name: getattr(cfg, name) for name in names}).any(axis=1).all()


# makeTestData.m, testMelfb: the .mat files of test_filters.py::test_melfb, filters without a sound; noise gives one.
FILTERBANKS = [
    FeatureConfig(sr=sr, n_fft=n_fft, hop_length=n_fft // 4, n_mels=n_mels, fmin=fmin, fmax=fmax, htk=htk)
    for sr, n_fft, n_mels, fmin, fmax, htk in product(
        (8000, 11025, 22050), (256, 512), (20, 40, 120), (0.0, 512.0), (2000.0, None), (False, True)
    )
]
HOLLOW = [cfg for cfg in FILTERBANKS if hollow(cfg)]  # librosa warns and reads zeros; we refuse
MELS = [
    Case(
        f"test_filters.py::test_melfb[{cfg.sr}, {cfg.n_fft}, {cfg.n_mels}, {cfg.fmin:g}, {cfg.fmax}, {cfg.htk}]",
        cfg,
        partial(clip, "short"),
        MEL,
        emulated=(cfg.sr, cfg.n_fft, cfg.n_mels, cfg.fmax) == (22050, 256, 20, 2000.0),
    )
    for cfg in FILTERBANKS
    if cfg not in HOLLOW
]
MELS += [Case("test_features.py::test_mel_to_audio", FeatureConfig(), partial(clip, "tone"), MEL)]
MELS += [Case("test_multichannel.py::test_melspectrogram_multi_time", FeatureConfig(), partial(recording, 44100), MEL)]

# Where librosa's tests give mfcc a spectrogram S, a clip is given here; a test of its own gives the DCT their S.
MFCCS = [
    Case(
        f"test_features.py::test_mfcc[2, ortho, {n_mfcc}, {lifter}]",
        FeatureConfig(n_mfcc=n_mfcc, lifter=float(lifter)),
        partial(clip, "recording"),
        ("log_mel", "mfcc"),
        "starts_with_the_sum",
    )
    for n_mfcc, lifter in product((13, 20), (0, 13))
]
MFCCS += [  # test_mfcc_to_audio has the same clip and sizes, and a lifter of 3
    Case(
        f"test_features.py::test_mfcc_to_mel[{n_mfcc}, {n_mels}, 2, {lifter}]",
        FeatureConfig(n_mfcc=n_mfcc, n_mels=n_mels, lifter=float(lifter)),
        partial(clip, "tone"),
        ("log_mel", "mfcc"),
        "leads_back",
    )
    for n_mfcc, n_mels, lifter in product((13, 20), (64, 128), (0, 1, 2, 3))
]
CASES = STFT + MELS + MFCCS

# Decibels of given powers: frames of one impulse, and filters of weight 1.
LEVELS = FeatureConfig(n_fft=1024, hop_length=1024, n_mels=64, norm=1, window="boxcar", center=False)
POWERS = np.linspace(0, 2e5, num=10)  # test_core.py::test_power_to_db
CLAMPS = list(product((1e-10, 1e3), (None, 0.0, 40.0, 80.0)))  # its amin and top_db; ref=1
EXPONENTS = range(-5, 6)  # test_core.py::test_power_to_db_inv: 10^k with ref=10^erp reads 10 (k - erp)
AMPLITUDES = np.abs(np.random.default_rng(2).standard_normal(1000)) + 1e-6  # test_amplitude_to_db

# What librosa's tests ask and a config cannot say: the test, the fields, and how they are refused.
UNKNOWN = "no such feature option; there are sr, n_fft"
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    # The DCT-II alone, and orthonormal: a config's norm is the filters', and test_mfcc's norm=None has no name.
    *(("test_features.py::test_mfcc", {"dct_type": n}, UNKNOWN) for n in (1, 3)),
    *(("test_features.py::test_mfcc_badlifter", {"lifter": x}, "must be 0 or more") for x in (-1, np.nan)),
    ("test_features.py::test_mfcc_to_mel", {"lifter": -1}, "must be 0 or more"),
    *(("test_core.py::test_power_to_db_fail", {"amin": x, "top_db": 20}, "must be above 0") for x in (-1, 0)),
    *(("test_core.py::test_power_to_db_fail", {"top_db": x}, "must be 0 dB or more") for x in (-5, -10)),
    # A maximum is known after the clip has passed; top_db counts from it, and adding a constant is the caller's.
    ("test_core.py::test_power_to_db", {"ref": np.max}, "must be above 0"),
    # Windows by name only: a config is a line of JSON.
    ("test_failures.py::test_stft_bad_window", {"window": np.ones(1024)}, "must be one of boxcar, hann"),
    ("test_features.py::test_rms", {"window": np.ones}, "must be one of boxcar, hann"),
    ("test_core.py::test_istft_reconstruction", {"window": "bartlett"}, "must be one of boxcar, hann"),
    # No preset pads so; librosa.stft itself refuses "wrap" by now, and pads the last three of these.
    ("test_core.py::test___reassign_frequencies", {"pad_mode": "wrap"}, "must be constant or reflect"),
    *(
        ("librosa.stft", {"pad_mode": mode}, "must be constant or reflect")
        for mode in ("maximum", "mean", "median", "minimum", "edge", "symmetric", "linear_ramp")
    ),
    ("test_failures.py::test_frame_hop", {"hop_length": 0}, "must be a whole number of samples, 1 or more"),
]

SILENCE = np.zeros(1000, np.float32)
UNCENTRED = FeatureConfig(n_fft=256, hop_length=128, n_mels=20, center=False)
CENTRED = UNCENTRED.replace(center=True)
BAD_CLIPS: list[tuple[str, FeatureConfig, Any, str]] = [
    ("test_failures.py::test_frame_size", UNCENTRED, np.zeros(64, np.float32), "clip 0 has 64 samples, fewer than"),
    (
        "test_failures.py::test_frame_size_difference",
        UNCENTRED,
        np.zeros(129, np.float32),
        "clip 0 has 129 samples, fewer than the 256 of one frame",
    ),
    ("test_failures.py::test_valid_audio_type", CENTRED, [0.0] * 1000, "expected a NumPy or CuPy array"),
    ("test_core.py::test_power_to_db", CENTRED, np.zeros(1000, np.complex64), "y has dtype complex64"),
    ("test_failures.py::test_valid_audio_nan", CENTRED, np.where(np.arange(1000) == 10, np.nan, SILENCE), "holds NaN"),
    ("test_failures.py::test_valid_audio_inf", CENTRED, np.where(np.arange(1000) == 10, np.inf, SILENCE), "infinity"),
]

# What librosa's tests give functions that take a spectrum S. Ours take waveforms: the matrices alone meet these.
SPECTRA = {"S_ideal": np.eye(513)[:, [5, 5, 5]], "ones": np.ones((1025, 10)), "zeros": np.zeros((1025, 10))}

# librosa's functions of these tests that we do not have: features go one way here, from a waveform.
ABSENT = {
    "istft": "test_core.py::test_istft",
    "power_to_db": "test_core.py::test_power_to_db of a spectrogram: log_mel takes the waveform",
    "amplitude_to_db": "test_core.py::test_amplitude_to_db of a spectrogram: log_mel with power=1",
    "db_to_power": "test_core.py::test_db_to_power",
    "db_to_amplitude": "test_core.py::test_db_to_amplitude",
    "mel_to_stft": "test_features.py::test_mel_to_stft",
    "mel_to_audio": "test_features.py::test_mel_to_audio, its way back",
    "mfcc_to_mel": "test_features.py::test_mfcc_to_mel, its way back",
    "mfcc_to_audio": "test_features.py::test_mfcc_to_audio, its way back",
}
