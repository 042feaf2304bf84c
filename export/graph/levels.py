"""What becomes of a mel spectrogram: logarithm, range, statistics of each clip, image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from onnxscript import ir

from ...kernels import FeatureConfig, Normalize
from ...kernels.config import FLAT_DB, ROUNDED_UP
from .tape import Size, Tape, ints, number

CLIP = (1, 2)  # the axes of a clip
TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Frames:
    """Where a value of two axes per clip has its frames, and which of them a clip has."""

    axis: int  # 1 or 2; the mel bands are the other axis
    n_frames: Size
    valid: ir.Value | None = None  # bool, [batch, n_frames, 1] or [batch, 1, n_frames]; None: all
    n_valid: ir.Value | None = None  # int64 [batch, 1]

    def only(self, tape: Tape, x: ir.Value) -> ir.Value:
        """Return `x` with zeros past each clip's end."""
        return x if self.valid is None else tape("Where", self.valid, x, number(0.0))


def levels(tape: Tape, mel: ir.Value, cfg: FeatureConfig, frames: Frames) -> ir.Value:
    """Do all that `cfg` says after the mel filters; frames past a clip's end read as silence, or 0 of statistics."""
    own = cfg.levels
    x = frames.only(tape, mel)
    if own.offset:
        x = tape("Add", x, number(own.offset))
    if own.least > own.offset:
        x = tape("Clip", x, number(own.least))
    gain = own.gain / math.log(10.0) if own.log else own.gain
    x = tape("Log", x) if own.log else x
    x = x if gain == 1 else tape("Mul", x, number(gain))
    x = tape("Sub", x, number(own.shift)) if own.shift else x
    if math.isfinite(own.span):
        floor = tape("Sub", tape.extreme("ReduceMax", x, CLIP), number(own.span))
        x = tape("Add", floor, tape("Relu", tape("Sub", x, floor)))  # Not every web runtime has Max.
    if not cfg.is_per_band:
        return x
    if cfg.normalize is not None:
        x = normalized(tape, x, cfg.normalize, cfg.n_mels, frames)
    mean, std = (np.array(value, np.float32) for value in (cfg.mean, cfg.std))
    mean, std = (value[:, None] if value.ndim and frames.axis == 2 else value for value in (mean, std))
    x = tape("Sub", x, mean) if mean.any() else x
    x = tape("Div", x, std) if (std != 1).any() else x
    return frames.only(tape, x) if cfg.normalize is not None and mean.any() else x


def normalized(tape: Tape, x: ir.Value, by: Normalize, n_mels: int, frames: Frames) -> ir.Value:
    """Take the mean from each clip's features, and divide by their deviation; zeros past its end.

    Sums of float32 lose digits of values that lie far from zero. So the first frame is taken from all others, which
    makes a constant band exactly zero, and the mean is computed twice: the second one is of what the first left.
    """
    axes = [frames.axis] if by.per == "band" else list(CLIP)
    first = tape.slice(x, 0, 1, frames.axis)
    if by.per == "clip":
        first = tape.slice(first, 0, 1, 3 - frames.axis)
    x = tape("Sub", x, first)
    bands = n_mels if by.per == "clip" else 1
    n = _number_of(tape, frames, bands, 0)
    for _ in range(2):
        x = frames.only(tape, x)
        x = tape("Sub", x, tape("Div", tape.sum(x, axes), n))
    x = frames.only(tape, x)
    if not by.variance:
        return x
    squares = tape.sum(tape("Mul", x, x), axes)
    variance = tape("Div", squares, _number_of(tape, frames, bands, by.ddof))
    eps = number(by.eps)
    if by.eps_in == "var":
        deviation = tape("Sqrt", tape("Add", variance, eps) if by.eps else variance)
    else:
        deviation = tape("Sqrt", variance)
        deviation = tape("Add", deviation, eps) if by.eps else deviation
    if by.eps < TINY:  # a constant band stays zero
        deviation = tape("Where", tape("Less", number(0.0), deviation), deviation, number(1.0))
    return tape("Div", x, deviation)


def _number_of(tape: Tape, frames: Frames, bands: int, less: int) -> ir.Value | np.ndarray:
    """Return how many values a clip has, less a number, but 1 at least: a number, or float32 [batch, 1, 1]."""
    if frames.n_valid is None:
        assert isinstance(frames.n_frames, int)
        return number(max(frames.n_frames * bands - less, 1))
    n = tape("Cast", frames.n_valid, to=ir.DataType.FLOAT)
    n = tape("Mul", n, number(bands)) if bands > 1 else n
    n = tape("Sub", n, number(less)) if less else n
    return tape("Reshape", tape("Clip", n, number(1.0)), ints(-1, 1, 1))


def stretched(tape: Tape, db: ir.Value) -> ir.Value:
    """Stretch decibels over 0..255 and round down, as `kernels.tensors.stretch`; zeros for a flat clip."""
    low, high = (tape.extreme(op, db, CLIP) for op in ("ReduceMin", "ReduceMax"))
    span = tape("Sub", high, low)
    scale = tape("Mul", tape("Div", number(255.0), span), number(ROUNDED_UP))
    scale = tape("Where", tape("Less", span, number(FLAT_DB)), number(0.0), scale)
    return tape("Floor", tape("Mul", tape("Sub", db, low), scale))
