"""A front end as a model of its own: clips of any lengths in one batch, each as if it were alone.

Without a fixed length all sizes are computed in the graph, from the number of samples and the clips' lengths.
"""

from __future__ import annotations

import json
from importlib.metadata import version

from onnxscript import ir

from ...kernels import FeatureConfig
from ...kernels.dft import narrowed
from .framing import Clips, count, frames
from .interface import FEATURES_NAME, OPSET
from .levels import Frames, levels
from .mel import mel_of
from .tape import IR_VERSION, Tape, ints, number

FORMAT = "cumel frontend 1"
WAVEFORMS, WAVEFORMS_LENS, FEATURES_LENS = "waveforms", "waveforms_lens", "features_lens"


def front_end(cfg: FeatureConfig, opset: int = OPSET, n_samples: int | None = None) -> ir.Model:
    """Return a model from ``waveforms`` and ``waveforms_lens`` to ``features`` and ``features_lens``.

    Names and shapes are those of onnx-asr. The file's texts say what goes in and comes out. With `n_samples` each clip
    is cut or filled up with zeros to that length, and all have the frames of it.
    """
    tape = Tape(opset)
    waveforms = _value(WAVEFORMS, ir.DataType.FLOAT, "batch", "samples")
    lens = _value(WAVEFORMS_LENS, ir.DataType.INT64, "batch")
    nodes = _ragged(tape, waveforms, lens, cfg) if n_samples is None else _fixed(tape, waveforms, lens, cfg, n_samples)
    features, features_lens = nodes
    n_frames = "frames" if n_samples is None else cfg.n_frames(n_samples)
    axes = (n_frames, cfg.n_mels) if cfg.time_major else (cfg.n_mels, n_frames)
    _typed(features, ir.DataType.FLOAT, "batch", *axes)
    _typed(features_lens, ir.DataType.INT64, "batch")
    for value, text in zip((waveforms, lens, features, features_lens), _texts(cfg, n_samples), strict=True):
        value.doc_string = text
    graph = ir.Graph(
        [waveforms, lens],
        [features, features_lens],
        nodes=tape.nodes,
        initializers=tape.constants,
        opset_imports={"": opset},
        name="frontend",
        doc_string=f"Log-mel features of mono audio at {cfg.sr} Hz, samples in -1..1: {cfg.to_json()}",
    )
    made = version("cumel")
    model = ir.Model(graph, ir_version=IR_VERSION, producer_name="cumel", producer_version=made)
    told = {"features": cfg.to_json(), "sample_rate": json.dumps(cfg.sr), "samples": json.dumps(n_samples)}
    model.metadata_props.update({"format": FORMAT, "cumel": made} | told)
    return model


def _fixed(
    tape: Tape, waveforms: ir.Value, lens: ir.Value, cfg: FeatureConfig, n_samples: int
) -> tuple[ir.Value, ir.Value]:
    missing = tape("Sub", ints(n_samples), tape("Shape", waveforms, start=1, end=2))
    filled = tape("Pad", waveforms, tape.shape(0, 0, 0, missing))
    own = tape("Less", count(tape, n_samples), tape("Reshape", lens, ints(-1, 1)))
    clips = Clips(tape("Where", own, filled, number(0.0)), n_samples, None)
    n_frames = cfg.n_frames(n_samples)
    features = _features(tape, clips, cfg, Frames(_axis(cfg), n_frames))
    return features, tape("Expand", ints(n_frames), tape("Shape", lens), name=FEATURES_LENS)


def _ragged(tape: Tape, waveforms: ir.Value, lens: ir.Value, cfg: FeatureConfig) -> tuple[ir.Value, ir.Value]:
    length = tape("Shape", waveforms, start=1, end=2)
    lengths = tape("Reshape", lens, ints(-1, 1))
    n_frames = _n_frames(tape, length, cfg, 1)  # One frame past the ends, where no clip has one, keeps axes above 0.
    n_valid = _n_frames(tape, lengths, cfg, 0)
    counted = tape("Reshape", count(tape, n_frames), ints(1, -1, 1) if cfg.time_major else ints(1, 1, -1))
    valid = tape("Less", counted, tape("Reshape", n_valid, ints(-1, 1, 1)))
    own = Frames(_axis(cfg), n_frames, valid, n_valid)
    features = _features(tape, Clips(waveforms, length, lengths), cfg, own)
    return features, tape("Reshape", n_valid, ints(-1), name=FEATURES_LENS)


def _axis(cfg: FeatureConfig) -> int:
    return 1 if cfg.time_major else 2


def _features(tape: Tape, clips: Clips, cfg: FeatureConfig, own: Frames) -> ir.Value:
    narrow = narrowed(cfg)
    mel = mel_of(tape, frames(tape, clips, narrow, own.n_frames), narrow, own.n_frames)
    features = levels(tape, mel if cfg.time_major else tape("Transpose", mel, perm=[0, 2, 1]), cfg, own)
    features.name = FEATURES_NAME
    return features


def _n_frames(tape: Tape, length: ir.Value, cfg: FeatureConfig, least: int) -> ir.Value:
    """Return the frames of a length, `least` where it is too short for one."""
    rest = sum(cfg.edges) - cfg.n_dropped - cfg.frame_length + cfg.hop_length  # as in `FeatureConfig.frames_of`
    long = tape("Div", tape("Add", length, ints(rest)), ints(cfg.hop_length))
    short = tape("Less", length, ints(cfg.least_samples))
    return tape("Where", short, ints(least), long)


def _value(name: str, dtype: ir.DataType, *axes: str | int) -> ir.Value:
    value = ir.Value(name=name)
    _typed(value, dtype, *axes)
    return value


def _typed(value: ir.Value, dtype: ir.DataType, *axes: str | int) -> None:
    value.type, value.shape = ir.TensorType(dtype), ir.Shape(axes)


def _texts(cfg: FeatureConfig, n_samples: int | None) -> tuple[str, str, str, str]:
    """Describe the inputs and outputs, in their order."""
    past = "0" if cfg.normalize is not None else "as silence"
    bands, frames = "mel bands from low to high", f"frames every {cfg.hop_length} samples"
    axes = f"{frames}, {bands}" if cfg.time_major else f"{bands}, {frames}"
    fitted = f"Each is cut, or filled up with zeros, to {n_samples} samples."
    past = f"Past a clip's end they read {past}." if n_samples is None else fitted
    return (
        f"Mono clips at {cfg.sr} Hz, samples in -1..1, each filled up at its end to the longest. Resample before.",
        f"Samples of each clip, {cfg.least_samples} or more for one frame; what lies behind them has no effect.",
        f"For each clip {axes}. {past}",
        "Frames of each clip.",
    )
