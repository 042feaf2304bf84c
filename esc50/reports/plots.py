"""Pictures: a clip with its spectrogram and label, a confusion matrix, a learning curve."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...kernels import CumelError, FeatureConfig
from ..system import caption, label, replacing

INK, ACCENT = "#1f2933", "#d1495b"
MAX_CLIPS = 12  # most rows of one picture
COUNTED = 15  # most classes of a confusion matrix that shows counts


@contextmanager
def literally() -> Iterator[None]:
    """Draw texts as they are: a name may hold $ and is no formula, or be of a script that the font lacks."""
    plain: dict[Any, Any] = {"text.parse_math": False, "text.usetex": False}
    with mpl.rc_context(plain), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from|Matplotlib currently does not support")
        yield


@literally()
def plot_clips(clips: list[dict[str, Any]], cfg: FeatureConfig, out: Path) -> Path:
    """Draw a row per clip: waveform, log-mel spectrogram, and the labels where there are any.

    Parameters
    ----------
    clips : list of dict
        ``name``, ``y`` [n_samples], ``log_mel`` [n_mels, n_frames]; maybe ``top``, a list of label and
        probability, and ``own``, where in ``y`` the recording's own samples are (first, one behind the last): the rest
        is marked as mirrored.
    cfg : FeatureConfig
    out : Path
        A .png, .svg or .pdf file.
    """
    clips = clips[:MAX_CLIPS]
    columns = 3 if any(clip.get("top") for clip in clips) else 2
    figure = Figure(figsize=(4.6 * columns, 2.9 * len(clips)), layout="constrained", facecolor="white")
    axes = figure.subplots(len(clips), columns, squeeze=False, width_ratios=(1.0, 1.25, 0.8)[:columns])
    for row, clip in zip(axes, clips, strict=True):
        _waveform(row[0], clip["y"], cfg.sr)
        row[0].set_title(caption(clip["name"]), loc="left", fontsize=10, color=INK)
        image = _spectrogram(row[1], clip["log_mel"], cfg)
        figure.colorbar(image, ax=row[1], format=_scale(cfg), pad=0.01)
        for axis in row[:2]:
            _mirrored(axis, clip.get("own"), len(clip["y"]), cfg.sr)
        if columns == 3:
            _top(row[2], clip.get("top") or [])
    return save(figure, out)


def _waveform(axis: Axes, y: NDArray, sr: int) -> None:
    """Draw the envelope: the lowest and highest sample of each of at most 1,000 stretches."""
    edges = np.unique(np.linspace(0, len(y), min(1000, len(y)) + 1).astype(int))[:-1]
    seconds = edges / sr
    axis.fill_between(
        seconds, np.minimum.reduceat(y, edges), np.maximum.reduceat(y, edges), color=INK, lw=0.3, step="post"
    )
    peak = max(float(np.abs(y).max()), 1e-3)
    axis.set(xlim=(0, len(y) / sr), ylim=(-1.05 * peak, 1.05 * peak), xlabel="s", ylabel="amplitude")


def _spectrogram(axis: Axes, log_mel: NDArray, cfg: FeatureConfig) -> Any:
    from ...kernels.filterbank import hz_to_mel

    n_frames = log_mel.shape[1]
    seconds = n_frames * cfg.hop_length / cfg.sr
    image = axis.imshow(
        log_mel,
        origin="lower",
        aspect="auto",
        cmap="magma",
        extent=(0, seconds, 0, cfg.n_mels),
        interpolation="nearest",
    )
    low, high = (float(hz_to_mel(hz, htk=cfg.htk)) for hz in (cfg.fmin, cfg.top_frequency))
    ticks = [hz for hz in (125, 250, 500, 1000, 2000, 4000, 8000, 16000) if cfg.fmin < hz < cfg.top_frequency]
    ticks = [hz for hz in ticks if hz >= 500 or cfg.top_frequency < 4000]  # the linear end is too crowded
    places = [(float(hz_to_mel(hz, htk=cfg.htk)) - low) / (high - low) * cfg.n_mels for hz in ticks]
    axis.set_yticks(places, [f"{hz // 1000}k" if hz >= 1000 else str(hz) for hz in ticks])
    axis.set(xlabel="s", ylabel="Hz")
    return image


def _scale(cfg: FeatureConfig) -> str:
    """Return how values are written beside a spectrogram: plain decibels have a unit."""
    return "%+d dB" if cfg.log == "db" and cfg.decibels == cfg.replace(time_major=False) else "%+.3g"


def plot_clip(y: NDArray, log_mel: NDArray, own: tuple[int, int], cfg: FeatureConfig, file: BinaryIO) -> None:
    """Draw one clip's spectrogram as a small PNG, with what was mirrored marked; the parameters are `plot_clips`'."""
    with literally():
        figure = Figure(figsize=(4.0, 2.0), layout="constrained", facecolor="white")
        axis = figure.subplots()
        _spectrogram(axis, log_mel, cfg)
        _mirrored(axis, own, len(y), cfg.sr)
        axis.tick_params(labelsize=7)
        axis.set_xlabel("s", fontsize=7)
        axis.set_ylabel("Hz", fontsize=7)
        figure.savefig(file, format="png", dpi=100)


def _mirrored(axis: Axes, own: tuple[int, int] | None, n_samples: int, sr: int) -> None:
    """Mark what is not the recording's own."""
    for first, last in () if own is None else ((0, own[0]), (own[1], n_samples)):
        if first < last:
            hatched: dict[str, Any] = {"facecolor": "white", "edgecolor": INK, "hatch": "///"}
            axis.axvspan(first / sr, last / sr, alpha=0.55, lw=0, zorder=3, **hatched)
            axis.text(
                (first + last) / 2 / sr,
                0.5,
                "mirrored",
                transform=axis.get_xaxis_transform(),
                rotation=90,
                ha="center",
                va="center",
                fontsize=7,
                color=INK,
                zorder=4,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
            )


