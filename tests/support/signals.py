"""The lengths and configs that the tests of the front end share, and the oracle that checks a float32 path."""

from collections.abc import Callable
from functools import cache, cached_property

import numpy as np

from cumel.kernels import PRESETS, FeatureConfig, reference
from cumel.kernels.arrays import rows_first
from cumel.kernels.filterbank import dct_matrix
from cumel.kernels.tolerance import (
    KINDS,
    MEAN_DB,
    MEL_ATOL,
    MEL_RTOL,
    NOISY,
    NOISY_DB,
    TONAL_DB,
    db_floor,
    db_tolerance,
    loudest,
    mel_ceiling,
    normalized_tolerance,
    signal,
)

SMALL = FeatureConfig(sr=16000, n_fft=512, hop_length=160, n_mels=40)
_MIDDLE = FeatureConfig(n_fft=1024, hop_length=256, n_mels=64)
# The presets in dB, which librosa can express; `whisper` is that of the model without its last steps.
IN_DB = {name: PRESETS[name] for name in ("esc50", "compact", "librosa", "panns")} | {
    "whisper": FeatureConfig(sr=16000, n_fft=400, hop_length=160, n_mels=80, pad_mode="reflect")
}
CONFIGS = IN_DB | {
    "small": SMALL.replace(n_fft=256, hop_length=80, n_mels=20),
    "large": FeatureConfig(sr=44100, n_fft=4096, hop_length=1024),
    "short_window": SMALL.replace(n_fft=1024, win_length=601, hop_length=200, window="hamming"),
    "odd": SMALL.replace(n_fft=1025, hop_length=256, n_mels=64, window="blackman", pad_mode="reflect"),
    "prime": SMALL.replace(n_fft=509, hop_length=101, n_mfcc=13, lifter=22.0),
    "sparse": SMALL.replace(hop_length=700, window="boxcar"),  # hop_length > n_fft: no frame hears what lies between
    "hop441": FeatureConfig(sr=44100, n_fft=1024, hop_length=441, n_mels=64, window="nuttall", norm=None),
    "uncentred": SMALL.replace(center=False),
    "magnitude": _MIDDLE.replace(power=1.0, amin=1e-5, ref=0.5),
    "htk": _MIDDLE.replace(htk=True, norm=None, fmin=50.0),
    "l1": _MIDDLE.replace(norm=1, top_db=None, fmax=8000.0),
    "l2": _MIDDLE.replace(norm=2, top_db=60.0, amin=1e-8, ref=2.0, pad_mode="reflect"),
    "linf": _MIDDLE.replace(norm="inf", window="blackmanharris"),
}


