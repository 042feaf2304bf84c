"""The properties of a model file: everything needed to classify a recording with it, and where it came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...esc50.audio import HIGHEST_RATE, LOWEST_RATE, Samples, fit_length
from ...esc50.datasets import FEATURES, SPLITS
from ...esc50.training import Recipe
from ...kernels import CumelError, FeatureConfig
from .interface import INPUTS, MOST_SECONDS, Interface
from .properties import MAX_QUOTED, count_of, mapping_of, one_of, text_of, value_of

METADATA_FORMAT, FORMER_FORMAT = "cumel 2", "cumel 1"
PRECISIONS = ("fp32", "fp16", "int8")
ACTIVATIONS = ("softmax", "sigmoid", "none")  # what makes probabilities of the network's last values

# A file may come from anywhere. Beyond these limits it is damaged, or would take gigabytes.
MAX_LABELS, MAX_LABEL = 10_000, 200  # number of labels; characters per label
MAX_ELEMENTS = 1 << 27  # limit of waveform, frames, features and mel matrix, each: half a GiB in float32


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The properties of an ONNX file that `export` wrote."""

    name: str  # of the network: its recipe's, or what its author calls it
    labels: tuple[str, ...]  # names of the columns of `probabilities`
    features: FeatureConfig
    kind: str  # of the features: logmel or image
    seconds: float  # length of the clips that the network takes
    interface: Interface = field(default_factory=Interface)
    precision: str = "fp32"  # one of PRECISIONS
    activation: str = "softmax"  # one of ACTIVATIONS
    channel: bool = True  # the network takes [batch, 1, n_mels, n_frames], and not [batch, n_mels, n_frames]
    recipe: Recipe | None = None  # None for a network that `cumel train` did not train
    fold: int | str | None = None  # the fold or split that was held out from training; None for none
    epoch: int | None = None
    accuracy: float | None = None  # on that fold, by the mean of `recipe.views` views; None where it was not measured
    versions: dict[str, str] = field(default_factory=dict)  # of the packages that wrote and checked the file
    normalisation: dict[str, float] = field(
        default_factory=dict
    )  # mean and std of decibels, as used inside the network

    def __post_init__(self) -> None:
        """Check what every reader relies on."""
        if not isinstance(self.kind, str) or self.kind not in FEATURES:
            raise CumelError(f"kind={self.kind!r}: must be one of {', '.join(FEATURES)}")
        if self.activation not in ACTIVATIONS:
            raise CumelError(f"activation={self.activation}: must be one of {', '.join(ACTIVATIONS)}")
        number = isinstance(self.seconds, int | float) and not isinstance(self.seconds, bool)
        if not number or not 0 < self.seconds <= MOST_SECONDS:
            raise CumelError(f"seconds={self.seconds!r}: must be a number above 0, and at most {MOST_SECONDS:g}")
        _check_labels(self.labels)
        cfg = self.features
        if not LOWEST_RATE <= cfg.sr <= HIGHEST_RATE:
            raise CumelError(f"sr={cfg.sr}: must be {LOWEST_RATE} to {HIGHEST_RATE} Hz")
        if self.n_samples < cfg.least_samples:
            raise CumelError(f"seconds={self.seconds!r}: too short for one frame")
        n_frames = cfg.n_frames(self.n_samples)
        if max(self.n_samples, n_frames * max(cfg.n_fft, cfg.n_mels), cfg.n_bins * cfg.n_mels) > MAX_ELEMENTS:
            raise CumelError(f"{self.seconds:g} s, n_fft={cfg.n_fft}, n_mels={cfg.n_mels}: would take gigabytes")

    @classmethod
    def of_recipe(cls, recipe: Recipe, **others: Any) -> Metadata:
        """Make the metadata of a network that `cumel train` trained; `others` are its other fields."""
        described = {name: getattr(recipe, name) for name in ("name", "features", "kind", "seconds")}
        activation = "sigmoid" if recipe.loss == "bce" else "softmax"
        interface = others.pop("interface", Interface())
        interface = interface.replace(fit=interface.fit or "mirror")
        return cls(**described, recipe=recipe, activation=activation, interface=interface, **others)

    @property
    def input(self) -> str:
        """Name of the graph's first input."""
        return self.interface.input

    @property
    def sr(self) -> int:
        """Rate of the waveforms that the file takes, in Hz."""
        return self.interface.rate or self.features.sr

    @property
    def n_samples(self) -> int:
        """Samples of the clips that features are made of, at the features' rate."""
        return round(self.seconds * self.features.sr)

    @property
    def own_samples(self) -> int:
        """Samples of the network's clips at the rate that the file takes."""
        return round(self.seconds * self.sr)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one clip's features as the network takes them."""
        axes = self.features.n_mels, self.features.n_frames(self.n_samples)
        axes = axes[::-1] if self.features.time_major else axes
        return (1, *axes) if self.channel else axes

    def fitted(self, y: Samples, n_samples: int | None = None) -> Samples:
        """Return a clip of the network's length, or another: a long one is cut, a short one mirrored or filled up.

        A clip without samples is silence.
        """
        n_samples = self.n_samples if n_samples is None else n_samples
        if len(y) < n_samples and (self.interface.fit == "zeros" or len(y) == 0):
            return np.pad(y, (0, n_samples - len(y)))
        return fit_length(y, n_samples)

    def entrance(self, y: Any) -> Any:
        """Compute what the network takes of fitted clips [batch, n_samples]; the same kind of array, float32."""
        features = FEATURES[self.kind](y, self.features)
        features = features[:, None] if self.channel else features
        return features.astype(np.float32, copy=False) if hasattr(features, "astype") else features.float()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types for runtimes that cannot read a file's properties, such as ONNX Runtime Web."""
        return {
            "labels": list(self.labels),
            "input": self.input,
            "sample_rate": self.sr,
            "kind": self.kind,
            "seconds": self.seconds,
            "features": self.features.to_dict(),
            "interface": self.interface.to_dict(),
            "recipe": None if self.recipe is None else self.recipe.to_dict(),
        }

    def to_props(self) -> dict[str, str]:
        """Return the properties as text; values other than plain words are JSON.

        Rate and input repeat what features and interface say, for readers that know neither.
        """
        props = {
            "format": METADATA_FORMAT,
            "name": self.name,
            "labels": json.dumps(self.labels),
            "features": self.features.to_json(),
            "kind": self.kind,
            "sample_rate": json.dumps(self.sr),
            "seconds": json.dumps(self.seconds),
            "input": self.input,
            "interface": self.interface.to_json(),
            "precision": self.precision,
            "activation": self.activation,
            "channel": json.dumps(self.channel),
            "fold": json.dumps(self.fold),
            "epoch": json.dumps(self.epoch),
            "accuracy": json.dumps(self.accuracy),
            "versions": json.dumps(self.versions),
            "normalisation": json.dumps(self.normalisation),
        }
        return props if self.recipe is None else props | {"recipe": json.dumps(self.recipe.to_dict())}

    @classmethod
    def from_props(cls, props: Mapping[str, str]) -> Metadata:
        """Read the properties that `to_props` returned, or those of the former format.

        Raises
        ------
        CumelError
            When the properties are not ours, or one of them is missing, malformed or contradicts another.
        """
        if "format" not in props:
            raise CumelError("carries no metadata of ours, so its features and labels are unknown")
        if props["format"] not in (METADATA_FORMAT, FORMER_FORMAT):
            raise CumelError(f"has the format {props['format']!r}, and this version reads {METADATA_FORMAT!r}")
        former = props["format"] == FORMER_FORMAT
        labels, epoch = value_of(props, "labels"), value_of(props, "epoch")
        common = {
            "labels": tuple(labels) if isinstance(labels, list) else (),
            "interface": _interface(props, former),
            "channel": True if former else _truth(props, "channel"),
            "precision": one_of(props, "precision", PRECISIONS),
            "fold": _fold(props),
            "epoch": None if epoch is None else count_of(props, "epoch"),
            "accuracy": _accuracy(props),
            "versions": mapping_of(props, "versions", str),
            "normalisation": mapping_of(props, "normalisation", float) if "normalisation" in props else {},
        }
        try:
            if former or "recipe" in props:
                read = cls.of_recipe(_recipe(props), **common)
            else:
                return cls(
                    name=text_of(props, "name"),
                    features=_features(props),
                    kind=text_of(props, "kind"),
                    seconds=value_of(props, "seconds"),
                    activation=one_of(props, "activation", ACTIVATIONS),
                    **common,
                )
        except CumelError as error:
            raise error if str(error).startswith("metadata: ") else CumelError(f"metadata: {error}") from None
        read._check_stated(props)
        return read

    def _check_stated(self, props: Mapping[str, str]) -> None:
        """Raise a `CumelError` for properties that contradict the recipe."""
        contradictions = _features(props).differences(self.features)
        for name, own in (("kind", self.kind), ("seconds", json.dumps(self.seconds))):
            if text_of(props, name) != own:
                contradictions.append(f"{name}={text_of(props, name)[:MAX_QUOTED]}, not {own}")
        if contradictions:
            raise CumelError(f"metadata: features contradict the recipe ({'; '.join(contradictions)})")


