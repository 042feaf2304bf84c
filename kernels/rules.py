"""What the fields of a `FeatureConfig` may hold, and the rule that a message states when one does not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from .errors import CumelError
from .values import as_python, relative, shown

if TYPE_CHECKING:
    from .config import FeatureConfig

# Coefficients of sum_i (-1)^i a_i cos(2 pi i n / N); Harris 1978 and Nuttall 1981, as in scipy.signal.windows.
WINDOWS: dict[str, tuple[float, ...]] = {
    "boxcar": (1.0,),
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.50, 0.08),
    "nuttall": (0.3635819, 0.4891775, 0.1365995, 0.0106411),
    "blackmanharris": (0.35875, 0.48829, 0.14128, 0.01168),
    "povey": (0.5, 0.5),
}
WINDOW_POWERS = {"povey": 0.85}  # Kaldi's own window is a power of the Hann window.

CHOICES: dict[str, tuple[str | None, ...]] = {
    "window": tuple(WINDOWS),
    "pad_mode": ("constant", "reflect", "symmetric"),
    "preemphasis_of": ("frame", "clip", "valid"),
    "align": ("center", "left"),
    "triangles": ("hz", "mel", "left"),
    "log": ("db", "ln", "log10", None),
}
FLAGS = ("center", "htk", "remove_dc", "periodic", "time_major")
WHOLE = ("sr", "n_fft", "hop_length", "win_length", "n_mels", "n_mfcc", "lifter_from")
REAL = (
    *("power", "fmin", "fmax", "norm", "ref", "amin", "top_db", "lifter"),
    *("scale", "preemphasis", "bin_offset", "offset", "mean", "std"),
)
LIMITS = {"sr": 10**7, "n_fft": 2**22, "hop_length": 2**31, "n_mels": 2**16, "n_mfcc": 2**16}
MOST_PADDING = 2**22  # samples
FLOAT32_MAX = 3.4e38
MOST_DB = 1e6


@dataclass(frozen=True, kw_only=True)
class Normalize:
    """Each clip's features less their mean, by their deviation, over the frames that the clip has.

    A band that never changes becomes 0, whatever `eps` is.

    Raises
    ------
    CumelError
        When a value breaks a rule; the message names the field, its value and the remedy.

    Examples
    --------
    >>> Normalize(ddof=1, eps=1e-5)
    Normalize(per='band', variance=True, ddof=1, eps=1e-05, eps_in='std')
    """

    per: Literal["band", "clip"] = "band"  # one mean and deviation for each mel band, or one for the clip
    variance: bool = True  # False: the mean is subtracted, and nothing else is done
    ddof: int = 0  # variances divide by the number of values less this: 0 or 1
    eps: float = 0.0  # added before the division
    eps_in: Literal["std", "var"] = "std"  # "std": / (std + eps); "var": / sqrt(var + eps)

    def __post_init__(self) -> None:
        """Check every field."""
        for name, value in vars(self).items():
            object.__setattr__(self, name, as_python(value, whole=name == "ddof", real=name == "eps"))
        need = {
            "per": (self.per in ("band", "clip"), "must be band or clip"),
            "variance": (isinstance(self.variance, bool), "must be true or false"),
            "ddof": (is_int(self.ddof, 0) and self.ddof <= 1, "must be 0 or 1"),
            "eps": (is_real(self.eps) and 0 <= self.eps <= FLOAT32_MAX, "must be 0 or more, and fit in float32"),
            "eps_in": (self.eps_in in ("std", "var"), "must be std or var"),
        }
        for name, (true, rule) in need.items():
            if not true:
                raise CumelError(f"normalize: {name}={shown(getattr(self, name))}: {rule}")

    @classmethod
    def of(cls, value: Any) -> Any:
        """Build one of the fields that a config's JSON holds; anything but a mapping is returned as it is."""
        if not isinstance(value, Mapping):
            return value
        known = [field.name for field in fields(cls)]
        unknown = sorted(str(name) for name in value if name not in known)
        if unknown:
            raise CumelError(f"normalize: {', '.join(unknown)}: no such option; there are {', '.join(known)}")
        return cls(**value)


class Broken(Exception):  # noqa: N818
    """The field that breaks a rule, and the rule."""


def plain(name: str, value: Any) -> Any:
    """Return a field's value in Python's own types: numbers, texts, truths, tuples of numbers, `Normalize`."""
    if name == "normalize":
        return Normalize.of(value)
    value = as_python(value, whole=name in WHOLE, real=name in REAL)
    if (
        name not in ("padding", "mean", "std")
        or isinstance(value, str | float | int)
        or not isinstance(value, Iterable)
    ):
        return value
    return tuple(as_python(each, whole=name == "padding", real=name != "padding") for each in value)


def check(cfg: FeatureConfig) -> None:
    """Check every field, in the order in which a user would fix them.

    Raises
    ------
    Broken
        Names the first field that breaks a rule.
    """
    for name in ("sr", "n_fft", "hop_length", "n_mels", "n_mfcc"):
        unit = {"sr": "of hertz ", "n_mels": "", "n_mfcc": ""}.get(name, "of samples ")
        _need(name, is_int(getattr(cfg, name), 1), f"must be a whole number {unit}".strip() + ", 1 or more")
    for name, most in LIMITS.items():
        _need(name, getattr(cfg, name) <= most, f"must be at most {most}")
    length_fits = cfg.win_length is None or (is_int(cfg.win_length, 1) and cfg.win_length <= cfg.n_fft)
    _need("win_length", length_fits, f"must be between 1 and n_fft={cfg.n_fft}")
    for name, choices in CHOICES.items():
        value = getattr(cfg, name)
        known = (value is None or isinstance(value, str)) and value in choices
        _need(name, known, f"must be {_any_of(choices)}")
    for name in FLAGS:
        _need(name, isinstance(getattr(cfg, name), bool), "must be true or false")
    _check_samples(cfg)
    _check_filters(cfg)
    _check_levels(cfg)


