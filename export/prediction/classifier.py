"""Recordings of any rate, length, channel count and format to labels with probabilities, through an exported model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...esc50.audio import fit_length
from ...esc50.system import defaults
from ...kernels import CumelError, FeatureConfig
from ..runtime import Model, load_model
from .segments import Heard, listen

__all__ = ["BATCHES", "Model", "Result", "Tally", "check_call", "classify", "load_model", "predict"]

BATCHES = {False: 16, True: 64}  # windows that are classified at once, without and with a GPU
LEAST_HOP = 0.001  # s


class Result(NamedTuple):
    """What the model says of one window of a recording."""

    heard: Heard
    probabilities: NDArray[np.float32] | None  # [n_classes]; None of silence, and where nothing was heard
    labels: tuple[str, ...]

    def best(self, top: int) -> list[dict[str, Any]]:
        """Return the `top` most probable labels, each with its probability."""
        if self.probabilities is None:
            return []
        order = np.argsort(-self.probabilities, kind="stable")[:top]
        return [{"label": self.labels[i], "probability": float(self.probabilities[i])} for i in order]

    def row(self, top: int) -> dict[str, Any]:
        """Return it as JSON types: which part (in seconds) of which file, the best labels, or the error."""
        one = self.heard
        return {
            "file": one.file,
            "start": one.start,
            "end": one.end,
            "seconds": one.seconds,
            "sr": one.sr,
            "silent": one.silent,
            "top": self.best(top),
            "error": one.error,
        }


def classify(model: Model, heard: Iterable[Heard], batch: int = 1) -> Iterator[Result]:
    """Yield a result for each window, in order; at most `batch` are held and classified at once."""
    heard = iter(heard)
    while group := list(islice(heard, batch)):
        places = [i for i, one in enumerate(group) if one.y is not None and not one.silent]
        scores: dict[int, NDArray[np.float32]] = {}
        if places:
            clips = np.stack([fit_length(y, model.recipe.n_samples) for i in places if (y := group[i].y) is not None])
            scores = dict(zip(places, model.probabilities(clips), strict=True))
        for i, one in enumerate(group):
            if i in scores and not np.isfinite(scores[i]).all():
                one = one._replace(error=f"{one.file}: the model's answer is not a number; export it again")
            yield Result(one, scores[i] if i in scores and one.error is None else None, model.labels)


class Tally:
    """Counts of what was classified."""

    def __init__(self) -> None:
        self.files = self.failed = self.windows = self.silent = 0
        self.heard_seconds = 0.0  # windows that overlap count each

    def add(self, heard: Heard) -> None:
        """Count a result."""
        self.files += heard.first
        self.failed += heard.error is not None
        if heard.error is None:
            self.windows += 1
            self.silent += heard.silent
            self.heard_seconds += heard.end - heard.start

    def report(self, model: Model) -> dict[str, Any]:
        """Return the counts, with the model and where it ran."""
        return {
            "model": str(model.path),
            "provider": model.report(),
            "files": self.files,
            "windows": self.windows,
            "silent": self.silent,
            "heard_seconds": self.heard_seconds,
            "failed": self.failed,
        }


def check_call(
    model: Model, *, top: int = 5, cfg: FeatureConfig | None = None, hop_seconds: float | None = None
) -> None:
    """Refuse what no recording could satisfy, with a `CumelError`."""
    if top < 1:
        raise CumelError(f"top={top}: must be 1 or more")
    if hop_seconds is not None and not LEAST_HOP <= hop_seconds < float("inf"):
        raise CumelError(f"hop_seconds={hop_seconds:g}: must be {LEAST_HOP:g} or more, in seconds")
    differing = [] if cfg is None else model.recipe.features.differences(cfg)
    if differing:
        raise CumelError(f"{model.path}: was trained on {'; '.join(differing)}; leave the feature options out")


@defaults()
def predict(
    model: Model,
    paths: Sequence[Path | str],
    *,
    top: int = 5,
    cfg: FeatureConfig | None = None,
    hop_seconds: float | None = None,
) -> dict[str, Any]:
    """Classify recordings; one that cannot be classified gets its reason, and the others go on.

    Each is decoded, mixed down, resampled to the model's rate, and cut or mirrored to its length, as in training.
    `listen` and `classify` do the same for any number of recordings, a result at a time.

    Parameters
    ----------
    model : Model
    paths : sequence of path
    top : int
        Labels per window, the most probable first; at most all of them.
    cfg : FeatureConfig, optional
        Features that the caller expects the model to have.
    hop_seconds : float, optional
        Classify the whole recording, in windows this far apart; without it, the beginning.

    Returns
    -------
    dict
        ``model``, ``provider`` (asked for, used, why, and the route), counts, and ``results``: in order, for each
        window, ``file``, its ``start`` and ``end`` in it (s), ``seconds`` and ``sr`` of the file, ``silent``, ``top``
        (a list of ``label`` and ``probability``), and ``error``, a text or None.

    Raises
    ------
    CumelError
        For `top` below 1, a hop that is none, and when `cfg` is not what the model was trained on.
    """
    check_call(model, top=top, cfg=cfg, hop_seconds=hop_seconds)
    tally, rows = Tally(), []
    windows = listen(map(Path, paths), model.recipe, hop_seconds)
    for result in classify(model, windows, BATCHES[model.session.on_gpu]):
        tally.add(result.heard)
        rows.append(result.row(top))
    return tally.report(model) | {"results": rows}
