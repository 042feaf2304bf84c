"""Clips of any length, fitted to the length that a network takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnxscript import ir

from .framing import Clips, count
from .interface import CLIP_NAME
from .tape import Size, Tape, ints

MOST_EXACT = 1 << 24  # up to here float32 has every whole number, and divides faster than int64


def fitted(tape: Tape, clips: Clips, n: int, fit: str) -> ir.Value:
    """Cut a long clip at its end; mirror a short one at both ends, or fill it up at its end with zeros: [batch, n].

    A clip without samples is silence. Clips that have `n` samples by definition stay as they are.
    """
    if isinstance(clips.length, int) and clips.lengths is None:
        return _of_fixed_length(tape, clips.samples, clips.length, n, fit)
    head = tape.slice(clips.samples, 0, n, 1)
    length = tape("Shape", head, start=1, end=2)
    own = length if clips.lengths is None else _within(tape, clips.lengths, length)
    places = (_mirrored if fit == "mirror" else _filled)(tape, own, length, n)
    body = tape("Pad", head, ints(0, 0, 0, 1))  # a zero behind the samples, at the index `length`
    gather = "Gather" if clips.lengths is None else "GatherElements"
    return tape(gather, body, places, axis=1, name=CLIP_NAME)


def _of_fixed_length(tape: Tape, samples: ir.Value, length: int, n: int, fit: str) -> ir.Value:
    if length == n:
        return samples
    if length > n:
        return tape("Slice", samples, ints(0), ints(n), ints(1), ints(1), name=CLIP_NAME)
    if fit == "zeros":
        return tape("Pad", samples, ints(0, 0, 0, n - length), name=CLIP_NAME)
    before = -(-(n - length) // 2)
    places = np.pad(np.arange(length), (before, n - length - before), mode="reflect")
    return tape("Gather", samples, places, axis=1, name=CLIP_NAME)


def _within(tape: Tape, lengths: ir.Value, most: ir.Value) -> ir.Value:
    """Return lengths, from 0 to `most`; ONNX Runtime has no CUDA kernel for a Clip of whole numbers everywhere."""
    lengths = tape("Where", tape("Less", lengths, most), lengths, most)
    return tape("Where", tape("Less", lengths, ints(0)), ints(0), lengths)


def _mirrored(tape: Tape, own: ir.Value, length: ir.Value, n: int) -> ir.Value:
    """Return the index that each sample of a clip is taken from: [n], or [batch, n] where clips have own lengths.

    A mirrored clip repeats x[0] .. x[m - 1] x[m - 2] .. x[1]. So the index of a sample is its distance from the nearest
    x[0], of which there is one in every period.
    """
    floats = n <= MOST_EXACT
    kind = np.float32 if floats else np.int64

    def constant(value: int) -> NDArray:
        return np.array([value], kind)

    def cast(x: ir.Value) -> ir.Value:
        return tape("Cast", x, to=ir.DataType.FLOAT) if floats else x

    def quotient(a: ir.Value, b: ir.Value | NDArray) -> ir.Value:
        whole = tape("Div", a, b)
        return tape("Floor", whole) if floats else whole

    m, silence = cast(own), cast(length)
    before = quotient(tape("Sub", constant(n + 1), m), constant(2))  # samples in front of the clip's first one
    last = tape("Sub", m, constant(1))
    several = tape("Less", constant(1), m)
    period = tape("Where", several, tape("Add", last, last), constant(1))
    # In a clip without samples this half of a period leads to the zero behind the samples, from wherever.
    half = tape("Where", tape("Less", m, constant(1)), tape("Sub", constant(0), silence), last)
    distance = tape("Abs", tape("Sub", cast(count(tape, n)), before))
    periods = quotient(tape("Add", distance, half), period)
    places = tape("Abs", tape("Sub", distance, tape("Mul", periods, period)))
    return tape("Cast", places, to=ir.DataType.INT64) if floats else places


def _filled(tape: Tape, own: ir.Value, length: Size, n: int) -> ir.Value:
    """Return the index of each sample; behind a clip's end that of the zero."""
    assert isinstance(length, ir.Value)
    places = count(tape, n)
    return tape("Where", tape("Less", places, own), places, length)
