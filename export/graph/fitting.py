"""Clips of any length, fitted to the length that a network takes.

Only this arithmetic runs in all runtimes that were tried: whole numbers of 32 bits, without the Abs, Clip, Max and Mod
that several lack. Numbers with a point would be wrong where a runtime computes in bfloat16, OpenVINO's default.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxscript import ir

from .framing import Clips, count, zeros
from .interface import CLIP_NAME
from .tape import Tape, ints, number


def fitted(tape: Tape, clips: Clips, n: int, fit: str) -> ir.Value:
    """Cut a long clip at its end; mirror a short one at both ends, or fill it up at its end with zeros: [batch, n].

    A clip without samples is silence. Lengths of clips count as 0 below that, and beyond the axis as the axis. Clips of
    a fixed length `n` stay as they are.
    """
    if isinstance(clips.length, int) and clips.lengths is None:
        return _of_fixed_length(tape, clips.samples, clips.length, n, fit)
    lengths = _Lengths(tape, clips, n)
    if fit == "mirror":
        return lengths.mirrored()
    return lengths.filled()


def _of_fixed_length(tape: Tape, samples: ir.Value, length: int, n: int, fit: str) -> ir.Value:
    if length == n:
        samples.name = samples.name if samples.producer() is None else CLIP_NAME  # An input keeps its name.
        return samples
    if length > n:
        return tape("Slice", samples, ints(0), ints(n), ints(1), ints(1), name=CLIP_NAME)
    if fit == "zeros":
        return tape("Concat", samples, zeros(tape, samples, n - length), axis=1, name=CLIP_NAME)
    before = -(-(n - length) // 2)
    places = np.pad(np.arange(length), (before, n - length - before), mode="reflect")
    return tape("Gather", samples, places, axis=1, name=CLIP_NAME)


class _Lengths:
    """Clips whose number of samples is known when the graph runs: one for all, or one for each."""

    def __init__(self, tape: Tape, clips: Clips, n: int) -> None:
        self.tape, self.n, self.each = tape, n, clips.lengths is not None
        self.samples = clips.samples
        axis = self._whole(tape("Shape", clips.samples, start=1, end=2))
        if clips.lengths is not None:
            most = tape("Cast", axis, to=ir.DataType.INT64)
            axis = self._whole(self._where_less(clips.lengths, most, clips.lengths, most))
        self.own = self._where_less(axis, _whole(n), axis, _whole(n))  # What lies behind is not heard.

    def mirrored(self) -> ir.Value:
        """Take each sample from its place in x[0] .. x[m - 1] x[m - 2] .. x[1], which is repeated both ways."""
        tape, own = self.tape, self.own
        one = self._least(own, 1)  # A clip without samples is one zero.
        period = self._least(tape("Sub", tape("Mul", own, _whole(2)), _whole(2)), 1)
        before = tape("Div", self._least(tape("Sub", _whole(self.n + 1), one), 0), _whole(2))  # samples before x[0]
        ahead = tape("Div", tape("Sub", tape("Add", before, period), _whole(1)), period)  # in periods, rounded up
        start = tape("Sub", tape("Mul", ahead, period), before)
        place = tape("Add", self._whole(count(tape, self.n)), start)
        place = tape("Sub", place, tape("Mul", tape("Div", place, period), period))
        place = self._where_less(place, one, place, tape("Sub", period, place))
        zero = zeros(tape, self.samples, 1)
        if not self.each:
            body, gather = tape("Concat", self.samples, zero, axis=1), "Gather"
        else:  # The zero comes first, for clips without samples wherever others end.
            body, gather = tape("Concat", zero, self.samples, axis=1), "GatherElements"
            place = tape("Add", place, self._where_less(own, _whole(1), _whole(0), _whole(1)))
        places = tape("Cast", place, to=ir.DataType.INT64)
        return tape(gather, body, places, axis=1, name=CLIP_NAME)

    def filled(self) -> ir.Value:
        """Cut clips, and put zeros behind each one's end."""
        tape = self.tape
        longer = tape("Concat", self.samples, zeros(tape, self.samples, self.n), axis=1)
        whole = tape.slice(longer, 0, self.n, 1)
        if not self.each:  # One compiler does not see what length the Slice has.
            return tape("Reshape", whole, ints(0, self.n), name=CLIP_NAME)
        valid = tape("Less", self._whole(count(tape, self.n)), self.own)
        return tape("Where", valid, whole, number(0.0), name=CLIP_NAME)

    def _whole(self, x: ir.Value) -> ir.Value:
        return self.tape("Cast", x, to=ir.DataType.INT32)

    def _least(self, x: ir.Value, least: int) -> ir.Value:
        return self._where_less(x, _whole(least), _whole(least), x)

    def _where_less(self, a: Any, b: Any, then: Any, other: Any) -> ir.Value:
        return self.tape("Where", self.tape("Less", a, b), then, other)


def _whole(value: int) -> NDArray[np.int32]:
    return np.array([value], np.int32)
