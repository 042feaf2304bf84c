"""The properties of a model file: everything needed to classify a recording with it, and where it came from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...esc50.audio import HIGHEST_RATE, LOWEST_RATE
from ...esc50.datasets import FEATURES, SPLITS
from ...esc50.training import Recipe
from ...kernels import CumelError, FeatureConfig

METADATA_FORMAT = "cumel 1"
FEATURES_NAME = "features"  # the value that the front end ends in
INPUTS = ("waveform", "image")
PRECISIONS = ("fp32", "fp16", "int8")

# A file may come from anywhere. Beyond these limits it is damaged, or would take gigabytes.
MAX_TEXT = 1 << 20  # characters per property
MAX_LABELS, MAX_LABEL = 10_000, 200  # number of labels; characters per label
MAX_ELEMENTS = 1 << 27  # limit of waveform, frames, features and mel matrix, each: half a GiB in float32


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The properties of an ONNX file that `export` wrote."""

    labels: tuple[str, ...]  # names of the columns of `probabilities`
    recipe: Recipe
    input: str  # name of the graph's input: one of INPUTS
    precision: str  # one of PRECISIONS
    fold: int | str | None  # the fold or split that was held out from training; None for none
    epoch: int
    accuracy: float | None  # accuracy on that fold, by the mean of `recipe.views` views; None without history
    versions: dict[str, str]  # versions of the packages that wrote and checked the file
    normalisation: dict[str, float] = field(
        default_factory=dict
    )  # mean and std of decibels, as used inside the network

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types for runtimes that cannot read a file's properties, such as ONNX Runtime Web."""
        recipe = self.recipe
        return {
            "labels": list(self.labels),
            "input": self.input,
            "kind": recipe.kind,
            "seconds": recipe.seconds,
            "features": recipe.features.to_dict(),
            "recipe": recipe.to_dict(),
        }

    def to_props(self) -> dict[str, str]:
        """Return the properties as text; values other than plain words are JSON.

        Features, kind, rate and length repeat fields of the recipe, for readers that know no recipes.
        """
        recipe = self.recipe
        return {
            "format": METADATA_FORMAT,
            "labels": json.dumps(self.labels),
            "recipe": json.dumps(recipe.to_dict()),
            "features": recipe.features.to_json(),
            "kind": recipe.kind,
            "sample_rate": json.dumps(recipe.features.sr),
            "seconds": json.dumps(recipe.seconds),
            "input": self.input,
            "precision": self.precision,
            "fold": json.dumps(self.fold),
            "epoch": json.dumps(self.epoch),
            "accuracy": json.dumps(self.accuracy),
            "versions": json.dumps(self.versions),
            "normalisation": json.dumps(self.normalisation),
        }

    @classmethod
    def from_props(cls, props: Mapping[str, str]) -> Metadata:
        """Read the properties that `to_props` returned.

        Raises
        ------
        CumelError
            When the properties are not ours, or one of them is missing, malformed or contradicts another.
        """
        if "format" not in props:
            raise CumelError("carries no metadata of ours, so its features and labels are unknown")
        if props["format"] != METADATA_FORMAT:
            raise CumelError(f"has the format {props['format']!r}, and this version reads {METADATA_FORMAT!r}")
        return cls(
            labels=_labels(props),
            recipe=_recipe(props),
            input=_one_of(props, "input", INPUTS),
            precision=_one_of(props, "precision", PRECISIONS),
            fold=_fold(props),
            epoch=_count(props, "epoch"),
            accuracy=_accuracy(props),
            versions=_mapping(props, "versions", str),
            normalisation=_mapping(props, "normalisation", float) if "normalisation" in props else {},
        )


def _text(props: Mapping[str, str], name: str) -> str:
    if name not in props:
        raise CumelError(f"metadata: {name} is missing")
    if len(props[name]) > MAX_TEXT:
        raise CumelError(f"metadata: {name} is {len(props[name])} characters long, {MAX_TEXT} at most")
    return props[name]


