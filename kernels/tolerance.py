"""What float32 may be off by, in one place, and the signals on which it is tried. NumPy alone.

Float32 is off by a share of the loudest amplitude: in dB, by the more the deeper a value lies below its filter's
ceiling, which is what the filter would read if all its bins were as loud as the clip's loudest one. Bounds in dB hold
for a config with another logarithm, mean or std in its own unit. Statistics of a clip have a bound of their own.

Each bound is followed by the largest error that was seen, and where.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import reference
from .config import FeatureConfig
from .filterbank import mel_matrix

Float64 = NDArray[np.float64]

# Against the oracle, down to DEPTH_DB below a filter's ceiling.
DB_STEPS = 4e-5  # dB; 2.4e-5: in ONNX; float32 counts in steps of 0.8e-5 at -100 dB, and 1.5e-5 at -130 dB
AMPLITUDE = 2e-7  # share of the ceiling's amplitude; 0.7e-7: in ONNX, esc50, chirp
ROUNDING = 4 * np.finfo(np.float32).eps  # share of a value, of the few operations that follow statistics
DEPTH_DB = 80.0  # deeper values are rounding noise of the loudest bin

# Of mel values against the oracle.
MEL_RTOL = 1e-4  # share of the value, besides:
MEL_ATOL = {1: 1e-6, 2: 1e-7}  # share of the filter's ceiling, by power; 0.03 of both together: magnitude, chirp

# Against librosa in float64, whatever the depth.
NOISY_DB = 1e-4  # a few windows of NOISY; 2.7e-5: whisper, noise, in a low filter of one bin, 37 dB below the maximum
NOISE_DB = 1e-3  # seconds of noise, which reach deeper in such a filter
TONAL_DB = 1e-2  # any clip; 6.4e-3: tonal recordings, near the -80 dB floor
MEAN_DB = 1e-4  # mean over any clip; 3.7e-5: whisper, chirp

NOISY = ("noise", "quiet", "clicks", "silence")
TONAL = ("tone", "chirp")
KINDS = NOISY + TONAL


def signal(kind: str, n_samples: int, sr: int) -> NDArray:
    """Make a seeded clip that is hard in its own way.

    Parameters
    ----------
    kind : str
        One of KINDS.
    n_samples : int
    sr : int
        Hz

    Returns
    -------
    ndarray [n_samples], float32; int16 when "quiet"
    """
    rng, t = np.random.default_rng(5), np.arange(n_samples) / sr
    if kind == "quiet":  # 80 dB below full scale
        return rng.integers(-3, 4, n_samples).astype(np.int16)
    if kind == "noise":
        y = 0.3 * rng.standard_normal(n_samples)
    elif kind == "chirp":  # 50 Hz to 0.45 sr
        y = 0.5 * np.sin(2 * np.pi * (50 * t + (0.45 * sr - 50) * sr / (2 * n_samples) * t**2))
    elif kind == "tone":
        y = 0.8 * np.sin(2 * np.pi * 440 * t)
    else:
        y = np.zeros(n_samples)
        if kind == "clicks":
            y[::997], y[::1511] = 1.0, -0.7
    return y.astype(np.float32)


def loudest(y: NDArray, cfg: FeatureConfig, stft: NDArray | None = None) -> Float64:
    """Return the largest amplitude of a bin in each frame [n_frames].

    That is a bin of the STFT, or of what it would be without `remove_dc`, `preemphasis` or both: a mean or a low tone
    that they take away was rounded with all the rest.

    Parameters
    ----------
    y : ndarray [n_samples]
    cfg : FeatureConfig
    stft : ndarray [n_bins, n_frames], optional
        The oracle's, where it is known.
    """
    amplitude = np.abs(reference.stft(y, cfg) if stft is None else stft).max(axis=0)
    dc, emphasis = {"remove_dc": False}, {"preemphasis": 0.0}
    for other in (cfg.replace(**dc), cfg.replace(**emphasis), cfg.replace(**dc, **emphasis)):
        if other != cfg:
            stft = reference.stft(y[cfg.n_dropped - other.n_dropped :], other)
            amplitude = np.maximum(amplitude, np.abs(stft).max(axis=0))
    return amplitude


def mel_ceiling(y: NDArray, cfg: FeatureConfig, stft: NDArray | None = None, *, of_frames: bool = False) -> Float64:
    """Return what each mel filter would read if all its bins were as loud as the `loudest` one.

    Parameters
    ----------
    y, cfg, stft
        As for `loudest`.
    of_frames : bool
        Whether each frame has a ceiling, or the clip one for all.

    Returns
    -------
    ndarray [n_mels, 1], or [n_mels, n_frames]
    """
    amplitude = loudest(y, cfg, stft)
    return (amplitude if of_frames else amplitude.max()) ** cfg.power * mel_matrix(cfg).sum(axis=1, keepdims=True)


def db_floor(ceiling: Float64, cfg: FeatureConfig) -> Float64:
    """Return the value, DEPTH_DB below a filter's `mel_ceiling`, below which it holds rounding noise [n_mels, 1].

    It is in the unit of `cfg.levels`; without a logarithm no value is too deep.
    """
    return levels_of(ceiling * 10 ** (-DEPTH_DB * cfg.power / 20) if cfg.log is not None else 0 * ceiling, cfg)


def db_tolerance(levels: Float64, ceiling: Float64, cfg: FeatureConfig, slack: float = 1.0) -> Float64:
    """Return how far float32 may be from each value that the oracle has in the unit of `cfg.levels`.

    Parameters
    ----------
    levels : ndarray [n_mels, n_frames], float64
        The oracle's `log_mel`, before `normalize` and the mean and std of each band.
    ceiling : ndarray [n_mels, 1], float64
        From `mel_ceiling`.
    cfg : FeatureConfig
    slack : float
        Factor on the error of an amplitude, for an FFT that is less exact than most.

    Returns
    -------
    ndarray [n_mels, n_frames]
        For values above `db_floor`; what lies deeper is taken as if it lay there.
    """
    to, unit = cfg.levels, _per_db(cfg)
    if cfg.log is None:
        return MEL_RTOL * np.abs(levels + to.shift) + slack * to.gain * MEL_ATOL[int(cfg.power)] * ceiling
    depth = (levels_of(ceiling, cfg) - np.maximum(levels, db_floor(ceiling, cfg))) / unit
    return unit * (DB_STEPS + 20 / np.log(10) * slack * AMPLITUDE * 10 ** (depth / 20))


def normalized_tolerance(mel: Float64, ceiling: Float64, cfg: FeatureConfig, slack: float = 1.0) -> Float64:
    """Return how far float32 may be from the oracle's `log_mel` of a config that `is_per_band`.

    Every value counts in the statistics, however deep, so each is followed from its amplitude on.

    Parameters
    ----------
    mel : ndarray [n_mels, n_frames], float64
        The oracle's `melspectrogram`.
    ceiling : ndarray [n_mels, n_frames], float64
        From `mel_ceiling`, of each frame.
    cfg : FeatureConfig
    slack : float
        As for `db_tolerance`.

    Returns
    -------
    ndarray [n_mels, n_frames]
        Infinite where a deviation may be nothing but rounding.
    """
    off = slack * AMPLITUDE * ceiling ** (1 / cfg.power)
    amplitude = mel ** (1 / cfg.power)
    exact, low, high = (
        levels_of(np.maximum(one, 0.0) ** cfg.power, cfg) for one in (amplitude, amplitude - off, amplitude + off)
    )
    exact, low, high = (np.maximum(one, one.max() - cfg.levels.span) for one in (exact, low, high))
    step = _per_db(cfg) * DB_STEPS if cfg.log is not None else MEL_RTOL * np.abs(exact)
    error = np.maximum(high - exact, exact - low) + step
    if cfg.normalize is not None:
        error = _after_statistics(exact, error, cfg)
    mean, std = (np.reshape(values, (-1, 1)) for values in (cfg.mean, cfg.std))
    return (error + ROUNDING * np.abs(mean)) / std


def _after_statistics(x: Float64, error: Float64, cfg: FeatureConfig) -> Float64:
    """Return how far a clip's normalized features may be off, whose values ``x`` are off by up to `error`."""
    by = cfg.normalize
    assert by is not None
    axis = 1 if by.per == "band" else None
    moved = error + error.mean(axis, keepdims=True)
    if not by.variance:
        return moved
    n = x.shape[1] if by.per == "band" else x.size
    degrees = max(n - by.ddof, 1)
    centred = x - x.mean(axis, keepdims=True)
    variance = (centred**2).sum(axis, keepdims=True) / degrees
    deviation = np.sqrt(variance + by.eps) if by.eps_in == "var" else np.sqrt(variance) + by.eps
    of_deviation = np.sqrt((error**2).sum(axis, keepdims=True) / degrees)
    least = deviation - of_deviation
    share = np.abs(centred) / np.maximum(deviation, 1e-300)
    off = np.divide(moved + share * of_deviation, least, out=np.full_like(x, np.inf), where=least > 0)
    return off + ROUNDING * share


def levels_of(mel: Float64, cfg: FeatureConfig) -> Float64:
    """Return mel values in the unit of `cfg.levels`, without its span below the maximum."""
    to = cfg.levels
    values = np.maximum(mel + to.offset, to.least)
    return to.gain * (np.log10(values) if to.log else values) - to.shift


def _per_db(cfg: FeatureConfig) -> float:
    """Return one dB in the unit of `cfg.levels`."""
    return cfg.levels.gain / cfg.db_per_decade
