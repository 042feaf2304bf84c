"""What a model file says about itself: all that is needed to classify a recording with it, and where it came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..esc50.dataset import FEATURES
from ..esc50.recipes import Recipe
from ..kernels import CumelError, FeatureConfig

FORMAT = "cumel 1"


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The properties of an ONNX file that `export` wrote."""

    labels: tuple[str, ...]  # of the columns of `probabilities`
    recipe: Recipe
    input: str  # what the graph takes
    precision: str
    fold: int  # held out from training
    epoch: int
    accuracy: float | None  # on the held-out fold, the mean of `recipe.views` views; None for a run without history
    versions: dict[str, str]  # of the packages that wrote the file

    def to_dict(self) -> dict[str, Any]:
        """Return what a runtime needs that cannot read the file's properties, such as a browser's, as JSON types."""
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
        """Return the properties as text; whatever is not a plain word is JSON.

        Features, kind, rate and length repeat what the recipe holds, for readers that know nothing of recipes.
        """
        recipe = self.recipe
        return {
            "format": FORMAT,
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
        }

    @classmethod
    def from_props(cls, props: Mapping[str, str]) -> Metadata:
        """Read back what `to_props` made.

        Raises
        ------
        CumelError
            When the properties are not ours, or one is absent, malformed or contradicts another.
        """
        if "format" not in props:
            raise CumelError("carries no metadata of ours, so its features and labels are unknown")
        if props["format"] != FORMAT:
            raise CumelError(f"has the format {props['format']!r}, and this version reads {FORMAT!r}")
        return cls(
            labels=_labels(props),
            recipe=_recipe(props),
            input=_text(props, "input"),
            precision=_text(props, "precision"),
            fold=_value(props, "fold"),
            epoch=_value(props, "epoch"),
            accuracy=_value(props, "accuracy"),
            versions=_value(props, "versions"),
        )


def _text(props: Mapping[str, str], name: str) -> str:
    if name not in props:
        raise CumelError(f"metadata: {name} is missing")
    return props[name]


def _value(props: Mapping[str, str], name: str) -> Any:
    try:
        return json.loads(_text(props, name))
    except json.JSONDecodeError as error:
        raise CumelError(f"metadata: {name} is not JSON ({error})") from None


def _labels(props: Mapping[str, str]) -> tuple[str, ...]:
    labels = _value(props, "labels")
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        raise CumelError("metadata: labels is not a list of names")
    return tuple(labels)


def _recipe(props: Mapping[str, str]) -> Recipe:
    """Read the recipe, and make sure that features can be computed from it: the file may come from anywhere."""
    values = _value(props, "recipe")
    try:
        recipe = Recipe.from_dict(values)
        if recipe.kind not in FEATURES:
            raise CumelError(f"kind={recipe.kind!r}: must be one of {', '.join(FEATURES)}")
        if recipe.input_shape[2] < 1:
            raise CumelError(f"seconds={recipe.seconds!r}: too short for one frame")
        stated = FeatureConfig.from_json(_text(props, "features"))
    except (CumelError, TypeError, KeyError, OverflowError) as error:
        raise CumelError(f"metadata: recipe or features are malformed ({error})") from None
    contradictions = stated.differences(recipe.features)
    if _text(props, "kind") != recipe.kind:
        contradictions.append(f"kind={_text(props, 'kind')}, not {recipe.kind}")
    if contradictions:
        raise CumelError(f"metadata: features contradict the recipe ({'; '.join(contradictions)})")
    return recipe
