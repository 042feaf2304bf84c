"""Clips of any length, fitted to the length that a network takes."""

from __future__ import annotations

import numpy as np
from onnxscript import ir

from .framing import Clips
from .interface import CLIP_NAME
from .tape import Tape, ints


def fitted(tape: Tape, clips: Clips, n: int, fit: str) -> ir.Value:
    """Cut a long clip at its end; mirror a short one at both ends, or fill it up at its end with zeros: [batch, n].

    The result is a mirrored part and a plain part, one after the other; one of them is empty. A mirrored clip repeats
    x[0] .. x[m - 1] x[m - 2] .. x[1]. Sizes are int64 tensors of one element.
    """
    length = tape("Shape", clips.samples, start=1, end=2)
    missing = tape("Sub", ints(n), tape("Clip", length, np.array(0), np.array(n)))
    short = tape("Clip", missing, np.array(0), np.array(1))  # 1 or 0
    forward = tape.slice(clips.samples, 0, tape("Mul", short, length), 1)  # all of a short clip, nothing of a long one
    backward = tape.slice(forward, -2, 0, 1, -1)
    period = tape("Clip", tape("Sub", tape("Mul", length, ints(2)), ints(2)), np.array(1))
    before = tape("Div", tape("Add", missing, ints(1)), ints(2))  # samples in front of the first one
    turns = tape("Div", tape("Sub", tape("Add", before, period), ints(1)), period)
    start = tape("Sub", tape("Mul", turns, period), before)
    stop = tape("Add", start, ints(n))
    n_periods = tape("Div", tape("Sub", tape("Add", stop, period), ints(1)), period)
    cycle = tape("Concat", forward, backward, axis=1)
    cycles = tape("Tile", cycle, tape("Concat", ints(1), n_periods, axis=0))
    mirrored = tape.slice(cycles, start, stop, 1)
    plain = tape.slice(clips.samples, 0, tape("Mul", tape("Sub", ints(1), short), ints(n)), 1)
    return tape("Concat", mirrored, plain, axis=1, name=CLIP_NAME)
