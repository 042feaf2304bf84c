"""What a model file says about itself: all that is needed to classify a recording with it, and where it came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
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
    accuracy: float | None  # on the held-out fold, averaged over `recipe.views`; None for a run without history
    versions: dict[str, str]

    def to_props(self) -> dict[str, str]:
        """Return the properties as text; what is not a plain word is JSON.

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
    def from_props(cls, props: Mapping[str, str], path: Path) -> Metadata:
        """Read back what `to_props` made; `path` is named in errors.

        Raises
        ------
        CumelError
            When the file is not one of ours, or a property is absent, malformed or contradicts another.
        """
        if "format" not in props:
            raise CumelError(f"{path}: not a model of ours: it carries no metadata; `cumel export` writes one that does")
        if props["format"] != FORMAT:
            raise CumelError(f"{path}: has format {props['format']!r}, not {FORMAT!r}; export it again with this version")

        def text(name: str) -> str:
            if name not in props:
                raise CumelError(f"{path}: its metadata lacks {name!r}; export it again")
            return props[name]

        def value(name: str) -> Any:
            try:
                return json.loads(text(name))
            except json.JSONDecodeError as error:
                raise CumelError(f"{path}: its metadata {name!r} is not JSON ({error}); export it again") from None

        def malformed(name: str, why: object) -> CumelError:
            return CumelError(f"{path}: its metadata {name!r} is malformed ({why}); export it again")

        labels = value("labels")
        if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
            raise malformed("labels", "it must be a list of names")
        values = value("recipe")
        try:
            recipe = Recipe.from_dict(values)
            assert_usable(recipe)
        except (CumelError, TypeError, KeyError, OverflowError) as error:
            raise malformed("recipe", error) from None
        try:
            contradictions = FeatureConfig.from_json(text("features")).differences(recipe.features)
        except CumelError as error:
            raise malformed("features", error) from None
        if contradictions:
            raise malformed("features", f"its recipe says otherwise: {'; '.join(contradictions)}")
        return cls(
            labels=tuple(labels),
            recipe=recipe,
            input=text("input"),
            precision=text("precision"),
            fold=value("fold"),
            epoch=value("epoch"),
            accuracy=value("accuracy"),
            versions=value("versions"),
        )


def assert_usable(recipe: Recipe) -> None:
    """Refuse a recipe whose features cannot be computed, which only a file from elsewhere can hold."""
    if recipe.kind not in FEATURES:
        raise CumelError(f"kind={recipe.kind!r}: must be one of {', '.join(FEATURES)}")
    if recipe.n_samples < 1 or recipe.input_shape[2] < 1:
        raise CumelError(f"seconds={recipe.seconds!r}: too short for one frame")
