"""What a graph takes, as samples that features can be made of: mono, float32, at the features' rate."""

from __future__ import annotations

from onnxscript import ir

from .framing import Clips
from .interface import WAVEFORM, Interface
from .tape import Tape


def taken(tape: Tape, interface: Interface, sr: int) -> tuple[list[ir.Value], Clips]:
    """Return the graph's inputs, and the clips that they hold, at `sr` Hz."""
    axis = "samples" if interface.samples is None else interface.samples
    waveform = ir.Value(name=WAVEFORM, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["batch", axis]))
    return [waveform], Clips(waveform, tape("Shape", waveform, start=1, end=2), None)
