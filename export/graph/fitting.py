"""Clips of any length, fitted to the length that a network takes.

Only this arithmetic runs in all runtimes that were tried. Several lack operators on whole numbers, or sizes that are
computed of sizes; one drops an Abs of what comes from a shape, another a Slice behind a Pad.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnxscript import ir

from .framing import Clips, count, zeros
from .interface import CLIP_NAME
from .tape import Tape, ints, number

MOST_EXACT = 1 << 23  # float32 has every whole number up to twice this, a place in a clip and a period behind it


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
        self.exact = np.float32 if n <= MOST_EXACT else np.float64
        self.samples = clips.samples
        self.own = self._cast(tape("Shape", clips.samples, start=1, end=2))
        if clips.lengths is not None:  # Whatever is added or taken here has no more digits than `n`.
            most = tape("Sub", self._number(n), tape("Relu", tape("Sub", self._number(n), self.own)))
            less = tape("Relu", tape("Sub", most, self._cast(clips.lengths)))
            self.own = tape("Relu", tape("Sub", most, less))

    def mirrored(self) -> ir.Value:
        """Take each sample from its place in x[0] .. x[m - 1] x[m - 2] .. x[1], which is repeated both ways."""
        tape, own = self.tape, self.own
        missing = tape("Relu", tape("Sub", self._number(self.n + 1), own))
        before = tape("Floor", tape("Mul", missing, self._number(0.5)))  # samples in front of x[0]
        period = tape("Sub", tape("Mul", own, self._number(2)), self._number(3))
        period = tape("Add", tape("Relu", period), self._number(1))
        place = tape("Sub", self._cast(count(tape, self.n)), before)
        whole = tape("Floor", tape("Div", place, period))
        place = tape("Sub", place, tape("Mul", whole, period))
        back = tape("Relu", tape("Sub", tape("Mul", place, self._number(2)), period))
        zero = zeros(tape, self.samples, 1)  # what a clip without samples is made of
        if not self.each:
            body, gather = tape("Concat", self.samples, zero, axis=1), "Gather"
        else:
            body, gather = tape("Concat", zero, self.samples, axis=1), "GatherElements"
            present = tape("Sub", self._number(1), tape("Relu", tape("Sub", self._number(1), own)))  # 0 or 1
            place = tape("Add", place, present)
        places = tape("Cast", tape("Sub", place, back), to=ir.DataType.INT64)
        return tape(gather, body, places, axis=1, name=CLIP_NAME)

    def filled(self) -> ir.Value:
        """Cut clips, and put zeros behind each one's end."""
        tape = self.tape
        longer = tape("Concat", self.samples, zeros(tape, self.samples, self.n), axis=1)
        whole = tape.slice(longer, 0, self.n, 1)
        if not self.each:  # One compiler does not see what length the Slice has.
            return tape("Reshape", whole, ints(0, self.n), name=CLIP_NAME)
        valid = tape("Less", self._cast(count(tape, self.n)), self.own)
        return tape("Where", valid, whole, number(0.0), name=CLIP_NAME)

    def _cast(self, x: ir.Value) -> ir.Value:
        return self.tape("Cast", x, to=ir.DataType.FLOAT if self.exact == np.float32 else ir.DataType.DOUBLE)

    def _number(self, value: float) -> NDArray:
        return np.array([value], self.exact)
