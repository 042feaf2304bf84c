"""What a graph takes, as samples that features can be made of: mono, float32, at the features' rate."""

from __future__ import annotations

from onnxscript import ir

from .framing import Clips
from .interface import LENGTHS, WAVEFORM, Interface
from .tape import Tape, ints


def taken(tape: Tape, interface: Interface, sr: int) -> tuple[list[ir.Value], Clips]:
    """Return the graph's inputs, and the clips that they hold, at `sr` Hz."""
    axis = "samples" if interface.samples is None else interface.samples
    waveform = ir.Value(name=WAVEFORM, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["batch", axis]))
    if interface.samples is not None:
        return [waveform], Clips(waveform, interface.samples, None)
    length = tape("Shape", waveform, start=1, end=2)
    if not interface.lengths:
        return [waveform], Clips(waveform, length, None)
    lengths = ir.Value(name=LENGTHS, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape(["batch"]))
    return [waveform, lengths], Clips(waveform, length, tape("Reshape", lengths, ints(-1, 1)))
