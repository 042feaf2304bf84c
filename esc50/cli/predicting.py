"""The steps of `cumel predict`: classify segments; print them, write them as rows, draw them, or print one object."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...kernels import FeatureConfig
from ..system import bar
from . import show, show_predictions

if TYPE_CHECKING:
    from ...export.prediction import Prediction, Source, Target
    from ...export.runtime import Model
    from ..reports import Track

FEW_FILES = 16  # number of files up to which there is no progress bar


def run(
    model: Model, source: Source, target: Target, top: int | None, cfg: FeatureConfig, threshold: float = 0.0
) -> int:
    """Classify, and return the exit code: 1 when an input failed."""
    from ...export.prediction import (
        BATCH_SIZES,
        STDOUT,
        Counts,
        aggregated,
        check_call,
        check_events,
        classify,
        events_into,
        rows_into,
        with_events,
    )

    top = (3 if source.windowed and target.aggregate is None else 5) if top is None else top
    check_call(model, top=top, cfg=cfg, hop_seconds=source.hop_seconds, threshold=threshold)
    recordings = source.recordings()
    if recordings is not None:
        show.left_out(recordings)
    n_files = 1 if recordings is None else len(recordings)
    if target.events is not None:
        check_events(target.events, n_files)
    counts, pictures, failures, rows = Counts(), _Pictures(target.plot, source.windowed, top), [], []
    batch = 1 if recordings is None else BATCH_SIZES[model.session.on_gpu]
    with ExitStack() as files:
        takers: list[Callable[[dict[str, Any]], None]] = []
        if target.out is not None:
            takers.append(files.enter_context(rows_into(target.out, target.format, top)))
        elif target.as_json:
            takers.append(rows.append)
        else:
            takers.append(show_predictions.Predictions(source.windowed and target.aggregate is None))
        quiet = recordings is None or (n_files <= FEW_FILES and not source.windowed)
        quiet = quiet or (target.on_screen and sys.stdout.isatty())
        advance = files.enter_context(bar("classify", n_files, "files", quiet=quiet))
        predictions = classify(model, source.segments(recordings, model.metadata), batch)
        predictions = pictures.seen(counts.counted(predictions))
        if target.events is not None:
            write = files.enter_context(events_into(target.events))
            predictions = with_events(predictions, write, target.threshold)
        if target.aggregate is not None:
            predictions = aggregated(predictions, target.aggregate)
        for prediction in predictions:
            row = prediction._replace(threshold=threshold).row(top)
            for take in takers:
                take(row)
            if row["error"] is not None and len(failures) <= show.MOST_ROWS:
                failures.append(row)
            advance(prediction.segment.first, show_predictions.position(row) if source.windowed else None)
    report = counts.report(model) | {"plot": pictures.draw(model)}
    report |= {} if target.events is None else {"events": str(target.events)}
    if target.as_json:
        show.as_json(report | ({"results": rows} if target.out is None else {"out": target.out}))
    else:
        show_predictions.predicted(report, failures, sys.stderr if target.out == STDOUT else sys.stdout)
    return 1 if counts.failed else 0


@dataclass
class _Pictures:
    """The content of the picture: the first recordings only, so that any number of them can be classified."""

    out: Path | None
    windowed: bool
    top: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    tracks: list[Track] = field(default_factory=list)
    current: Track | None = None  # track of the recording that is being classified; None when it is not drawn

    def seen(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Yield predictions, and keep what the picture needs of them."""
        for prediction in predictions:
            self.take(prediction)
            yield prediction

    def take(self, prediction: Prediction) -> None:
        """Keep what the picture needs of a prediction."""
        segment = prediction.segment
        if self.out is None:
            return
        from ..reports import MAX_CLIPS, MOST_TRACKS, Track  # Loading matplotlib takes longer than a prediction.

        if not self.windowed:
            if segment.error is None and len(self.rows) < MAX_CLIPS:
                self.rows.append(prediction.row(self.top))
            return
        if segment.first:
            is_drawn = segment.error is None and len(self.tracks) < MOST_TRACKS
            self.current = Track(Path(segment.file).name) if is_drawn else None
            self.tracks += [self.current] if self.current else []
        if self.current is not None and segment.error is None:
            self.current.add(segment.start, segment.end, segment.y, prediction.probabilities)

    def draw(self, model: Model) -> str | None:
        """Draw, and return the picture's name; None without one."""
        if self.out is None:
            return None
        from ..reports import draw_results, plot_timelines

        if self.windowed:
            picture = plot_timelines(self.tracks, model.labels, self.out) if self.tracks else None
        else:
            picture = draw_results(self.rows, model.metadata.features, model.metadata.n_samples, self.out)
        return None if picture is None else str(picture)
