"""Clips as a file fits them: any length, a length of its own for each, a fixed one; at both opsets."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxscript import ir
from onnxscript.ir.passes.common import ShapeInferencePass

from cumel.esc50.audio import fit_length
from cumel.export.check.operators import without_cuda_kernel
from cumel.export.graph.frontend import standalone
from cumel.export.graph.interface import CLIP_NAME, FEATURES_NAME, FITS, OPSETS, Interface
from cumel.kernels import PRESETS, FeatureConfig

from support.recordings import TINY

N = 1000
LENGTHS = (0, 1, 2, 3, 255, 256, 333, 334, 499, 500, 501, 998, 999, 1000, 1001, 1999, 2001, 10 * TINY.sr)

# In the features' own unit, between a clip alone and the same clip in a batch: products of other sizes may add up in
# another order.
BATCHED = 2e-5  # 0.8e-5: whisper; 0 else


def twin(y: np.ndarray, n: int, fit: str) -> np.ndarray:
    """What a clip is fitted to, by NumPy."""
    if fit == "zeros" or not len(y):
        return np.pad(y[:n], (0, max(0, n - len(y))))
    return fit_length(y, n)


def noise(n: int) -> np.ndarray:
    return np.random.default_rng(n).standard_normal(n).astype(np.float32)


def session_of(model: ir.Model, *outputs: str) -> onnxruntime.InferenceSession:
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    assert proto.ir_version == 8
    for name in outputs:
        proto.graph.output.append(onnx.ValueInfoProto(name=name))
    return onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])


@cache
def session(cfg: FeatureConfig, n: int, **interface: Any) -> onnxruntime.InferenceSession:
    return session_of(standalone(cfg, n, interface=Interface(**interface)), CLIP_NAME)


def ragged(clips: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """A batch of clips with NaN behind each one's end."""
    batch = np.full((len(clips), max(map(len, clips))), np.nan, np.float32)
    for row, y in zip(batch, clips, strict=True):
        row[: len(y)] = y
    return {"waveform": batch, "lengths": np.array([len(y) for y in clips])}


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("n", [N, N + 1])
def test_clips_of_any_length_are_fitted(fit: str, opset: int, n: int) -> None:
    for length in LENGTHS:
        y = np.stack([noise(length), -noise(length)])
        (clip,) = session(TINY, n, fit=fit, opset=opset).run([CLIP_NAME], {"waveform": y})
        np.testing.assert_array_equal(clip, [twin(row, n, fit) for row in y], err_msg=f"{length} samples")


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("opset", OPSETS)
def test_each_clip_of_a_batch_has_its_own_length(fit: str, opset: int) -> None:
    y = [noise(n) for n in LENGTHS]
    (clip,) = session(TINY, N, fit=fit, opset=opset, lengths=True).run([CLIP_NAME], ragged(y))
    np.testing.assert_array_equal(clip, [twin(row, N, fit) for row in y])


@pytest.mark.parametrize("fit", FITS)
def test_lengths_that_no_clip_has(fit: str) -> None:
    """Below 0 a clip has no samples, and beyond the axis those of the axis."""
    lengths = np.array([-5, np.iinfo(np.int64).min, 701, 1 << 24, np.iinfo(np.int64).max])
    y = np.stack([noise(700)] * len(lengths))
    (clip,) = session(TINY, N, fit=fit, lengths=True).run([CLIP_NAME], {"waveform": y, "lengths": lengths})
    silent, whole = np.zeros(N, np.float32), twin(y[0], N, fit)
    np.testing.assert_array_equal(clip, [silent, silent, whole, whole, whole])


@pytest.mark.pairwise
@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("opset", OPSETS)
def test_features_in_a_ragged_batch_are_those_of_each_clip_alone(name: str, fit: str, opset: int) -> None:
    cfg = PRESETS[name]
    n = cfg.least_samples + 7 * cfg.hop_length + 3
    y = [0.3 * noise(length) for length in (0, 1, 2, 3, n // 3, n - 1, n, n + 1, 10 * cfg.sr)]
    options = {"fit": fit, "opset": opset}
    (together,) = session(cfg, n, lengths=True, **options).run([FEATURES_NAME], ragged(y))
    for clip, got in zip(y, together, strict=True):
        (alone,) = session(cfg, n, **options).run([FEATURES_NAME], {"waveform": clip[None]})
        np.testing.assert_allclose(got, alone[0], rtol=0, atol=BATCHED, err_msg=f"{len(clip)} samples")


@pytest.mark.pairwise
@pytest.mark.parametrize("name", ["esc50", "whisper", "kaldi", "panns"])
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("samples", [1, 2, 333, N - 1, N + 1, 3 * N])
def test_a_fixed_length_is_fitted_as_any(name: str, fit: str, opset: int, samples: int) -> None:
    cfg = PRESETS[name]
    n = N + cfg.least_samples
    samples = samples if samples < N - 1 else samples - N + n
    y = np.stack([noise(samples), -noise(samples)])
    options = {"fit": fit, "opset": opset}
    wanted = session(cfg, n, **options).run([CLIP_NAME, FEATURES_NAME], {"waveform": y})
    fixed = standalone(cfg, n, interface=Interface(samples=samples, **options))
    (waveform,) = fixed.graph.inputs
    assert list(waveform.shape or ()) == ["batch", samples]
    got = session_of(fixed, CLIP_NAME).run([CLIP_NAME, FEATURES_NAME], {"waveform": y})
    for value, other in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(value, other)


def test_the_networks_own_length_is_not_fitted() -> None:
    fixed = standalone(TINY, N, interface=Interface(samples=N))
    values = {value.name for node in fixed.graph for value in node.outputs}
    assert CLIP_NAME not in values
    operators = [node.op_type for node in fixed.graph]
    assert not {"Gather", "GatherElements", "Floor", "Where", "Less", "Range"} & set(operators)
    y = noise(N)[None]
    (got,) = session_of(fixed).run([FEATURES_NAME], {"waveform": y})
    (wanted,) = session(TINY, N).run([FEATURES_NAME], {"waveform": y})
    np.testing.assert_array_equal(got, wanted)
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="Expected: 1000"):
        session_of(fixed).run(None, {"waveform": y[:, :-1]})


@pytest.mark.parametrize("lengths", [False, True])
def test_places_are_whole_numbers(lengths: bool) -> None:
    """A runtime that computes in bfloat16 would have other ones."""
    model = standalone(TINY, N, interface=Interface(lengths=lengths))
    ShapeInferencePass()(model)
    assert without_cuda_kernel(model.graph) == []
    (clip,) = (node for node in model.graph if node.outputs[0].name == CLIP_NAME)
    pending, seen = [clip.inputs[1]], set()
    while pending:
        value = pending.pop()
        node = None if value is None else value.producer()
        if node is None or node in seen:
            continue
        seen.add(node)
        assert node.outputs[0].dtype in (ir.DataType.INT32, ir.DataType.INT64, ir.DataType.BOOL), node.op_type
        pending += [] if node.op_type == "Shape" else node.inputs
    assert {"Cast", "Div", "Less", "Where"} <= {node.op_type for node in seen}


def test_an_empty_batch_is_refused_by_the_runtime() -> None:
    """Its MatMul does not broadcast to no clips; a file's text says that a batch has one clip or more."""
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.Fail, match="MatMul"):
        session(TINY, N).run([FEATURES_NAME], {"waveform": np.zeros((0, N), np.float32)})
