"""A picture of where two features of one recording differ most."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...kernels import FeatureConfig
from ..system import caption
from .plots import ACCENT, INK, literally, save

LEAST = 1e-8  # the difference from which colours begin


@literally()
def plot_difference(theirs: NDArray, ours: NDArray, name: str, original: str, cfg: FeatureConfig, out: Path) -> Path:
    """Draw the original's features, ours, and how far they are apart, with a ring where that is farthest.

    Parameters
    ----------
    theirs, ours : ndarray [n_bands, n_frames]
    name : str
        The recording's.
    original : str
        The package that computed `theirs`.
    cfg : FeatureConfig
    out : Path
        A .png, .svg or .pdf file.
    """
    apart = np.abs(theirs.astype(np.float64) - ours)
    band, frame = np.unravel_index(np.nan_to_num(apart).argmax(), apart.shape)
    figure = Figure(figsize=(10, 8.4), layout="constrained", facecolor="white")
    axes = figure.subplots(3, 1, sharex=True)
    extent = (0.0, apart.shape[1], 0.0, apart.shape[0])
    low, high = float(np.nanmin(theirs)), float(np.nanmax(theirs))
    for axis, values, title in ((axes[0], theirs, original), (axes[1], ours, "cumel")):
        image = axis.imshow(values, origin="lower", aspect="auto", extent=extent, vmin=low, vmax=high, cmap="magma")
        axis.set_title(caption(f"{title}: {name}"), loc="left", fontsize=10, color=INK)
        figure.colorbar(image, ax=axis, pad=0.01)
    norm = LogNorm(LEAST, max(float(np.nanmax(apart)), 10 * LEAST))
    image = axes[2].imshow(
        np.maximum(apart, LEAST), origin="lower", aspect="auto", extent=extent, norm=norm, cmap="viridis",
        interpolation="nearest",
    )  # fmt: skip
    axes[2].plot(
        frame + 0.5,
        band + 0.5,
        "o",
        clip_on=False,
        markersize=14,
        markerfacecolor="none",
        markeredgecolor=ACCENT,
        markeredgewidth=2,
    )
    worst = (
        f"largest difference {apart[band, frame]:.1e} in band {band}, frame {frame}; median {np.nanmedian(apart):.1e}"
    )
    axes[2].set_title(worst, loc="left", fontsize=10, color=INK)
    axes[2].set_xlabel(f"frames of {1000 * cfg.hop_length / cfg.sr:g} ms")
    for axis in axes:
        axis.set_ylabel("band")
    figure.colorbar(image, ax=axes[2], pad=0.01, format=lambda value, _: f"{value:.0e}")
    return save(figure, out)
