"""What a feature is: one frozen description that every backend, checkpoint, store and ONNX file shares."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from .errors import CumelError
from .values import as_python, relative, shown

# Coefficients of sum_i (-1)^i a_i cos(2 pi i n / N); Harris 1978 and Nuttall 1981, as in scipy.signal.windows.
WINDOWS: dict[str, tuple[float, ...]] = {
    "boxcar": (1.0,),
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.50, 0.08),
    "nuttall": (0.3635819, 0.4891775, 0.1365995, 0.0106411),
    "blackmanharris": (0.35875, 0.48829, 0.14128, 0.01168),
}


WHOLE = ("sr", "n_fft", "hop_length", "win_length", "n_mels", "n_mfcc")
REAL = ("power", "fmin", "fmax", "norm", "ref", "amin", "top_db", "lifter")
FLOAT32_MAX = 3.4e38
MOST_DB = 1e6

INT16_SCALE = 1.0 / 32768.0  # int16 samples to -1..1
CHUNK_SAMPLES = 200 * 2048  # samples of overlapping frames that are computed together; 1.6 MB, about a core's cache
FLAT_DB = 1e-3  # A clip that spans less is constant: its differences are rounding, and make no picture.
ROUNDED_UP = 1.0000002  # Two steps of float32 above 1: with this factor an image's maximum reaches 255.


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """Parameters of the front end, under librosa's names and with librosa's defaults.

    Frozen and checked on creation, so a config that exists is valid. Numbers, texts and truths may come from NumPy,
    torch or anywhere else; the fields hold Python's own. `dict(cfg.librosa_mel())` holds the very
    arguments that make `librosa.feature.melspectrogram` compute the same thing.

    Raises
    ------
    CumelError
        When a value breaks a rule; the message names the field, its value and the remedy.

    Examples
    --------
    >>> cfg = FeatureConfig(sr=44100, fmin=20, fmax=8300)
    >>> cfg.n_bins, cfg.n_frames(220500)
    (1025, 431)
    >>> FeatureConfig.from_json(cfg.to_json()) == cfg
    True
    >>> FeatureConfig(hop_length=0)
    Traceback (most recent call last):
    ...
    cumel.kernels.errors.CumelError: hop_length=0: must be a whole number of samples, 1 or more
    """

    sr: int = 22050  # Hz
    n_fft: int = 2048  # samples
    hop_length: int = 512  # samples
    win_length: int | None = None  # samples, at most n_fft; None: n_fft
    window: str = "hann"  # a key of WINDOWS, periodic
    center: bool = True  # frame t is centred on sample t * hop_length
    pad_mode: Literal["constant", "reflect"] = "constant"  # beyond the edges: zeros, or the signal mirrored
    power: float = 2.0  # exponent of |STFT|: 1 magnitude, 2 power
    n_mels: int = 128
    fmin: float = 0.0  # Hz
    fmax: float | None = None  # Hz; None: sr / 2
    htk: bool = False  # False: Slaney's mel scale
    norm: str | float | None = "slaney"  # "slaney" (unit area), None, or the p of an l_p norm ("inf" too)
    ref: float = 1.0  # power that reads 0 dB
    amin: float = 1e-10  # smallest power
    top_db: float | None = 80.0  # dB kept below each clip's own maximum; None: all
    n_mfcc: int = 20  # at most n_mels
    lifter: float = 0.0  # cepstral liftering; 0: none

    def __post_init__(self) -> None:
        """Check every field, in the order in which a user would fix them."""
        values = dict(vars(self))
        for name, value in values.items():
            object.__setattr__(self, name, as_python(value, whole=name in WHOLE, real=name in REAL))
        try:
            self._check()
        except _Broken as broken:
            name, rule = broken.args
            raise CumelError(f"{name}={shown(values[name])}: {rule}") from None

    def _check(self) -> None:
        for name in ("sr", "n_fft", "hop_length", "n_mels", "n_mfcc"):
            unit = {"sr": "of hertz ", "n_mels": "", "n_mfcc": ""}.get(name, "of samples ")
            self._need(name, _is_int(getattr(self, name), 1), f"must be a whole number {unit}".strip() + ", 1 or more")
        limits = (("sr", 10**7), ("n_fft", 2**22), ("hop_length", 2**31), ("n_mels", 2**16), ("n_mfcc", 2**16))
        for name, most in limits:
            self._need(name, getattr(self, name) <= most, f"must be at most {most}")
        self._need(
            "win_length",
            self.win_length is None or (_is_int(self.win_length, 1) and self.win_length <= self.n_fft),
            f"must be between 1 and n_fft={self.n_fft}",
        )
        self._need(
            "window", isinstance(self.window, str) and self.window in WINDOWS, f"must be one of {', '.join(WINDOWS)}"
        )
        for name in ("center", "htk"):
            self._need(name, isinstance(getattr(self, name), bool), "must be true or false")
        pads = isinstance(self.pad_mode, str) and self.pad_mode in ("constant", "reflect")
        self._need("pad_mode", pads, "must be constant or reflect")
        self._need("power", _is_real(self.power) and self.power in (1, 2), "must be 1 (magnitude) or 2 (power)")
        self._need("fmin", _is_real(self.fmin) and self.fmin >= 0, "must be 0 Hz or more")
        self._need(
            "fmax",
            self.fmax is None or (_is_real(self.fmax) and self.fmin < self.fmax <= self.sr / 2),
            f"must lie above fmin={self.fmin:g} and at most at sr / 2 = {self.sr / 2:g} Hz",
        )
        self._need("fmin", self.fmin < self.top_frequency, f"must lie below sr / 2 = {self.sr / 2:g} Hz")
        self._check_norm()
        of_clip = callable(self.ref) or (isinstance(self.ref, str) and self.ref == "max")
        self._need("ref", _is_real(self.ref) and self.ref > 0, relative(self.ref) if of_clip else "must be above 0")
        self._need("amin", _is_real(self.amin) and 0 < self.amin <= FLOAT32_MAX, "must be above 0, and fit in float32")
        self._need(
            "top_db",
            self.top_db is None or (_is_real(self.top_db) and 0 <= self.top_db <= MOST_DB),
            f"must be 0 dB or more, at most {MOST_DB:g}; None keeps all",
        )
        self._need("lifter", _is_real(self.lifter) and self.lifter >= 0, "must be 0 or more")

    def _check_norm(self) -> None:
        if isinstance(self.norm, str) and self.norm == "inf":
            object.__setattr__(self, "norm", math.inf)
        numeric = isinstance(self.norm, float) and self.norm > 0
        named = self.norm is None or (isinstance(self.norm, str) and self.norm == "slaney")
        self._need("norm", named or numeric, "must be slaney, None, inf or a number above 0")

    def _need(self, name: str, true: bool, rule: str) -> None:
        if not true:
            raise _Broken(name, rule)

    @property
    def top_frequency(self) -> float:
        """Upper edge of the last mel filter, in Hz."""
        return self.sr / 2 if self.fmax is None else self.fmax

    @property
    def db_per_decade(self) -> float:
        """Decibels of a factor of ten in the mel spectrogram: 10 for power, 20 for magnitude."""
        return 20.0 / self.power

    @property
    def least(self) -> float:
        """Smallest value of the mel spectrogram, smaller ones count as it: amin, or its root for magnitude."""
        return self.amin ** (self.power / 2.0)

    @property
    def db_of_ref(self) -> float:
        """Decibels to subtract, so that `ref` reads 0."""
        return 10.0 * math.log10(max(self.amin, self.ref))

    @property
    def n_bins(self) -> int:
        """Bins of one STFT frame: 1 + n_fft // 2."""
        return 1 + self.n_fft // 2

    @property
    def padding(self) -> int:
        """Samples added at each end."""
        return self.n_fft // 2 if self.center else 0

    def n_frames(self, n_samples: int) -> int:
        """Frames of a clip of `n_samples`; 0 when the clip is too short for one."""
        padded = n_samples + 2 * self.padding
        return 0 if n_samples < 1 or padded < self.n_fft else 1 + (padded - self.n_fft) // self.hop_length

    def librosa_stft(self) -> dict[str, Any]:
        """Keyword arguments of `librosa.stft`."""
        names = ("n_fft", "hop_length", "win_length", "window", "center", "pad_mode")
        return {name: getattr(self, name) for name in names}

    def librosa_mel(self) -> dict[str, Any]:
        """Keyword arguments of `librosa.feature.melspectrogram`."""
        names = ("sr", "power", "n_mels", "fmin", "fmax", "htk", "norm")
        return self.librosa_stft() | {name: getattr(self, name) for name in names}

    def replace(self, **changes: Any) -> FeatureConfig:
        """Return a copy with some fields changed, checked again."""
        unknown = changes.keys() - {field.name for field in fields(self)}
        if unknown:
            raise CumelError(
                f"{', '.join(sorted(unknown))}: no such feature option; there are {', '.join(asdict(self))}"
            )
        return replace(self, **changes)

    def differences(self, other: FeatureConfig) -> list[str]:
        """Name each field that differs, as ``name=own value, not the other's``; empty when equal."""
        others = asdict(other)
        return [f"{name}={value}, not {others[name]}" for name, value in asdict(self).items() if value != others[name]]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types (an infinite norm as "inf")."""
        return asdict(self) | {"norm": "inf" if self.norm == math.inf else self.norm}

    def to_json(self) -> str:
        """Return one line of JSON that `from_json` reads back to an equal config."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FeatureConfig:
        """Build a config from `to_dict`'s result; unknown fields are refused, absent ones take their default."""
        if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
            raise CumelError(f"feature config: expected an object of named fields, got {type(values).__name__}")
        return cls().replace(**values)

    @classmethod
    def from_json(cls, text: str) -> FeatureConfig:
        """Build a config from `to_json`'s result."""
        try:
            values = json.loads(text)
        except (TypeError, ValueError) as error:
            raise CumelError(f"feature config: not JSON ({error})") from None
        return cls.from_dict(values)


class _Broken(Exception):  # noqa: N818
    """The field that breaks a rule, and the rule."""


def _is_int(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_real(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


PRESETS: dict[str, FeatureConfig] = {
    # The student report's spectrogram. librosa 0.9 and older padded by reflection: add pad_mode="reflect" for that.
    "esc50": FeatureConfig(sr=44100, fmin=20.0, fmax=8300.0),
    # The `quick` recipe's: 64 x 251 values of 5 s. Costs a fifth of `esc50`, and trains better.
    "compact": FeatureConfig(sr=16000, n_fft=1024, hop_length=320, n_mels=64, fmin=20.0, fmax=8000.0),
    # librosa.feature.melspectrogram without arguments.
    "librosa": FeatureConfig(),
    # openai/whisper computes (this / 10 + 4) / 4 and drops the last frame (before the maximum is taken).
    "whisper": FeatureConfig(sr=16000, n_fft=400, hop_length=160, n_mels=80, pad_mode="reflect"),
    # qiuqiangkong/audioset_tagging_cnn (PANNs), 32 kHz models.
    "panns": FeatureConfig(
        sr=32000, n_fft=1024, hop_length=320, n_mels=64, fmin=50.0, fmax=14000.0, pad_mode="reflect", top_db=None
    ),
}