def _check_samples(cfg: FeatureConfig) -> None:
    """Check what is done to samples and frames before the transform."""
    _need("scale", is_real(cfg.scale) and 0 < cfg.scale <= FLOAT32_MAX, "must be above 0, and fit in float32")
    _need("preemphasis", is_real(cfg.preemphasis) and 0 <= cfg.preemphasis <= 1, "must be between 0 and 1")
    if cfg.padding is not None:
        pair = isinstance(cfg.padding, tuple) and len(cfg.padding) == 2
        whole = pair and is_int(cfg.padding[0], 0) and is_int(cfg.padding[1], -MOST_PADDING)
        rule = "must be two numbers of samples, (left, right); right may be negative"
        _need("padding", whole and max(cfg.padding) <= MOST_PADDING, rule)
        _need("padding", cfg.center, "says where frames begin, as center=False does: give one of the two")
    _need("bin_offset", is_real(cfg.bin_offset) and 0 <= cfg.bin_offset <= FLOAT32_MAX, "must be 0 or more")


def _check_filters(cfg: FeatureConfig) -> None:
    """Check the powers and the mel filters."""
    _need("power", is_real(cfg.power) and cfg.power in (1, 2), "must be 1 (magnitude) or 2 (power)")
    _need("fmin", is_real(cfg.fmin) and cfg.fmin >= 0, "must be 0 Hz or more")
    below_nyquist = cfg.fmax is None or (is_real(cfg.fmax) and cfg.fmin < cfg.fmax <= cfg.sr / 2)
    _need("fmax", below_nyquist, f"must lie above fmin={cfg.fmin:g} and at most at sr / 2 = {cfg.sr / 2:g} Hz")
    _need("fmin", cfg.fmin < cfg.top_frequency, f"must lie below sr / 2 = {cfg.sr / 2:g} Hz")
    if isinstance(cfg.norm, str) and cfg.norm == "inf":
        object.__setattr__(cfg, "norm", math.inf)
    numeric = isinstance(cfg.norm, float) and cfg.norm > 0
    named = cfg.norm is None or (isinstance(cfg.norm, str) and cfg.norm == "slaney")
    _need("norm", named or numeric, "must be slaney, None, inf or a number above 0")


def _check_levels(cfg: FeatureConfig) -> None:
    """Check what becomes of mel values."""
    of_clip = callable(cfg.ref) or (isinstance(cfg.ref, str) and cfg.ref == "max")
    _need("ref", is_real(cfg.ref) and cfg.ref > 0, relative(cfg.ref) if of_clip else "must be above 0")
    _need("ref", cfg.ref == 1.0 or cfg.log == "db", f"only decibels have a reference, and log={cfg.log}: use mean")
    _need("offset", is_real(cfg.offset) and 0 <= cfg.offset <= FLOAT32_MAX, "must be 0 or more, and fit in float32")
    _need("amin", is_real(cfg.amin) and 0 <= cfg.amin <= FLOAT32_MAX, "must be above 0, and fit in float32")
    finite = cfg.amin > 0 or cfg.offset > 0 or cfg.log is None
    _need("amin", finite, "must be above 0, as the logarithm of silence is infinite without an offset")
    top_fits = cfg.top_db is None or (is_real(cfg.top_db) and 0 <= cfg.top_db <= MOST_DB)
    _need("top_db", top_fits, f"must be 0 dB or more, at most {MOST_DB:g}; None keeps all")
    _need("lifter", is_real(cfg.lifter) and cfg.lifter >= 0, "must be 0 or more")
    _need("lifter_from", is_int(cfg.lifter_from, 0) and cfg.lifter_from <= 1, "must be 0 (Kaldi) or 1 (librosa)")
    _need("normalize", cfg.normalize is None or isinstance(cfg.normalize, Normalize), "must be a Normalize, or None")
    for name in ("mean", "std"):
        value = getattr(cfg, name)
        numbers = value if isinstance(value, tuple) else (value,)
        many = not isinstance(value, tuple) or len(value) == cfg.n_mels
        real = all(is_real(number) and abs(number) <= FLOAT32_MAX for number in numbers)
        _need(name, many and real, f"must be a number, or one for each of n_mels={cfg.n_mels} bands")
        _need(name, name == "mean" or min(numbers) > 0, "must be above 0")


def _any_of(choices: tuple[str | None, ...]) -> str:
    """Return ``a, b or c``."""
    names = [str(choice) for choice in choices]
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _need(name: str, true: bool, rule: str) -> None:
    if not true:
        raise Broken(name, rule)


def is_int(value: object, least: int) -> bool:
    """Tell whether a value is a whole number of `least` or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_real(value: object) -> bool:
    """Tell whether a value is a finite float."""
    return isinstance(value, float) and math.isfinite(value)