def _top(axis: Axes, top: list[dict[str, Any]]) -> None:
    names = [label(row["label"]) for row in top]
    values = [row["probability"] for row in top]
    axis.barh(range(len(top)), values, color=[ACCENT] + [INK] * (len(top) - 1), height=0.6)
    for place, value in enumerate(values):
        axis.text(min(value + 0.02, 0.86), place, f"{value:.2f}", va="center", fontsize=8, color=INK)
    axis.set_yticks(range(len(top)), names, fontsize=8)
    axis.invert_yaxis()
    axis.set(xlim=(0, 1), xlabel="probability")
    axis.spines[["top", "right"]].set_visible(False)


@literally()
def plot_confusion(confusion: NDArray[np.int64], labels: tuple[str, ...], out: Path) -> Path:
    """Draw a confusion matrix [n_classes, n_classes] (rows: truth), each row as shares of its clips.

    Where there are few classes, the counts stand in it.
    """
    few = len(labels) <= COUNTED
    size = max(4.0, (0.45 if few else 0.19) * len(labels) + 2.0)
    figure = Figure(figsize=(size + 1, size), layout="constrained", facecolor="white")
    axis = figure.subplots()
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axis.imshow(shares, cmap="Reds", vmin=0, vmax=1)
    names = list(map(label, labels))
    axis.set_xticks(range(len(labels)), names, rotation=90, fontsize=9 if few else 6)
    axis.set_yticks(range(len(labels)), names, fontsize=9 if few else 6)
    axis.set(xlabel="predicted", ylabel="true")
    for row, column in zip(*confusion.nonzero(), strict=True) if few else ():
        color = "white" if shares[row, column] > 0.6 else INK
        axis.text(column, row, str(confusion[row, column]), ha="center", va="center", fontsize=9, color=color)
    figure.colorbar(image, ax=axis, label="share of the class's clips", shrink=0.8)
    return save(figure, out)


@literally()
def plot_learning(runs: dict[str, list[dict[str, Any]]], out: Path) -> Path:
    """Draw losses and held-out accuracy per epoch of some runs: the history of each, by the run's name."""
    figure = Figure(figsize=(7, 3), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    colors = [ACCENT] if len(runs) == 1 else [f"C{i}" for i in range(len(runs))]
    for axis, key, title in ((left, "loss", "training loss"), (right, "accuracy", "accuracy on the held-out fold")):
        for (name, history), color in zip(runs.items(), colors, strict=True):
            rows = [row for row in history if row[key] is not None]
            marker = "." if len(rows) < 30 else None
            axis.plot(
                [row["epoch"] for row in rows],
                [row[key] for row in rows],
                color=color,
                marker=marker,
                label=caption(name),
            )
        for history, color in zip(runs.values(), colors, strict=True):
            rows = [row for row in history if key == "loss" and row.get("validation") is not None]
            epochs, losses = [row["epoch"] for row in rows], [row["validation"] for row in rows]
            axis.plot(epochs, losses, color=color, ls=":", lw=1)
            title += " (dotted: of clips set aside)" if rows and "dotted" not in title else ""
        axis.set_title(title, loc="left", fontsize=10, color=INK)
        axis.set(xlabel="epoch")
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    right.set_ylim(0, 1)
    if len(runs) > 1:
        right.legend(fontsize=7, frameon=False)
    return save(figure, out)


def check_picture(out: Path) -> str:
    """Return the format that a picture's name tells of; a `CumelError` for another than png, svg or pdf."""
    kind = out.suffix.lower().removeprefix(".")
    if kind not in ("png", "svg", "pdf"):
        raise CumelError(f"{out}: give a name that ends in .png, .svg or .pdf")
    return kind


def save(figure: Figure, out: Path, dpi: int = 120, metadata: dict[str, str] | None = None) -> Path:
    """Write a picture, with texts inside the file, and return its name."""
    kind = check_picture(out)
    with replacing(out) as part:
        figure.savefig(part, format=kind, dpi=dpi, metadata=metadata)
    return out
