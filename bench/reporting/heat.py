"""Errors as a heat map."""

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from reporting.pictures import INK, QUIET
from reporting.rows import Row, by, number, short, unique


def heat_map(rows: list[Row]) -> Figure:
    """Draw the largest error of each backend, for each preset and signal, on a logarithmic scale."""
    columns = unique(rows, "backend")
    lines = sorted(by(rows, "preset", "signal"), key=lambda key: unique(rows, "preset").index(key[0]))
    errors = np.full((len(lines), len(columns)), np.nan)
    for row in rows:
        value = number(row, "max_db")
        place = lines.index((row["preset"], row["signal"])), columns.index(row["backend"])
        errors[place] = np.nan if value is None else value
    some = errors[np.isfinite(errors) & (errors > 0)]
    low, high = (float(some.min()), float(some.max())) if some.size else (1e-6, 1.0)
    norm = LogNorm(low, max(high, low * 10))
    figure = Figure(figsize=(8, 0.2 * len(lines) + 1.8), layout="constrained", facecolor="white")
    axis = figure.subplots()
    image = axis.imshow(np.where(errors > 0, errors, np.nan), cmap="cividis", norm=norm, aspect="auto")
    for (line, column), value in np.ndenumerate(errors):
        if np.isfinite(value):
            shade = "white" if value > 0 and norm(value) < 0.55 else INK
            axis.text(column, line, short(float(value)), ha="center", va="center", fontsize=6.5, color=shade)
    axis.set_yticks(range(len(lines)), [f"{preset}, {signal}" for preset, signal in lines], fontsize=8, color=INK)
    axis.set_xticks(range(len(columns)), [name.replace(", ", ",\n") for name in columns], fontsize=7.5, color=INK)
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    for line in range(1, len(lines)):
        if lines[line][0] != lines[line - 1][0]:
            axis.axhline(line - 0.5, color=INK, lw=1)
    bar = figure.colorbar(image, ax=axis, pad=0.01, aspect=40)
    bar.set_label("largest dB error; white: none", fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=8, colors=QUIET)
    return figure