def _check_labels(labels: tuple[str, ...]) -> None:
    if not isinstance(labels, tuple) or not labels or not all(isinstance(label, str) for label in labels):
        raise CumelError("labels is not a list of names")
    if len(labels) > MAX_LABELS or max(map(len, labels)) > MAX_LABEL:
        raise CumelError(f"labels: {MAX_LABELS} at most, of {MAX_LABEL} characters at most")


def _fold(props: Mapping[str, str]) -> int | str | None:
    value = value_of(props, "fold")
    return value if value is None or value in SPLITS else count_of(props, "fold")


def _accuracy(props: Mapping[str, str]) -> float | None:
    value = value_of(props, "accuracy")
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1):
        raise CumelError("metadata: accuracy is neither null nor between 0 and 1")
    return value


def _interface(props: Mapping[str, str], former: bool) -> Interface:
    taken = one_of(props, "input", INPUTS)
    if former:
        return Interface(input=taken)
    try:
        interface = Interface.from_dict(value_of(props, "interface"))
    except (TypeError, ValueError) as error:
        raise CumelError(f"metadata: interface is malformed ({str(error)[:MAX_QUOTED]})") from None
    if interface.input != taken:
        raise CumelError(f"metadata: input is {taken}, and {interface.input} in the interface")
    return interface


def _truth(props: Mapping[str, str], name: str) -> bool:
    value = value_of(props, name)
    if not isinstance(value, bool):
        raise CumelError(f"metadata: {name} is not true or false")
    return value


def _recipe(props: Mapping[str, str]) -> Recipe:
    try:
        return Recipe.from_dict(value_of(props, "recipe"))
    except (TypeError, ValueError, KeyError, OverflowError, RecursionError) as error:
        raise CumelError(f"metadata: recipe or features are malformed ({str(error)[:MAX_QUOTED]})") from None


def _features(props: Mapping[str, str]) -> FeatureConfig:
    try:
        return FeatureConfig.from_json(text_of(props, "features"))
    except (TypeError, ValueError, KeyError, OverflowError, RecursionError) as error:
        raise CumelError(f"metadata: recipe or features are malformed ({str(error)[:MAX_QUOTED]})") from None
