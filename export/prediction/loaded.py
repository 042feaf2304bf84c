"""A model that classifies recordings in one line: ``cumel.load("model.onnx").predict("dog.wav")``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ...kernels import InputError
from ..runtime import Model, load_model
from .classifier import predict


class Predictor(Model):
    """An exported model, ready to classify samples and recordings."""

    def predict(self, files: Path | str | Sequence[Path | str], **options: Any) -> list[dict[str, Any]]:
        """Classify one recording, or several.

        Parameters
        ----------
        files : path, or sequence of path
        **options
            As for `cumel.predict`: ``top``, ``hop_seconds``, ``aggregate``.

        Returns
        -------
        list of dict
            The ``results`` of `cumel.predict`: ``[0]["top"][0]["label"]`` is the label of a recording's beginning.

        Raises
        ------
        InputError
            When a recording that is given alone cannot be classified; of several, its row says so.
        """
        alone = isinstance(files, str | Path)
        rows = predict(self, [files] if alone else files, **options)["results"]
        if alone and rows[-1]["error"] is not None:
            raise InputError(rows[-1]["error"])
        return rows


def load(path: Path | str, **options: Any) -> Predictor:
    """Load a model that `cumel.export_onnx` wrote; `options` are those of `runtime.load_model`."""
    model = load_model(path, **options)
    return Predictor(**{field.name: getattr(model, field.name) for field in fields(Model)})