def lengths(cfg: FeatureConfig) -> dict[str, int]:
    """Return awkward lengths in samples: one, too few for a frame, even, and odd and no multiple of the hop."""
    every = {
        "1": 1,
        "short": cfg.n_fft // 3,
        "even": 4 * cfg.n_fft,
        "odd": 8 * cfg.n_fft + (cfg.hop_length // 2 | 1),
    }
    return {name: n for name, n in every.items() if cfg.n_frames(n) > 0}


CASES = [(name, kind, length) for name, cfg in CONFIGS.items() for kind in KINDS for length in lengths(cfg)]


def librosa_input(y: np.ndarray) -> np.ndarray:
    """Return the clip in float64, in which librosa then computes."""
    return y / 32768.0 if y.dtype == np.int16 else y.astype(np.float64)


def librosa_mel(y: np.ndarray, cfg: FeatureConfig) -> np.ndarray:
    """Return librosa's mel spectrogram, with float64 filters as well."""
    from cumel.esc50 import verify  # here, so that what compares with the reference needs no librosa

    return verify.librosa_mel(librosa_input(y), cfg)


def librosa_db(mel: np.ndarray, cfg: FeatureConfig) -> np.ndarray:
    """Return librosa's dB; for magnitudes its ref and amin are magnitudes."""
    from cumel.esc50 import verify

    return verify.librosa_db(mel.copy(), cfg)


# Bounds of what is not in dB. Each is followed by the largest error of the CPU path and of the emulated CUDA path on
# CASES, and where it was.
STFT_ATOL = 1e-6  # share of the clip's largest |STFT|; 5.7e-7: prime n_fft (Bluestein), clicks; with a plan 2.7e-7
MFCC_RTOL = 4e-6  # share of the largest norm of a frame; 1.2e-6: librosa, chirp
IMAGE_UNEQUAL = 1e-3  # share of the pixels, or one pixel, that may lie one level off; one: compact, noise, 128 pixels


# Times the bounds of the STFT and what is made of it, where cuFFT multiplies by chirps (Bluestein): for an n_fft with a
# prime factor above 127. The CPU's needs none: its 5.7e-7 above is of such a one. No GPU yet.
BLUESTEIN, LARGEST_RADIX = 5.0, 127


def cufft_slack(cfg: FeatureConfig) -> float:
    """Return BLUESTEIN where cuFFT takes that way for a config, else 1."""
    n, factor = cfg.n_fft, 2
    while factor <= min(n, LARGEST_RADIX):
        if n % factor:
            factor += 1
        else:
            n //= factor
    return 1.0 if n == 1 else BLUESTEIN


class Oracle:
    """What `reference` makes of one clip, and checks of what another path made of it; `slack` times the bounds."""

    def __init__(self, y: np.ndarray, cfg: FeatureConfig, slack: float = 1.0) -> None:
        self.y, self.cfg, self.slack = y, cfg, slack

    @cached_property
    def stft(self) -> np.ndarray:
        return reference.stft(self.y, self.cfg)

    @cached_property
    def mel(self) -> np.ndarray:
        return reference.melspectrogram(self.y, self.cfg)

    @cached_property
    def log_mel(self) -> np.ndarray:
        return reference.log_mel(self.y, self.cfg)

    @cached_property
    def ceiling(self) -> np.ndarray:
        """What each filter would read if all its bins were as loud as the clip's loudest [n_mels, 1]."""
        return mel_ceiling(self.y, self.cfg, self.stft)

    @cached_property
    def floor(self) -> np.ndarray:
        """The value below which a filter holds rounding noise of the loudest bin [n_mels, 1]."""
        return db_floor(self.ceiling, self.cfg)

    @cached_property
    def db_tolerance(self) -> np.ndarray:
        """How far each value above the floor may be off [n_mels, n_frames]."""
        return db_tolerance(self.log_mel, self.ceiling, self.cfg, self.slack)

    @cached_property
    def loudest(self) -> float:
        """The largest amplitude of a bin, before pre-emphasis or after."""
        return float(loudest(self.y, self.cfg, self.stft).max())

    def check_stft(self, actual: np.ndarray) -> None:
        np.testing.assert_allclose(actual, self.stft, rtol=0, atol=self.slack * STFT_ATOL * self.loudest)

    def check_spectrogram(self, actual: np.ndarray) -> None:
        """Compare amplitudes, which are off by as much as those of the STFT."""
        expected = reference.spectrogram(self.y, self.cfg)
        actual, expected = (values.astype(np.float64) ** (1 / self.cfg.power) for values in (actual, expected))
        np.testing.assert_allclose(actual, expected, rtol=STFT_ATOL, atol=self.slack * STFT_ATOL * self.loudest)

    def check_mel(self, actual: np.ndarray) -> None:
        assert actual.shape == self.mel.shape
        tolerance = self.slack * (MEL_RTOL * self.mel + MEL_ATOL[int(self.cfg.power)] * self.ceiling)
        np.testing.assert_array_less(np.abs(actual - self.mel) - tolerance, 1e-300)

    def check_log_mel(self, actual: np.ndarray, limit: float = TONAL_DB, expected: np.ndarray | None = None) -> None:
        """Compare with the reference, or with `expected` from librosa, with a `limit` in dB."""
        expected = self.log_mel if expected is None else expected
        assert actual.shape == expected.shape
        if self.cfg.is_per_band:
            ceilings = mel_ceiling(self.y, self.cfg, self.stft, of_frames=True)
            tolerance = normalized_tolerance(self.mel, ceilings, self.cfg, self.slack)
            assert np.isfinite(actual).all()
            np.testing.assert_array_less(np.abs(actual - expected) - tolerance, 1e-300)
            return
        error = np.abs(np.maximum(actual, self.floor) - np.maximum(expected, self.floor))
        per_db = self.cfg.levels.gain / self.cfg.db_per_decade if self.cfg.log is not None else np.inf
        np.testing.assert_array_less(error, np.minimum(self.db_tolerance, limit * per_db))
        assert error.size < 100 or error.mean() <= MEAN_DB * per_db  # the mean of a few is as bad as their maximum

    def check_mfcc(self, actual: np.ndarray, log_mel: np.ndarray) -> None:
        """Compare with the exact DCT of the same path's `log_mel`, which has its own check."""
        gain = (1 + self.cfg.lifter / 2) * np.linalg.norm(log_mel.astype(np.float64), axis=0).max()
        np.testing.assert_allclose(actual, dct_matrix(self.cfg) @ log_mel, rtol=0, atol=MFCC_RTOL * gain)

    def check_image(self, actual: np.ndarray, *, few: bool = False) -> None:
        """At most one level off above the floor, and only where a level ends within the tolerance; if `few`, seldom."""
        if self.cfg.decibels != self.cfg:
            Oracle(self.y, self.cfg.decibels, self.slack).check_image(actual, few=few)
            return
        expected = reference.mel_image(self.y, self.cfg)
        span = np.ptp(self.log_mel)
        slack = 255 * 2 * self.db_tolerance / max(span, 1e-300)  # twice: the ends of the stretch are off as well
        assert actual.dtype == np.uint8
        assert actual.shape == expected.shape
        if slack.min() >= 1 and self.ceiling.max() > 0:
            return  # not silent, but flat up to rounding: the stretch makes an image of the rounding
        difference = np.abs(actual.astype(int) - expected)
        assert difference[self.log_mel > self.floor].max(initial=0) <= 1
        level = 255 * (self.log_mel - self.log_mel.min()) / max(span, 1e-300)
        undecided = (np.abs(level - np.round(level)) < slack) | (self.log_mel <= self.floor)
        assert not difference[~undecided].any()
        assert not few or difference.sum() <= max(1, IMAGE_UNEQUAL * difference.size)

    def check_all(self, compute: Callable[[str], np.ndarray], kind: str = "any") -> None:
        """Compare every feature of the clip, which `compute` returns by its name; `kind` is the clip's.

        `compute` gives each in the layout of the config.
        """

        def got(feature: str) -> np.ndarray:
            return rows_first(compute(feature), self.cfg)

        log_mel = got("log_mel")
        self.check_stft(got("stft"))
        self.check_spectrogram(got("spectrogram"))
        self.check_mel(got("melspectrogram"))
        self.check_log_mel(log_mel, NOISY_DB if kind in NOISY else TONAL_DB)
        self.check_mfcc(got("mfcc"), log_mel)
        self.check_image(got("mel_image"), few=kind in ("noise", "quiet"))


@cache
def oracle(name: str, kind: str, length: str, slack: float = 1.0) -> Oracle:
    """Return the oracle of one of CASES."""
    cfg = CONFIGS[name]
    return Oracle(signal(kind, lengths(cfg)[length], cfg.sr), cfg, slack)
