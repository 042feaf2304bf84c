"""The answers for the windows of a recording, made one answer for the whole, or events with a beginning and an end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...kernels import CumelError

if TYPE_CHECKING:
    from .classifier import Prediction

AGGREGATES = {"mean": np.mean, "max": np.max}
THRESHOLD = 0.5  # least probability of an event
ADJACENT = 1e-6  # s; windows that are no farther apart follow each other


class Event(NamedTuple):
    """A stretch of a recording in which every window has a label."""

    file: str
    start: float  # s
    end: float
    label: str
    probability: float  # the highest of its windows
    windows: int


def check_aggregate(how: str | None, threshold: float = THRESHOLD) -> None:
    """Raise a `CumelError` for a way to aggregate, or a threshold of events, that does not exist."""
    if how is not None and how not in AGGREGATES:
        raise CumelError(f"aggregate={how}: must be one of {', '.join(AGGREGATES)}")
    if not 0 < threshold <= 1:
        raise CumelError(f"threshold={threshold:g}: must be above 0, and 1 at most")


def recordings_of(predictions: Iterable[Prediction]) -> Iterator[list[Prediction]]:
    """Group predictions by recording, without their samples; they come in order."""
    windows: list[Prediction] = []
    for prediction in predictions:
        if prediction.segment.first and windows:
            yield windows
            windows = []
        windows.append(_without_samples(prediction))
    if windows:
        yield windows


def aggregated(predictions: Iterable[Prediction], how: str) -> Iterator[Prediction]:
    """Yield one prediction for each recording: the mean, or the highest, of each label's probabilities.

    Silent windows do not count, unless all are. A recording of which a part could not be read gets its error alone.

    Parameters
    ----------
    predictions : iterable of Prediction
        Of windows, in order.
    how : {"mean", "max"}
        Of the mean, the sum over labels is 1; of the maximum, it is more.
    """
    for windows in recordings_of(predictions):
        last = windows[-1]
        if last.segment.error is not None:
            yield last
            continue
        scores = [window.probabilities for window in windows if window.probabilities is not None]
        whole = last.segment._replace(start=windows[0].segment.start, y=None, silent=not scores, first=True)
        yield last._replace(segment=whole, probabilities=AGGREGATES[how](scores, axis=0) if scores else None)


def with_events(
    predictions: Iterable[Prediction], write: Callable[[list[Event]], None], threshold: float = THRESHOLD
) -> Iterator[Prediction]:
    """Yield predictions as they come; when a recording has ended, `write` gets its events."""
    windows: list[Prediction] = []
    for prediction in predictions:
        if prediction.segment.first and windows:
            write(events_of(windows, threshold))
            windows = []
        windows.append(_without_samples(prediction))
        yield prediction
    if windows:
        write(events_of(windows, threshold))


def _without_samples(prediction: Prediction) -> Prediction:
    return prediction._replace(segment=prediction.segment._replace(y=None))


def events_of(windows: Iterable[Prediction], threshold: float = THRESHOLD) -> list[Event]:
    """Merge the windows of one recording into events, ordered by their beginning.

    An event begins with the first window in which its label has a probability of `threshold` or more, and ends with the
    last of the windows that follow each other and all have it.
    """
    open_: dict[int, Event] = {}
    done: list[Event] = []
    for prediction in windows:
        segment, scores = prediction.segment, prediction.probabilities
        heard = {} if scores is None else {int(i): float(scores[i]) for i in np.flatnonzero(scores >= threshold)}
        ended = [i for i, event in open_.items() if i not in heard or segment.start > event.end + ADJACENT]
        done += [open_.pop(i) for i in ended]
        for i, score in heard.items():
            event = open_.get(i, Event(segment.file, segment.start, segment.end, prediction.labels[i], 0.0, 0))
            highest = max(event.probability, score)
            open_[i] = event._replace(end=segment.end, probability=highest, windows=event.windows + 1)
    return sorted([*done, *open_.values()], key=lambda event: (event.start, event.end, event.label))


def row_of(event: Event) -> dict[str, Any]:
    """Return JSON types."""
    return event._asdict() | {"start": round(event.start, 6), "end": round(event.end, 6)}
