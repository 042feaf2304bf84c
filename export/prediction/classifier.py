"""Recordings of any rate, length, channel count and format to labels with probabilities, through an exported model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...esc50.system import defaults
from ...kernels import CumelError, FeatureConfig
from ..runtime import Model, load_model
from .aggregate import aggregated, check_aggregate
from .segments import Segment, segments_of

__all__ = ["BATCH_SIZES", "Counts", "Model", "Prediction", "check_call", "classify", "load_model", "predict"]

BATCH_SIZES = {False: 16, True: 64}  # segments per call of the model, without and with a GPU
LEAST_HOP = 0.001  # s


class Prediction(NamedTuple):
    """The model's answer for one segment of a recording."""

    segment: Segment
    probabilities: NDArray[np.float32] | None  # [n_classes]; None for silence, and for an error
    labels: tuple[str, ...]
    threshold: float = 0.0  # least probability of a label that is named

    def best(self, top: int) -> list[dict[str, Any]]:
        """Return the `top` most probable labels, each with its probability; none where all are below the threshold."""
        if self.probabilities is None:
            return []
        order = np.argsort(-self.probabilities, kind="stable")[:top]
        best = [{"label": self.labels[i], "probability": float(self.probabilities[i])} for i in order]
        return [row for row in best if row["probability"] >= self.threshold]

    def row(self, top: int) -> dict[str, Any]:
        """Return JSON types: the file, the part of it in seconds, the best labels, or the error."""
        segment = self.segment
        return {
            "file": segment.file,
            "start": segment.start,
            "end": segment.end,
            "seconds": segment.seconds,
            "sr": segment.sr,
            "silent": segment.silent,
            "top": self.best(top),
            "error": segment.error,
        }


def classify(model: Model, segments: Iterable[Segment], batch: int = 1) -> Iterator[Prediction]:
    """Yield a prediction for each segment, in order; at most `batch` are held and classified at once."""
    segments = iter(segments)
    while group := list(islice(segments, batch)):
        places = [i for i, segment in enumerate(group) if segment.y is not None and not segment.silent]
        scores: dict[int, NDArray[np.float32]] = {}
        if places:
            clips = np.stack([model.metadata.fitted(y) for i in places if (y := group[i].y) is not None])
            scores = dict(zip(places, model.probabilities(clips), strict=True))
        for i, segment in enumerate(group):
            if i in scores and not np.isfinite(scores[i]).all():
                segment = segment._replace(error=f"{segment.file}: the model's answer is not a number; export it again")
            yield Prediction(segment, scores[i] if i in scores and segment.error is None else None, model.labels)


class Counts:
    """Counts of recordings and segments, by outcome."""

    def __init__(self) -> None:
        self.files = self.failed = self.windows = self.silent = 0
        self.heard_seconds = 0.0  # time that windows cover, each second once
        self.seconds = 0.0  # length of the recordings that were heard; of a stream, what was heard
        self._end = 0.0  # until when the current recording has been heard

    def add(self, segment: Segment) -> None:
        """Count a segment."""
        self.files += segment.first
        self.failed += segment.error is not None
        self._end = 0.0 if segment.first else self._end
        if segment.error is not None:
            return
        self.windows += 1
        self.silent += segment.silent
        new = max(0.0, segment.end - max(segment.start, self._end))
        self._end = max(self._end, segment.end)
        self.heard_seconds += new
        if segment.seconds is None:
            self.seconds += new
        elif segment.first:
            self.seconds += segment.seconds

    def counted(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Yield predictions, and count their segments."""
        for prediction in predictions:
            self.add(prediction.segment)
            yield prediction

    def report(self, model: Model) -> dict[str, Any]:
        """Return the counts, with the model and where it ran."""
        return {
            "model": str(model.path),
            "provider": model.report(),
            "files": self.files,
            "windows": self.windows,
            "silent": self.silent,
            "heard_seconds": self.heard_seconds,
            "seconds": self.seconds,
            "failed": self.failed,
        }


def check_call(
    model: Model,
    *,
    top: int = 5,
    cfg: FeatureConfig | None = None,
    hop_seconds: float | None = None,
    threshold: float = 0.0,
) -> None:
    """Raise a `CumelError` for options that no recording could satisfy."""
    if not 0 <= threshold <= 1:
        raise CumelError(f"threshold={threshold:g}: must be a probability, from 0 to 1")
    if top < 1:
        raise CumelError(f"top={top}: must be 1 or more")
    if hop_seconds is not None and not LEAST_HOP <= hop_seconds < float("inf"):
        raise CumelError(f"hop_seconds={hop_seconds:g}: must be {LEAST_HOP:g} or more, in seconds")
    differing = [] if cfg is None else model.metadata.features.differences(cfg.replace(time_major=False))
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
    aggregate: str | None = None,
    threshold: float = 0.0,
) -> dict[str, Any]:
    """Classify recordings; one that cannot be classified gets its reason, and the others go on.

    Each is decoded, mixed down, resampled to the model's rate, and cut or mirrored to its length, as in training.
    `segments_of` and `classify` do the same for any number of recordings, one prediction at a time.

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
    aggregate : {"mean", "max"}, optional
        One answer for each recording, of all its windows; they follow each other unless `hop_seconds` is given.
    threshold : float
        Least probability of a label that is named: a window that has none, and is not silent, is none of the labels.

    Returns
    -------
    dict
        ``model``, ``provider`` (asked for, used, why, and the route), counts, and ``results``: in order, for each
        window, ``file``, its ``start`` and ``end`` in it (s), ``seconds`` and ``sr`` of the file, ``silent``, ``top``
        (a list of ``label`` and ``probability``), and ``error``, a text or None.

    Raises
    ------
    CumelError
        For `top` below 1, a hop that is not positive and finite, and a `cfg` that the model was not trained on.
    """
    check_call(model, top=top, cfg=cfg, hop_seconds=hop_seconds, threshold=threshold)
    check_aggregate(aggregate)
    counts = Counts()
    hop_seconds = model.metadata.seconds if aggregate is not None and hop_seconds is None else hop_seconds
    segments = segments_of(map(Path, paths), model.metadata, hop_seconds)
    predictions = counts.counted(classify(model, segments, BATCH_SIZES[model.session.on_gpu]))
    predictions = predictions if aggregate is None else aggregated(predictions, aggregate)
    rows = [prediction._replace(threshold=threshold).row(top) for prediction in predictions]
    return counts.report(model) | {"results": rows}
