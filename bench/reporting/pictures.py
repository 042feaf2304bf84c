"""Pictures of the rows: each peer's time beside its error, and how cost grows."""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reporting.markdown import short
from reporting.rows import numbers
from reporting.speeds import fastest_batches

INK, QUIET = "#1f2933", "#66727f"
# Colours and markers by the beginning of a peer's name; most colours are Okabe and Ito's, for colour-blind eyes.
COLORS = {
    "cumel": "#d55e00",
    "librosa": "#1f2933",
    "scipy": "#cc79a7",
    "torchaudio": "#0072b2",
    "nnAudio": "#009e73",
    "CuPy": "#e69f00",
    "NVIDIA DALI": "#7a5195",
}
MARKERS = {"cumel": "o", "librosa": "s", "torchaudio": "^", "nnAudio": "v", "scipy": "D"}
OTHER = "#8a8a8a"
FIT = ("first", "last", "exponent")  # columns of a fitted line
LINE = 0.21  # height of a peer's line in inches


class Measure(NamedTuple):
    """A column that a picture shows on a logarithmic axis, with its percentiles where it has any."""

    column: str
    label: str
    low: str = ""
    high: str = ""


MEASURES = (Measure("ms_per_clip", "ms per clip", "p20_ms", "p80_ms"), Measure("max_db", "largest dB error"))


def color(peer: str) -> str:
    """Return a peer's colour, the same in every picture."""
    return next((color for name, color in COLORS.items() if peer.startswith(name)), OTHER)


def marker(peer: str) -> str:
    """Return a peer's marker."""
    return next((marker for name, marker in MARKERS.items() if peer.startswith(name)), "P")


def speed(rows: pd.DataFrame) -> Figure | None:
    """Draw each peer's fastest batch in each preset beside its error: one thread, or a GPU."""
    rows = fastest_batches(rows)
    rows = rows[rows["threads"].isin(["0", "1"])]
    if rows.empty:
        return None
    panels = dict(list(rows.groupby("preset", sort=False)))
    heights = [len(panel) + 1.1 for panel in panels.values()]
    figure = Figure(figsize=(8, LINE * sum(heights) + 0.75), layout="constrained", facecolor="white")
    axes = figure.subplots(
        len(panels), len(MEASURES), squeeze=False, sharex="col", height_ratios=heights, width_ratios=(1.5, 1)
    )
    for (first, *others), (title, panel) in zip(axes, panels.items(), strict=True):
        for axis, measure in zip((first, *others), MEASURES, strict=True):
            _dots(axis, panel, measure)
            axis.set_ylim(len(panel) - 0.4, -0.6)
        labels = panel["peer"] + (", " + panel["batch"] + " clips").where(panel["batch"] != "1", "")
        first.set_yticks(range(len(panel)), labels, fontsize=9, color=INK)
        first.set_title(title, loc="left", fontsize=10, color=INK, weight="bold", pad=3)
        for tick, peer in zip(first.get_yticklabels(), panel["peer"], strict=True):
            tick.set_weight("bold" if peer.startswith("cumel") else "normal")
        for axis in others:
            axis.set_yticks([])
    for axis, measure in zip(axes[-1], MEASURES, strict=True):
        low, high = axis.get_xlim()
        axis.set_xlim(low, high * max(high / low, 10) ** 0.3)  # leaves room for the numbers beside the dots
        _plain(axis.xaxis)
        axis.set_xlabel(measure.label, fontsize=9, color=INK)
    return figure


def _dots(axis: Axes, rows: pd.DataFrame, measure: Measure) -> None:
    """Draw a measure of each row as a dot, its percentiles as a whisker, and its number."""
    values = numbers(rows[measure.column])
    low, high = (numbers(rows[name]) if name else values * np.nan for name in (measure.low, measure.high))
    for line, (peer, value, *span) in enumerate(zip(rows["peer"], values, low, high, strict=True)):
        if not value > 0:
            text = "" if math.isnan(value) else "0"
            axis.text(0.01, line, text, fontsize=8, color=QUIET, va="center", transform=axis.get_yaxis_transform())
            continue
        axis.plot(value, line, "o", color=color(peer), ms=6, zorder=3)
        edge = value
        if not any(map(math.isnan, span)) and span[0] > 0:
            axis.plot(span, (line, line), color=color(peer), lw=2, alpha=0.55, solid_capstyle="butt")
            edge = max(value, span[1])
        place = {"textcoords": "offset points", "va": "center"}
        axis.annotate(short(value), (edge, line), (7, 0), fontsize=8, color=INK, **place)
    axis.set_xscale("log")
    axis.tick_params(axis="x", labelsize=8, colors=QUIET)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", alpha=0.25)
    axis.spines[["top", "right", "left"]].set_visible(False)


def _plain(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers, between the powers of ten as well when there are few of those."""
    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    axis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0) if decades < 2 else (1.0,), numticks=7))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def growth(rows: pd.DataFrame, exponents: pd.DataFrame) -> Figure:
    """Draw time against each axis's value, with the fitted lines."""
    panels = list(rows.groupby("axis", sort=False))
    lines = -(-len(panels) // 2)
    figure = Figure(figsize=(8, 2.7 * lines + 0.4), layout="constrained", facecolor="white")
    axes = figure.subplots(lines, 2, squeeze=False).ravel()
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis, (title, panel) in zip(axes, panels, strict=False):
        for peer, points in panel.groupby("peer", sort=False):
            fits = exponents[(exponents["axis"] == title) & (exponents["peer"] == peer)]
            _line(axis, peer, numbers(points["value"]), numbers(points["ms"]), fits)
        axis.set(xscale="log", yscale="log")
        _plain(axis.xaxis)
        _plain(axis.yaxis)
        axis.set_title(title, loc="left", fontsize=10, color=INK, weight="bold")
        axis.set_ylabel("ms per call", fontsize=8, color=INK)
        axis.tick_params(labelsize=8, colors=QUIET)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    marks = [Line2D([], [], color=color(peer), marker=marker(peer), label=peer, ms=5) for peer in rows["peer"].unique()]
    figure.legend(handles=marks, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


def _line(axis: Axes, peer: str, values: pd.Series, costs: pd.Series, fits: pd.DataFrame) -> None:
    """Draw a peer's points, and the line of its exponent through their middle, over the fitted range."""
    axis.plot(values, costs, marker(peer), color=color(peer), ms=5)
    for first, last, exponent in fits[list(FIT)].apply(numbers).dropna().values:
        inside = values.between(first, last)
        level = np.exp((np.log(costs[inside]) - exponent * np.log(values[inside])).mean())
        ends = np.array([first, last])
        axis.plot(ends, level * ends**exponent, color=color(peer), lw=1, alpha=0.7)
