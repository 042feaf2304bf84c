"""What a feature is: one frozen description that every backend, checkpoint, store and ONNX file shares."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, NamedTuple

from .errors import CumelError
from .rules import Broken, Normalize, check, plain
from .values import shown

INT16_SCALE = 1.0 / 32768.0  # int16 samples to -1..1
CHUNK_SAMPLES = 200 * 2048  # samples of overlapping frames that are computed together; 1.6 MB, about a core's cache
FLAT_DB = 1e-3  # A clip that spans less is constant: its differences are rounding, and make no picture.
LEAST_POWER = 1e-10  # the smallest power of an image whose config has none
ROUNDED_UP = 1.0000002  # Two steps of float32 above 1: with this factor an image's maximum reaches 255.

# What goes into a mel spectrogram and has no argument in librosa.
BEYOND_LIBROSA = ("scale", "remove_dc", "preemphasis", "periodic", "align", "padding", "bin_offset", "triangles")


class Levels(NamedTuple):
    """What becomes of mel values, in numbers that hold for all bands: gain * log10(max(x + offset, least)) - shift."""

    offset: float
    least: float  # values below it count as it
    log: bool  # False: without the logarithm
    gain: float
    shift: float
    span: float  # kept below each clip's own maximum, in units of the result; infinity: all
    silence: float  # what a mel value of 0 becomes


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """Parameters of the front end, under librosa's names and with librosa's defaults.

    Frozen and checked on creation, so a config that exists is valid. Numbers, texts and truths may come from NumPy,
    torch or anywhere else; the fields hold Python's own. `dict(cfg.librosa_mel())` holds the very
    arguments that make `librosa.feature.melspectrogram` compute the same thing.

    The order of operations: samples times `scale`, pre-emphasis of the clip, padding, frames, less their mean,
    pre-emphasis of the frame, window, Fourier transform, power, mel filters, plus `offset`, at least `amin`,
    logarithm, at most `top_db` below the clip's maximum, `normalize`, less `mean`, by `std`, `time_major`.

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
    scale: float = 1.0  # of the samples; 32768 for models that were trained on numbers of 16 bits
    remove_dc: bool = False  # whether each frame's mean is subtracted from it, before its pre-emphasis
    preemphasis: float = 0.0  # a in y[n] = x[n] - a x[n - 1]
    # of each frame, where y[0] = (1 - a) x[0]; of the clip, where y[0] = x[0]; of the clip without y[0]
    preemphasis_of: Literal["frame", "clip", "valid"] = "frame"
    n_fft: int = 2048  # samples
    hop_length: int = 512  # samples
    win_length: int | None = None  # samples, at most n_fft; None: n_fft
    window: str = "hann"  # a key of WINDOWS
    periodic: bool = True  # whether the window has the period win_length; False: it is symmetric
    align: Literal["center", "left"] = "center"  # the window in n_fft samples; left: frames are win_length long
    center: bool = True  # frame t is centred on sample t * hop_length
    padding: tuple[int, int] | None = None  # samples before and after the clip; the second may be negative
    pad_mode: Literal["constant", "reflect", "symmetric"] = "constant"  # zeros, or mirrored without or with the edge
    power: float = 2.0  # exponent of |STFT|: 1 magnitude, 2 power
    bin_offset: float = 0.0  # added to |STFT|^2, before a root is taken
    n_mels: int = 128
    fmin: float = 0.0  # Hz
    fmax: float | None = None  # Hz; None: sr / 2
    htk: bool = False  # False: Slaney's mel scale
    norm: str | float | None = "slaney"  # "slaney" (unit area), None, or the p of an l_p norm ("inf" too)
    # where the filters' sides are straight: in Hz; in mel; in Hz, with a right side as wide as the left one
    triangles: Literal["hz", "mel", "left"] = "hz"
    offset: float = 0.0  # added to mel values
    amin: float = 1e-10  # smallest power; 0 where an offset or no logarithm makes that harmless
    log: Literal["db", "ln", "log10"] | None = "db"  # decibels, natural or decimal logarithm, or none
    ref: float = 1.0  # power that reads 0 dB
    top_db: float | None = 80.0  # dB kept below each clip's own maximum; None: all. Unused without a logarithm
    normalize: Normalize | None = None  # by statistics of each clip
    mean: float | tuple[float, ...] = 0.0  # subtracted, one number or one for each band
    std: float | tuple[float, ...] = 1.0  # divided by, one number or one for each band
    time_major: bool = False  # whether a feature is [n_frames, n_rows] instead of [n_rows, n_frames]
    n_mfcc: int = 20  # at most n_mels
    lifter: float = 0.0  # cepstral liftering; 0: none
    lifter_from: int = 1  # number of the first coefficient in the lifter's sine: 1 in librosa, 0 in Kaldi

    def __post_init__(self) -> None:
        """Check every field, in the order in which a user would fix them."""
        values = dict(vars(self))
        for name, value in values.items():
            object.__setattr__(self, name, plain(name, value))
        try:
            check(self)
        except Broken as broken:
            name, rule = broken.args
            raise CumelError(f"{name}={shown(values[name])}: {rule}") from None

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
        return 10.0 * math.log10(max(self.amin, self.ref)) if self.log == "db" else 0.0

    @property
    def is_per_band(self) -> bool:
        """Whether more follows the logarithm than numbers for all bands: statistics, or a mean or std for each band."""
        return self.normalize is not None or isinstance(self.mean, tuple) or isinstance(self.std, tuple)

    @property
    def levels(self) -> Levels:
        """What becomes of mel values; `mean` and `std` are in it unless `is_per_band`."""
        per_decade = {"db": self.db_per_decade, "ln": math.log(10.0), "log10": 1.0, None: 1.0}[self.log]
        mean, std = (0.0, 1.0) if self.is_per_band else (self.mean, self.std)
        assert not isinstance(mean, tuple)
        assert not isinstance(std, tuple)
        gain, shift, quiet = per_decade / std, (self.db_of_ref + mean) / std, max(self.offset, self.least)
        return Levels(
            offset=self.offset,
            least=self.least,
            log=self.log is not None,
            gain=gain,
            shift=shift,
            span=math.inf if self.top_db is None or self.log is None else self.top_db * (gain / self.db_per_decade),
            silence=gain * (quiet if self.log is None else math.log10(quiet)) - shift,
        )

    @property
    def decibels(self) -> FeatureConfig:
        """The same in decibels and [n_mels, n_frames], with nothing after them: what a mel image is made of."""
        plain_db = self.replace(normalize=None, mean=0.0, std=1.0, time_major=False)
        return plain_db if self.log == "db" else plain_db.replace(log="db", amin=self.amin or LEAST_POWER)

    @property
    def n_bins(self) -> int:
        """Bins of one STFT frame: 1 + n_fft // 2."""
        return 1 + self.n_fft // 2

    @property
    def frame_length(self) -> int:
        """Samples of a frame: n_fft, or those of a window that stands at its left."""
        return self.n_fft if self.align == "center" else self.win_length or self.n_fft

    @property
    def edges(self) -> tuple[int, int]:
        """Samples added before and after a clip; a negative number after it leaves samples out."""
        if self.padding is not None:
            return self.padding
        return (self.n_fft // 2, self.n_fft // 2) if self.center else (0, 0)

    @property
    def n_dropped(self) -> int:
        """Samples that pre-emphasis drops: 1 when it is "valid"."""
        return int(self.preemphasis_of == "valid" and self.preemphasis > 0)

    @property
    def least_samples(self) -> int:
        """Samples of the shortest clip that has a frame."""
        return self.n_dropped + max(1, self.frame_length - sum(self.edges))

    def n_frames(self, n_samples: int) -> int:
        """Frames of a clip of `n_samples`; 0 when the clip is too short for one."""
        return 0 if n_samples < self.least_samples else self.frames_of(n_samples)

    def frames_of(self, n_samples: Any) -> Any:
        """Frames of a clip that is long enough for one, in arithmetic that symbolic numbers have."""
        return 1 + (n_samples - self.n_dropped + sum(self.edges) - self.frame_length) // self.hop_length

    def librosa_stft(self) -> dict[str, Any]:
        """Keyword arguments of `librosa.stft`.

        Raises
        ------
        CumelError
            When librosa has no arguments for what this config says; the message names the fields.
        """
        default = FeatureConfig()
        beyond = [name for name in BEYOND_LIBROSA if getattr(self, name) != getattr(default, name)]
        beyond += ["window"] if self.window == "povey" else []
        if beyond:
            stated = ", ".join(f"{name}={getattr(self, name)}" for name in beyond)
            raise CumelError(f"librosa cannot express {stated}; `reference` computes it in float64")
        names = ("n_fft", "hop_length", "win_length", "window", "center", "pad_mode")
        return {name: getattr(self, name) for name in names}

    def librosa_mel(self) -> dict[str, Any]:
        """Keyword arguments of `librosa.feature.melspectrogram`; errors as for `librosa_stft`."""
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
        others = vars(other)
        return [f"{name}={value}, not {others[name]}" for name, value in vars(self).items() if value != others[name]]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types (an infinite norm as "inf")."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return values | {"norm": "inf" if self.norm == math.inf else self.norm}

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