def _one_of(props: Mapping[str, str], name: str, known: tuple[str, ...]) -> str:
    text = _text(props, name)
    if text not in known:
        raise CumelError(f"metadata: {name} is {text[:MAX_LABEL]!r}, not one of {', '.join(known)}")
    return text


def _value(props: Mapping[str, str], name: str) -> Any:
    try:
        return json.loads(_text(props, name), parse_constant=_refuse)
    except CumelError:
        raise
    except (ValueError, RecursionError) as error:
        raise CumelError(f"metadata: {name} is not JSON ({str(error)[:MAX_LABEL]})") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _count(props: Mapping[str, str], name: str) -> int:
    value = _value(props, name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 31:
        raise CumelError(f"metadata: {name} is not a whole number, 0 or more")
    return value


def _fold(props: Mapping[str, str]) -> int | str | None:
    value = _value(props, "fold")
    return value if value is None or value in SPLITS else _count(props, "fold")


def _accuracy(props: Mapping[str, str]) -> float | None:
    value = _value(props, "accuracy")
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1):
        raise CumelError("metadata: accuracy is neither null nor between 0 and 1")
    return value


def _mapping(props: Mapping[str, str], name: str, kind: type) -> dict[str, Any]:
    values = _value(props, name)
    fit = isinstance(values, dict) and all(isinstance(value, kind) for value in values.values())
    if not fit or (kind is float and not all(map(math.isfinite, values.values()))):
        raise CumelError(f"metadata: {name} does not map names to {'texts' if kind is str else 'numbers'}")
    return values


def _labels(props: Mapping[str, str]) -> tuple[str, ...]:
    labels = _value(props, "labels")
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        raise CumelError("metadata: labels is not a list of names")
    if len(labels) > MAX_LABELS or max(map(len, labels)) > MAX_LABEL:
        raise CumelError(f"metadata: labels: {MAX_LABELS} at most, of {MAX_LABEL} characters at most")
    return tuple(labels)


def _recipe(props: Mapping[str, str]) -> Recipe:
    """Read the recipe, and check that features can be computed from it: the file may come from anywhere."""
    values = _value(props, "recipe")
    try:
        recipe = Recipe.from_dict(values)
        _check_sizes(recipe)
        if recipe.kind not in FEATURES:
            raise CumelError(f"kind={recipe.kind!r}: must be one of {', '.join(FEATURES)}")
        if recipe.input_shape[2] < 1:
            raise CumelError(f"seconds={recipe.seconds!r}: too short for one frame")
        stated = FeatureConfig.from_json(_text(props, "features"))
    except (TypeError, ValueError, KeyError, OverflowError, RecursionError) as error:
        raise CumelError(f"metadata: recipe or features are malformed ({str(error)[:MAX_LABEL]})") from None
    contradictions = stated.differences(recipe.features)
    if _text(props, "kind") != recipe.kind:
        contradictions.append(f"kind={_text(props, 'kind')[:MAX_LABEL]}, not {recipe.kind}")
    if contradictions:
        raise CumelError(f"metadata: features contradict the recipe ({'; '.join(contradictions)})")
    return recipe


def _check_sizes(recipe: Recipe) -> None:
    """Raise a `CumelError` for rates that no recording has, and for sizes that would not fit into memory."""
    cfg = recipe.features
    if not LOWEST_RATE <= cfg.sr <= HIGHEST_RATE:
        raise CumelError(f"sr={cfg.sr}: must be {LOWEST_RATE} to {HIGHEST_RATE} Hz")
    n_frames = recipe.input_shape[2]
    largest = max(recipe.n_samples, n_frames * max(cfg.n_fft, cfg.n_mels), cfg.n_bins * cfg.n_mels)
    if largest > MAX_ELEMENTS:
        raise CumelError(f"{recipe.seconds:g} s, n_fft={cfg.n_fft}, n_mels={cfg.n_mels}: would take gigabytes")
