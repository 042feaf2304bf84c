"""What a graph takes, as samples that features can be made of: mono, float32, at the features' rate."""

from __future__ import annotations

from onnxscript import ir

from ...kernels.config import INT16_SCALE
from .framing import Clips, count
from .interface import LENGTHS, WAVEFORM, Interface
from .resampling import resampled, scaled
from .tape import Tape, ints, number

TYPES = {"float32": ir.DataType.FLOAT, "int16": ir.DataType.INT16}


def taken(tape: Tape, interface: Interface, sr: int) -> tuple[list[ir.Value], Clips]:
    """Return the graph's inputs, and the clips that they hold, mono and at `sr` Hz."""
    waveform, samples, length = _mono(tape, interface)
    lengths = None
    if interface.lengths:
        lengths = ir.Value(name=LENGTHS, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape(["batch"]))
    inputs = [waveform] if lengths is None else [waveform, lengths]
    own = None if lengths is None else tape("Reshape", lengths, ints(-1, 1))
    rate = interface.rate or sr
    if rate == sr:
        return inputs, Clips(samples, length, own)
    if own is not None:  # A filter would hear what lies behind a clip.
        counted = count(tape, length)
        samples = tape("Where", tape("Less", counted, own), samples, number(0.0))
        own = scaled(tape, own, rate, sr)
        assert isinstance(own, ir.Value)
    samples, length = resampled(tape, samples, length, rate, sr)
    return inputs, Clips(samples, length, own)


def _mono(tape: Tape, interface: Interface) -> tuple[ir.Value, ir.Value, int | ir.Value]:
    """Return the input, its mono samples in -1..1, and their number."""
    axes: list[str | int] = ["batch", "channels"] if interface.channels else ["batch"]
    axes.append("samples" if interface.samples is None else interface.samples)
    waveform = ir.Value(name=WAVEFORM, type=ir.TensorType(TYPES[interface.dtype]), shape=ir.Shape(axes))
    samples = waveform
    if interface.dtype == "int16":
        samples = tape("Cast", samples, to=ir.DataType.FLOAT)
    if interface.channels:
        samples = tape("Squeeze", tape.extreme("ReduceMean", samples, [1]), ints(1))
    if interface.dtype == "int16":
        samples = tape("Mul", samples, number(INT16_SCALE))
    length = interface.samples or tape("Shape", samples, start=1, end=2)
    return waveform, samples, length
