"""Pictures of the rows: peers beside their errors, and growth on log-log axes."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reporting.rows import Row, by, number, short, unique

INK, QUIET = "#1f2933", "#66727f"
# Most are Okabe and Ito's, chosen for colour-blind eyes. A peer has the colour of the first beginning that fits it.
COLORS = {
    "cumel": "#d55e00",
    "ONNX Runtime": "#d55e00",
    "TensorRT": "#d55e00",
    "librosa": "#1f2933",
    "scipy": "#cc79a7",
    "torchaudio": "#0072b2",
    "torch": "#56b4e9",
    "STFT op": "#b8a700",
    "nnAudio": "#009e73",
    "CuPy": "#e69f00",
    "NVIDIA DALI": "#7a5195",
}
MARKERS = {"cumel": "o", "librosa": "s", "torchaudio": "^", "nnAudio": "v", "scipy": "D"}
OTHER = "#8a8a8a"
LINE = 0.21  # inches of a peer's line


class Measure(NamedTuple):
    """A column that a picture shows, and its percentiles."""

    column: str
    label: str
    low: str = ""
    high: str = ""
    log: bool = False


def color(peer: str) -> str:
    """Return a peer's colour, the same in every picture."""
    return next((color for name, color in COLORS.items() if peer.startswith(name)), OTHER)


def _span(row: Row, measure: Measure) -> tuple[float, float] | None:
    """Return where the whisker begins and ends."""
    low, high = number(row, measure.low), number(row, measure.high)
    return None if low is None or high is None else (low, high)


def beside(panels: dict[str, list[Row]], measures: Sequence[Measure], name: str = "peer") -> Figure:
    """Draw a line of dots for each panel's rows: a column of the picture for each measure."""
    heights = [len(rows) + 1.1 for rows in panels.values()]
    figure = Figure(figsize=(8, LINE * sum(heights) + 0.75), layout="constrained", facecolor="white")
    axes = figure.subplots(
        len(panels),
        len(measures),
        squeeze=False,
        sharex="col",
        height_ratios=heights,
        width_ratios=(1.5, 1)[: len(measures)],
    )
    for line, (title, rows) in zip(axes, panels.items(), strict=True):
        for axis, measure in zip(line, measures, strict=True):
            _dots(axis, rows, measure, name)
            axis.set_ylim(len(rows) - 0.4, -0.6)
        line[0].set_yticks(range(len(rows)), [row[name] for row in rows], fontsize=9, color=INK)
        line[0].set_title(title, loc="left", fontsize=10, color=INK, weight="bold", pad=3)
        for tick, row in zip(line[0].get_yticklabels(), rows, strict=True):
            tick.set_weight("bold" if color(row[name]) == COLORS["cumel"] else "normal")
        for axis in line[1:]:
            axis.set_yticks([])
    for axis, measure in zip(axes[-1], measures, strict=True):
        _room(axis, measure)
        axis.set_xlabel(measure.label, fontsize=9, color=INK)
    return figure


def _dots(axis: Axes, rows: list[Row], measure: Measure, name: str) -> None:
    for place, row in enumerate(rows):
        value = number(row, measure.column)
        if value is None or (measure.log and value <= 0):
            said = "" if value is None else "0"
            axis.text(0.01, place, said, fontsize=8, color=QUIET, va="center", transform=axis.get_yaxis_transform())
            continue
        shade = color(row[name])
        axis.plot(value, place, "o", color=shade, ms=6, zorder=3)
        if (span := _span(row, measure)) and span[0] > 0:
            axis.plot(span, (place, place), color=shade, lw=2, alpha=0.55, solid_capstyle="butt")
        if not measure.log:
            axis.barh(place, value, height=0.6, color=shade, alpha=0.35)
        edge = max(value, span[1]) if span else value
        axis.annotate(
            short(value), (edge, place), (7, 0), textcoords="offset points", fontsize=8, color=INK, va="center"
        )
    if measure.log:
        axis.set_xscale("log")
    axis.tick_params(axis="x", labelsize=8, colors=QUIET)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", alpha=0.25)
    axis.spines[["top", "right", "left"]].set_visible(False)


def _room(axis: Axes, measure: Measure) -> None:
    """Leave room for the numbers beside the dots of a column of axes, which share their limits."""
    low, high = axis.get_xlim()
    if measure.log:
        axis.set_xlim(low, high * max(high / low, 10) ** 0.3)
        _plain(axis.xaxis)
    else:
        axis.set_xlim(0, high * 1.1)


def _plain(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers, between the powers of ten as well when there are few of those."""
    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    axis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0) if decades < 2 else (1.0,), numticks=7))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def growth(rows: list[Row], exponents: list[Row]) -> Figure:
    """Draw time against each axis's value, with the fitted lines."""
    panels = by(rows, "axis")
    lines = -(-len(panels) // 2)
    figure = Figure(figsize=(8, 2.7 * lines + 0.4), layout="constrained", facecolor="white")
    axes = figure.subplots(lines, 2, squeeze=False).ravel()
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    fitted = {(row["axis"], row["peer"]): row for row in exponents}
    for axis, ((title,), some) in zip(axes, panels.items(), strict=False):
        for (peer,), points in by(some, "peer").items():
            _line(axis, peer, points, fitted.get((title, peer)))
        axis.set(xscale="log", yscale="log")
        _plain(axis.xaxis)
        _plain(axis.yaxis)
        axis.set_title(title, loc="left", fontsize=10, color=INK, weight="bold")
        axis.set_ylabel("ms per call", fontsize=8, color=INK)
        axis.tick_params(labelsize=8, colors=QUIET)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    peers = unique(rows, "peer")
    marks = [Line2D([], [], color=color(peer), marker=_marker(peer), label=peer, ms=5) for peer in peers]
    figure.legend(handles=marks, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


def _marker(peer: str) -> str:
    return next((marker for name, marker in MARKERS.items() if peer.startswith(name)), "P")


def _line(axis: Axes, peer: str, points: list[Row], fit: Row | None) -> None:
    """Draw a peer's points, and the line of its exponent through their middle, over the fitted range."""
    pairs = [(x, y) for row in points if (x := number(row, "value")) and (y := number(row, "ms"))]
    axis.plot([x for x, _ in pairs], [y for _, y in pairs], _marker(peer), color=color(peer), ms=5)
    ends = [number(fit, name) for name in ("first", "last", "exponent")] if fit else [None]
    if None in ends:
        return
    first, last, exponent = ends
    inside = [(math.log(x), math.log(y)) for x, y in pairs if first <= x <= last]
    if inside:
        level = sum(y - exponent * x for x, y in inside) / len(inside)
        axis.plot(
            (first, last), [math.exp(level) * x**exponent for x in (first, last)], color=color(peer), lw=1, alpha=0.7
        )
