"""The front end as ONNX nodes: from a waveform of any length to the features that a network was trained on.

Every operator has a CUDA kernel in ONNX Runtime; STFT, DFT, MelWeightMatrix and HannWindow do not. The length is fitted
to the network's, so that the frames have one shape for any input.
"""

from __future__ import annotations

from onnxscript import ir

from ...kernels import FeatureConfig
from ...kernels.dft import narrowed
from .fitting import fitted
from .framing import Clips, frames
from .intake import taken
from .interface import FEATURES_NAME, Interface
from .levels import Frames, levels, stretched
from .mel import mel_of
from .tape import IR_VERSION, Tape, ints

LOG_MEL = "log_mel"


def prepend(
    graph: ir.Graph,
    cfg: FeatureConfig,
    n_samples: int,
    kind: str,
    interface: Interface | None = None,
    channel: bool = True,
) -> None:
    """Put the front end before a network's graph; waveforms replace its one input.

    Parameters
    ----------
    graph : Graph
        Takes features [batch, 1, n_mels, n_frames], or without `channel` [batch, n_mels, n_frames].
    cfg : FeatureConfig
    n_samples : int
        Length of the clips that the network takes, at the rate of `cfg`.
    kind : {"logmel", "image"}
        Levels as `cfg` says, or 0..255.
    interface : Interface, optional
        What the file takes.
    channel : bool
    """
    interface, (image,) = interface or Interface(), graph.inputs
    tape = Tape(interface.opset)
    inputs, out = _front_end(tape, cfg, n_samples, kind, interface, channel)
    image.replace_all_uses_with(out)
    graph.inputs[:] = inputs
    for constant in tape.constants:
        graph.register_initializer(constant)
    graph.insert_before(graph[0], tape.nodes)


def standalone(
    cfg: FeatureConfig, n_samples: int, kind: str = "logmel", interface: Interface | None = None
) -> ir.Model:
    """Return the front end of a classifier as a model of its own, from ``waveform`` to ``features``."""
    interface = interface or Interface()
    tape = Tape(interface.opset)
    inputs, out = _front_end(tape, cfg, n_samples, kind, interface, True)
    options = {"initializers": tape.constants, "opset_imports": {"": interface.opset}, "name": "frontend"}
    return ir.Model(ir.Graph(inputs, [out], nodes=tape.nodes, **options), ir_version=IR_VERSION)


def _front_end(
    tape: Tape, cfg: FeatureConfig, n_samples: int, kind: str, interface: Interface, channel: bool
) -> tuple[list[ir.Value], ir.Value]:
    """Write the front end; return the graph's inputs, and the value ``features``."""
    inputs, clips = taken(tape, interface, cfg.sr)
    clip = fitted(tape, clips, n_samples, interface.fit or "mirror")
    return inputs, features(tape, clip, cfg, n_samples, kind, channel)


def features(tape: Tape, clip: ir.Value, cfg: FeatureConfig, n_samples: int, kind: str, channel: bool) -> ir.Value:
    """Write the features of clips [batch, n_samples]: the value ``features``, float32.

    The levels of an image are the value ``log_mel`` [batch, n_mels, n_frames].
    """
    cfg = narrowed(cfg.decibels if kind == "image" else cfg)
    n_frames = cfg.n_frames(n_samples)
    mel = mel_of(tape, frames(tape, Clips(clip, n_samples, None), cfg, n_frames), cfg, n_frames)
    time_major = cfg.time_major
    mel = mel if time_major else tape("Transpose", mel, perm=[0, 2, 1])
    values = levels(tape, mel, cfg, Frames(1 if time_major else 2, n_frames))
    if kind == "image":
        values.name = LOG_MEL
        values = stretched(tape, values)
    axes = (n_frames, cfg.n_mels) if time_major else (cfg.n_mels, n_frames)
    axes = (1, *axes) if channel else axes
    out = tape("Reshape", values, ints(0, *axes), name=FEATURES_NAME)
    out.type, out.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(["batch", *axes])
    return out
