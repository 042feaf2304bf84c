"""Any front end in float32 against `reference`: hard clips, their lengths, and how far each value may be off."""

import math
from functools import cached_property

import numpy as np
from hypothesis import strategies as st

from cumel.kernels import FeatureConfig, reference
from cumel.kernels.filterbank import mel_matrix, window
from cumel.kernels.rules import Normalize
from cumel.kernels.tolerance import AMPLITUDE, DB_STEPS

from support.drawn import free_fields
from support.signals import STFT_ATOL

SIGNALS = ("noise", "quiet", "chirp", "silence", "dc", "drift", "beside", "full scale")
RTOL = 2e-6  # of a sum of products
ROUNDING = 2.0**-22  # of a result: a few steps of float32


def clip(kind: str, n_samples: int, sr: int) -> np.ndarray:
    """Make one of SIGNALS: float32 in -1..1, or int16 when "quiet" or "full scale"."""
    rng, t = np.random.default_rng(7), np.arange(n_samples) / sr
    noise = rng.standard_normal(n_samples)
    if kind == "quiet":
        return rng.integers(-3, 4, n_samples).astype(np.int16)
    if kind == "full scale":
        return rng.choice(np.array([-32768, 32767, 0], np.int16), n_samples)
    made = {
        "noise": 0.3 * noise,
        "chirp": 0.5 * np.sin(2 * np.pi * (50 + 0.2 * sr * t) * t),
        "silence": 0.0 * noise,
        "dc": 0.5 + 0.01 * noise,
        "drift": 0.01 * t + 0.001 * noise,
        "beside": np.where(np.arange(n_samples) < n_samples // 2, 0.5, 1e-4) * noise,
    }
    return made[kind].astype(np.float32)


def lengths(cfg: FeatureConfig) -> dict[str, int]:
    """Return lengths in samples at which something begins: a clip's only frame, its second one, and many."""
    least, hop = cfg.least_samples, cfg.hop_length
    every = {"1": 1, "least": least, "before": least + hop - 1, "second": least + hop, "after": least + hop + 1}
    return {name: n for name, n in every.items() if cfg.n_frames(n)} | {"many": least + 20 * hop + hop // 2 + 1}


class Expected:
    """The features of one clip, up to `log_mel`, and how far float32 may be off; `slack` times the error of an FFT."""

    def __init__(self, y: np.ndarray, cfg: FeatureConfig, slack: float = 1.0) -> None:
        self.y, self.cfg, self.slack = y, cfg, slack

    @cached_property
    def stft(self) -> tuple[np.ndarray, np.ndarray]:
        bins = reference.stft(self.y, self.cfg)
        return bins, np.full(bins.shape, self.slack * STFT_ATOL * np.abs(bins).max() + self.rest_of_means)

    @cached_property
    def rest_of_means(self) -> float:
        """What is left of means in the lowest bins, as no float32 is a frame's mean."""
        if not self.cfg.remove_dc:
            return 0.0
        sums = reference.frames(self.y, self.cfg.replace(remove_dc=False)).sum(axis=1)
        return 2.0**-24 * np.abs(sums).max() / self.cfg.frame_length * window(self.cfg).sum()

    @cached_property
    def spectrogram(self) -> tuple[np.ndarray, np.ndarray]:
        strength, (bins, atol) = reference.spectrogram(self.y, self.cfg), self.stft
        louder = ((np.abs(bins) + atol) ** 2 + self.cfg.bin_offset) ** (self.cfg.power / 2)
        return strength, louder - strength + RTOL * strength

    @cached_property
    def melspectrogram(self) -> tuple[np.ndarray, np.ndarray]:
        mel, area = reference.melspectrogram(self.y, self.cfg), mel_matrix(self.cfg).sum(axis=1, keepdims=True)
        error = self.slack * AMPLITUDE * np.abs(self.stft[0]).max() + self.rest_of_means
        off = area * error if self.cfg.power == 1 else 2 * error * np.sqrt(mel * area) + area * error**2
        return mel, off + RTOL * mel

    @cached_property
    def log_mel(self) -> tuple[np.ndarray, np.ndarray]:
        cfg, levels, (mel, off) = self.cfg, self.cfg.levels, self.melspectrogram
        value, low, high = (_level(np.maximum(x, 0), cfg) for x in (mel, mel - off, mel + off))
        error = np.maximum(value - low, high - value) + ROUNDING * (np.abs(value) + abs(levels.shift))
        error += DB_STEPS * levels.gain / cfg.db_per_decade if levels.log else 0.0
        if cfg.normalize is not None:
            error = _normalized_error(value, error, cfg.normalize)
        error = (error.T / (np.array(cfg.std) if cfg.is_per_band else 1.0)).T
        expected = reference.log_mel(self.y, cfg)
        return expected, error + ROUNDING * (np.abs(expected) + np.abs(cfg.mean).max() / np.min(cfg.std))

    def check(self, feature: str, actual: np.ndarray) -> None:
        """Compare a feature, by its name, with the reference."""
        expected, tolerance = getattr(self, feature)
        assert actual.shape == expected.shape
        assert np.isfinite(actual).all()
        excess = np.abs(actual - expected) - tolerance
        worst = np.unravel_index(np.argmax(excess), excess.shape)
        assert excess[worst] <= 0, f"{feature}{worst}: {actual[worst]}, not {expected[worst]} +- {tolerance[worst]:.1e}"


def _level(mel: np.ndarray, cfg: FeatureConfig) -> np.ndarray:
    """Return what a config makes of mel values before statistics."""
    levels = cfg.levels
    x = np.maximum(mel + levels.offset, levels.least)
    x = levels.gain * (np.log10(x) if levels.log else x) - levels.shift
    return np.maximum(x, x.max() - levels.span)


def _normalized_error(value: np.ndarray, error: np.ndarray, by: Normalize) -> np.ndarray:
    """Return how far normalized values may be off: a mean and a deviation are off by as much as what they are of."""
    axis = 1 if by.per == "band" else None
    mean = value.mean(axis, keepdims=True)
    error = error + error.mean(axis, keepdims=True)
    if not by.variance:
        return error
    n = value.shape[1] if by.per == "band" else value.size
    degrees = max(n - by.ddof, 1)
    variance = ((value - mean) ** 2).sum(axis, keepdims=True) / degrees
    deviation = np.sqrt(variance + by.eps) if by.eps_in == "var" else np.sqrt(variance) + by.eps
    moved = np.sqrt((error**2).sum(axis, keepdims=True) / degrees)
    least = deviation - moved  # Where the error is as large as the deviation, anything may come of it.
    relative = np.divide(1.0, least, out=np.full_like(least, math.inf), where=least > 0)
    return (error + np.abs(value - mean) / np.maximum(deviation, 1e-300) * moved) * relative


def fields(n_fft: int, n_mels: int) -> st.SearchStrategy[dict]:
    """Draw every field of a config but those that say how large it is and where its filters lie."""
    normalize = st.none() | st.builds(
        Normalize,
        per=st.sampled_from(["band", "clip"]),
        variance=st.booleans(),
        ddof=st.integers(0, 1),
        eps=st.sampled_from([0.0, 1e-5]),
        eps_in=st.sampled_from(["std", "var"]),
    )
    bands = st.lists(st.floats(0.25, 8), min_size=n_mels, max_size=n_mels)
    new = st.fixed_dictionaries(
        {
            "scale": st.sampled_from([1.0, 32768.0]),
            "remove_dc": st.booleans(),
            "preemphasis": st.sampled_from([0.0, 0.97, 1.0, 0.3]),
            "preemphasis_of": st.sampled_from(["frame", "clip", "valid"]),
            "window": st.sampled_from(["hann", "hamming", "povey", "boxcar"]),
            "win_length": st.none() | st.integers(n_fft // 4, n_fft),
            "periodic": st.booleans(),
            "align": st.sampled_from(["center", "left"]),
            "padding": st.none() | st.tuples(st.integers(0, 2 * n_fft), st.integers(-n_fft, 2 * n_fft)),
            "pad_mode": st.sampled_from(["constant", "reflect", "symmetric"]),
            "bin_offset": st.sampled_from([0.0, 1e-9, 1.0]),
            "triangles": st.sampled_from(["hz", "mel", "left"]),
            "offset": st.sampled_from([0.0, 2.0**-24, 0.01]),
            "log": st.sampled_from(["db", "ln", "log10", None]),
            "normalize": normalize,
            "mean": st.sampled_from([0.0, -4.0]) | bands,
            "std": st.sampled_from([1.0, 5.0]) | bands,
        }
    )
    return st.builds(_joined, free_fields(n_fft, n_mels), new)


def _joined(old: dict, new: dict) -> dict:
    """Join fields, where those that exclude each other give way."""
    centred = {"center": True} if new["padding"] is not None else {}
    return old | new | centred | ({} if new["log"] == "db" else {"ref": 1.0})
