"""The front end as ONNX nodes: from a waveform of any length to the features that a network was trained on.

Every operator has a CUDA kernel in ONNX Runtime; STFT, DFT, MelWeightMatrix and HannWindow do not. The length is fitted
by computed sizes (a part that is not needed is empty), so that the frames have one shape for any input.
"""

from __future__ import annotations

import numpy as np
from onnxscript import ir

from ...kernels import FeatureConfig
from .framing import Clips, frames, narrowed
from .levels import Frames, levels, stretched
from .mel import mel_of
from .metadata import FEATURES_NAME
from .tape import OPSET, Tape, ints

IR_VERSION = 10  # the version that torch's exporter writes
WAVEFORM, LOG_MEL = "waveform", "log_mel"


def prepend(graph: ir.Graph, cfg: FeatureConfig, n_samples: int, kind: str) -> None:
    """Put the front end before a network's graph; ``waveform`` replaces its one input."""
    tape, waveform, (image,) = Tape(), _waveform(), graph.inputs
    out = features(tape, waveform, cfg, n_samples, kind)
    image.replace_all_uses_with(out)
    graph.inputs[:] = [waveform]
    for constant in tape.constants:
        graph.register_initializer(constant)
    graph.insert_before(graph[0], tape.nodes)


def standalone(cfg: FeatureConfig, n_samples: int, kind: str = "logmel") -> ir.Model:
    """Return the front end as a model of its own, from ``waveform`` to ``features``."""
    tape, waveform = Tape(), _waveform()
    out = features(tape, waveform, cfg, n_samples, kind)
    options = {"initializers": tape.constants, "opset_imports": {"": OPSET}, "name": "frontend"}
    return ir.Model(ir.Graph([waveform], [out], nodes=tape.nodes, **options), ir_version=IR_VERSION)


def _waveform() -> ir.Value:
    return ir.Value(name=WAVEFORM, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["batch", "samples"]))


def features(tape: Tape, waveform: ir.Value, cfg: FeatureConfig, n_samples: int, kind: str) -> ir.Value:
    """Write the front end.

    Parameters
    ----------
    tape : Tape
        Receives the nodes.
    waveform : Value [batch, samples]
        Samples in -1..1; each clip is fitted to `n_samples`, as `esc50.audio.fit_length` does.
    cfg : FeatureConfig
    n_samples : int
        Length of the clips that the network was trained on.
    kind : {"logmel", "image"}
        Decibels, or 0..255.

    Returns
    -------
    Value [batch, 1, n_mels, n_frames], float32
        The value ``features``; the decibels of an image are the value ``log_mel`` [batch, n_mels, n_frames].
    """
    cfg = narrowed(cfg.decibels if kind == "image" else cfg)
    n_frames = cfg.n_frames(n_samples)
    clips = Clips(_fitted(tape, waveform, n_samples), n_samples, None)
    mel = mel_of(tape, frames(tape, clips, cfg, n_frames), cfg, n_frames)
    mel = tape("Transpose", mel, perm=[0, 2, 1])
    values = levels(tape, mel, cfg, Frames(2, n_frames))
    if kind == "image":
        values.name = LOG_MEL
        values = stretched(tape, values)
    out = tape("Reshape", values, ints(0, 1, cfg.n_mels, n_frames), name=FEATURES_NAME)
    out.type, out.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(["batch", 1, cfg.n_mels, n_frames])
    return out


def _fitted(tape: Tape, waveform: ir.Value, n: int) -> ir.Value:
    """Cut a long clip at its end, mirror a short one at both ends: [batch, n].

    The result is a mirrored part and a plain part, one after the other; one of them is empty. A mirrored clip repeats
    x[0] .. x[m - 1] x[m - 2] .. x[1]. Sizes are int64 tensors of one element.
    """
    length = tape("Shape", waveform, start=1, end=2)
    missing = tape("Sub", ints(n), tape("Clip", length, np.array(0), np.array(n)))
    short = tape("Clip", missing, np.array(0), np.array(1))  # 1 or 0
    forward = tape.slice(waveform, 0, tape("Mul", short, length), 1)  # all of a short clip, nothing of a long one
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
    plain = tape.slice(waveform, 0, tape("Mul", tape("Sub", ints(1), short), ints(n)), 1)
    return tape("Concat", mirrored, plain, axis=1)
