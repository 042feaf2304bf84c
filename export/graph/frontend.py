"""The front end as ONNX nodes: from a waveform of any length to the features that a network was trained on.

Every operator has a CUDA kernel in ONNX Runtime; STFT, DFT, MelWeightMatrix and HannWindow do not. The length is fitted
by computed sizes (a part that is not needed is empty), so that the frames have one shape for any input.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxscript import ir

from ...kernels import FeatureConfig
from ...kernels.config import FLAT_DB, ROUNDED_UP
from .dft import Dense, Factored, transform
from .metadata import FEATURES_NAME

OPSET = 18  # From 22 on, ONNX Runtime has no CUDA kernel for MaxPool, and silently runs it on the CPU.
IR_VERSION = 10  # the version that torch's exporter writes
WAVEFORM, LOG_MEL = "waveform", "log_mel"
PREFIX = "frontend/"  # beginning of the nodes' names
MOST_SLICES = 32  # slices per frame; beyond that a Gather is faster


class Tape:
    """Writes nodes one after another; a NumPy array among the inputs becomes a constant of the graph."""

    def __init__(self) -> None:
        self._tape = ir.tape.Tape()
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}

    def __call__(self, op: str, *inputs: ir.Value | NDArray, name: str | None = None, **attributes: Any) -> ir.Value:
        """Add a node and return its output, named `name` or after the operator."""
        values = [x if isinstance(x, ir.Value) else self._constant(x) for x in inputs]
        output = ir.Value(name=name or f"{PREFIX}{op}_{len(self.nodes)}")
        self._tape.op(op, values, attributes, name=f"{PREFIX}{op}_{len(self.nodes)}", output=output)
        return output

    def _constant(self, x: NDArray) -> ir.Value:
        key = (x.dtype.str, x.shape, x.tobytes())
        if key not in self._constants:
            name = f"{PREFIX}constant_{len(self._constants)}"
            self._constants[key] = self._tape.initializer(ir.tensor(x, name=name))
        return self._constants[key]

    @property
    def nodes(self) -> list[ir.Node]:
        """The nodes so far."""
        return list(self._tape.nodes)

    @property
    def constants(self) -> list[ir.Value]:
        """The constants so far."""
        return list(self._tape.initializers)


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
    n_frames = cfg.n_frames(n_samples)
    clip = _fitted(tape, waveform, n_samples)
    mel = _mel(tape, _frames(tape, clip, cfg, n_samples), cfg, n_frames)
    values = _decibels(tape, mel, cfg)
    if kind == "image":
        values.name = LOG_MEL
        values = _stretched(tape, values)
    out = tape("Reshape", values, _ints(0, 1, cfg.n_mels, n_frames), name=FEATURES_NAME)
    out.type, out.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(["batch", 1, cfg.n_mels, n_frames])
    return out


def _ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def _float(value: float) -> NDArray[np.float32]:
    return np.array(value, dtype=np.float32)


def _slice(tape: Tape, x: ir.Value, start: Any, stop: Any, axis: int, step: int = 1) -> ir.Value:
    return tape("Slice", x, *(_ints(i) if isinstance(i, int) else i for i in (start, stop, axis, step)))


def _fitted(tape: Tape, waveform: ir.Value, n: int) -> ir.Value:
    """Cut a long clip at its end, mirror a short one at both ends: [batch, n].

    The result is a mirrored part and a plain part, one after the other; one of them is empty. A mirrored clip repeats
    x[0] .. x[m - 1] x[m - 2] .. x[1]. Sizes are int64 tensors of one element.
    """
    length = tape("Shape", waveform, start=1, end=2)
    missing = tape("Sub", _ints(n), tape("Clip", length, np.array(0), np.array(n)))
    short = tape("Clip", missing, np.array(0), np.array(1))  # 1 or 0
    forward = _slice(tape, waveform, 0, tape("Mul", short, length), 1)  # all of a short clip, nothing of a long one
    backward = _slice(tape, forward, -2, 0, 1, -1)
    period = tape("Clip", tape("Sub", tape("Mul", length, _ints(2)), _ints(2)), np.array(1))
    before = tape("Div", tape("Add", missing, _ints(1)), _ints(2))  # samples in front of the first one
    turns = tape("Div", tape("Sub", tape("Add", before, period), _ints(1)), period)
    start = tape("Sub", tape("Mul", turns, period), before)
    stop = tape("Add", start, _ints(n))
    n_periods = tape("Div", tape("Sub", tape("Add", stop, period), _ints(1)), period)
    cycle = tape("Concat", forward, backward, axis=1)
    cycles = tape("Tile", cycle, tape("Concat", _ints(1), n_periods, axis=0))
    mirrored = _slice(tape, cycles, start, stop, 1)
    plain = _slice(tape, waveform, 0, tape("Mul", tape("Sub", _ints(1), short), _ints(n)), 1)
    return tape("Concat", mirrored, plain, axis=1)


def _frames(tape: Tape, clip: ir.Value, cfg: FeatureConfig, n_samples: int) -> ir.Value:
    """Cut the clip [batch, n_samples] into overlapping frames [batch, n_frames, n_fft]."""
    n_frames, n_fft, hop = cfg.n_frames(n_samples), cfg.n_fft, cfg.hop_length
    n_slices = -(-n_fft // hop)  # slices per frame, of one hop each; the last one may be shorter
    total = (n_frames + n_slices - 1) * hop
    padded = _padded(tape, clip, cfg, n_samples, total)
    if n_slices > MOST_SLICES:
        starts = tape("Mul", np.arange(n_frames)[:, None], _ints(hop))
        return tape("Gather", padded, tape("Add", starts, np.arange(n_fft)[None]), axis=1)
    blocks = tape("Reshape", padded, _ints(0, n_frames + n_slices - 1, hop))
    parts = [_slice(tape, blocks, i, i + n_frames, 1) for i in range(n_slices)]
    rest = n_fft - (n_slices - 1) * hop
    if rest < hop:
        parts[-1] = _slice(tape, parts[-1], 0, rest, 2)
    return tape("Concat", *parts, axis=2) if n_slices > 1 else parts[0]


def _padded(tape: Tape, clip: ir.Value, cfg: FeatureConfig, n_samples: int, total: int) -> ir.Value:
    """Pad a clip at both ends, and cut it or fill it up with zeros to `total` samples: [batch, total]."""
    left = cfg.edges[0]
    if cfg.pad_mode == "reflect" and cfg.center:
        mirrored = np.pad(np.arange(n_samples), left, mode="reflect")
        ends = mirrored[:left], mirrored[left + n_samples :]
        clip = tape(
            "Concat", tape("Gather", clip, ends[0], axis=1), clip, tape("Gather", clip, ends[1], axis=1), axis=1
        )
        left, n_samples = 0, len(mirrored)
    return tape("Pad", clip, _ints(0, left, 0, total - left - n_samples))


def _mel(tape: Tape, frames: ir.Value, cfg: FeatureConfig, n_frames: int) -> ir.Value:
    """Return the mel spectrogram [batch, n_mels, n_frames] of frames [batch, n_frames, n_fft]."""
    dft = transform(cfg)
    if isinstance(dft, Dense):
        stft = tape("MatMul", frames, dft.matrix)  # [batch, n_frames, 2 * n_bins]
    else:
        n1, n2 = dft.window.shape
        n_k1 = len(dft.second)
        windowed = tape("Mul", tape("Reshape", frames, _ints(-1, n1, n2)), dft.window)
        first = tape("Reshape", tape("MatMul", dft.first, windowed), _ints(-1, n_k1, 2 * n2))
        # ONNX Runtime computes the transposed product in place: k1 becomes the batch of the second step.
        stft = tape("MatMul", tape("Transpose", first, perm=[1, 0, 2]), dft.second)
    squares, n_bins = tape("Mul", stft, stft), (dft.matrix if isinstance(dft, Dense) else dft.second).shape[-1] // 2
    magnitude_or_power = tape("Add", _slice(tape, squares, 0, n_bins, 2), _slice(tape, squares, n_bins, 2 * n_bins, 2))
    if cfg.power == 1:
        magnitude_or_power = tape("Sqrt", magnitude_or_power)
    if isinstance(dft, Factored):
        magnitude_or_power = tape(
            "Reshape", tape("Transpose", magnitude_or_power, perm=[1, 0, 2]), _ints(-1, n_frames, len(dft.mel))
        )
    return tape("Transpose", tape("MatMul", magnitude_or_power, dft.mel), perm=[0, 2, 1])


def _decibels(tape: Tape, mel: ir.Value, cfg: FeatureConfig) -> ir.Value:
    """Convert a mel spectrogram to dB, at most `top_db` below each clip's maximum."""
    log = tape("Log", tape("Clip", mel, _float(cfg.least)))
    db = tape("Mul", log, _float(cfg.db_per_decade / math.log(10.0)))
    if cfg.db_of_ref:
        db = tape("Sub", db, _float(cfg.db_of_ref))
    if cfg.top_db is None:
        return db
    floor = tape("Sub", tape("ReduceMax", db, _ints(1, 2), keepdims=1), _float(cfg.top_db))
    return tape("Add", floor, tape("Relu", tape("Sub", db, floor)))  # Not every web runtime has Max.


def _stretched(tape: Tape, db: ir.Value) -> ir.Value:
    """Stretch decibels over 0..255 and round down, as `kernels.tensors.stretch`; zeros for a flat clip."""
    low, high = (tape(op, db, _ints(1, 2), keepdims=1) for op in ("ReduceMin", "ReduceMax"))
    span = tape("Sub", high, low)
    scale = tape("Mul", tape("Div", _float(255.0), span), _float(ROUNDED_UP))
    scale = tape("Where", tape("Less", span, _float(FLAT_DB)), _float(0.0), scale)
    return tape("Floor", tape("Mul", tape("Sub", db, low), scale))
