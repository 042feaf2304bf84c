"""A picture of what is heard when: a recording's level over time, and below it the probabilities of its labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator
from numpy.typing import NDArray

from ..system import caption, label
from .plots import ACCENT, INK, literally, save

MOST_TRACKS = 6  # most recordings in one picture
MOST_LABELS = 12  # most labels of one recording
LEAST_PROBABILITY = 0.1  # smallest peak of a label that is shown
FLOOR_DB = -70.0
# Seconds between two ticks; the first that gives no more than MOST_TICKS is taken.
STEPS = (0.1, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
MOST_TICKS = 12
MOST_COLUMNS = 400
SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#f6d5d8", ACCENT, "#7a1f2e"])


class Track:
    """The windows of one recording."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.start: list[float] = []  # s
        self.end: list[float] = []  # s
        self.level: list[float] = []  # dB of full scale
        self.probabilities: list[NDArray[np.float32] | None] = []  # [n_classes]; None for silence

    def add(
        self, start: float, end: float, y: NDArray[np.float32] | None, probabilities: NDArray[np.float32] | None
    ) -> None:
        """Add a window."""
        power = 0.0 if y is None else float(np.mean(np.square(y, dtype=np.float64)))
        self.start.append(start)
        self.end.append(end)
        self.level.append(max(FLOOR_DB, 10 * np.log10(max(power, 1e-12))))
        self.probabilities.append(probabilities)


@literally()
def plot_timelines(tracks: Sequence[Track], labels: Sequence[str], out: Path) -> Path:
    """Draw each recording's level and the labels that stand out in it, over time.

    Parameters
    ----------
    tracks : sequence of Track
    labels : sequence of str
        The classes' names.
    out : Path
        A .png, .svg or .pdf file.
    """
    columns = [_columns(track, len(labels)) for track in tracks]
    shown = [_chosen(drawn.scores) for drawn in columns]
    heights = [height for rows in shown for height in (0.9, 0.55 + 0.3 * len(rows))]
    figure = Figure(figsize=(13, 1.0 + sum(heights)), layout="constrained", facecolor="white")
    axes = figure.subplots(2 * len(tracks), 1, squeeze=False, height_ratios=heights)[:, 0]
    image = None
    for i, (track, drawn, rows) in enumerate(zip(tracks, columns, shown, strict=True)):
        _level(axes[2 * i], track.name, drawn)
        image = _heat(axes[2 * i + 1], drawn, rows, labels)
    assert image is not None
    bar = figure.colorbar(image, ax=list(axes), label="probability", pad=0.01, aspect=40, fraction=0.03)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return save(figure, out)


class _Columns(NamedTuple):
    """The picture of a recording: a column per window, or per group of windows where there are many."""

    edges: NDArray[np.float64]  # [n + 1], s: points halfway between the middles of neighbours
    level: NDArray[np.float64]  # [n], dB: the loudest window's
    scores: NDArray[np.float32]  # [n, n_classes]: each label's highest probability


def _columns(track: Track, n_classes: int) -> _Columns:
    start, end = np.array(track.start), np.array(track.end)
    middles = (start + end) / 2
    edges = np.concatenate([start[:1], (middles[1:] + middles[:-1]) / 2, end[-1:]])
    silence = np.zeros(n_classes, np.float32)
    scores = np.stack([silence if row is None else row for row in track.probabilities])
    first = np.arange(0, len(start), -(-len(start) // MOST_COLUMNS))  # window of each column
    level = np.maximum.reduceat(np.array(track.level), first)
    return _Columns(np.append(edges[first], edges[-1]), level, np.maximum.reduceat(scores, first, axis=0))


def _chosen(scores: NDArray[np.float32]) -> list[int]:
    """Return the labels to show, in the order in which they come first."""
    peaks = scores.max(axis=0)
    best = [int(i) for i in np.argsort(-peaks, kind="stable")[:MOST_LABELS]]
    shown = [i for i in best if peaks[i] >= LEAST_PROBABILITY] or best[:1]
    return sorted(shown, key=lambda i: int(scores[:, i].argmax()))


def _level(axis: Axes, name: str, columns: _Columns) -> None:
    edges = columns.edges
    axis.stairs(columns.level, edges, baseline=FLOOR_DB, fill=True, color=INK, alpha=0.85)
    axis.set(xlim=(edges[0], edges[-1]), ylim=(FLOOR_DB, 0), yticks=(FLOOR_DB, 0), ylabel="dB")
    axis.set_title(caption(name), loc="left", fontsize=11, color=INK)
    axis.tick_params(labelbottom=False, bottom=False, labelsize=8)
    axis.spines[["top", "right", "bottom"]].set_visible(False)


def _heat(axis: Axes, columns: _Columns, rows: list[int], labels: Sequence[str]) -> Any:
    edges, scores = columns.edges, columns.scores[:, rows].T
    image = axis.pcolormesh(edges, np.arange(len(rows) + 1), scores, cmap=SHADES, vmin=0, vmax=1, rasterized=True)
    axis.set_yticks(np.arange(len(rows)) + 0.5, [label(labels[i]) for i in rows], fontsize=9)
    axis.hlines(np.arange(1, len(rows)), edges[0], edges[-1], color="#e4e7eb", lw=0.6)
    axis.invert_yaxis()
    axis.set(xlim=(edges[0], edges[-1]))
    step = next((step for step in STEPS if (edges[-1] - edges[0]) / step <= MOST_TICKS), STEPS[-1])
    axis.xaxis.set_major_locator(MultipleLocator(step))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: _clock(seconds)))
    axis.tick_params(length=0, labelsize=9)
    axis.spines[["top", "right", "left", "bottom"]].set_visible(False)
    return image


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    shown = f"{rest:02.0f}" if abs(rest - round(rest)) < 1e-6 else f"{rest:04.1f}"
    return f"{hours}:{minutes:02}:{shown}" if hours else f"{minutes}:{shown}"
