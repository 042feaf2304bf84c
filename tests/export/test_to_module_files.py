"""Networks in the files of other exporters: what is made of them, and which do not fit."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cumel
from cumel import CumelError, FeatureConfig, Interface, export_module

CFG = FeatureConfig(sr=8000, n_fft=256, hop_length=128, n_mels=16)
LABELS = ("low", "middle", "high")
SECONDS = 0.5
N = int(SECONDS * CFG.sr)


def other_file(path: Path, opset: int = 13, batch: str | int = "n", **changes: Any) -> Path:
    """Write a network as other exporters do: another opset, other names, some of them the front end's."""
    weight = np.random.default_rng(5).normal(0, 0.05, (16, 3)).astype(np.float32)
    axes = {"axes": [1, 3], "keepdims": 0} if opset < 18 else {"keepdims": 0}
    shape = {"shape": [batch, 1, 16, 32], "output": [batch, 3], "type": TensorProto.FLOAT} | changes
    nodes = [
        helper.make_node("ReduceMean", ["waveform"] if opset < 18 else ["waveform", "axes"], ["features"], **axes),
        helper.make_node("MatMul", ["features", "frontend/constant_0"], ["clip"]),
        helper.make_node("Add", ["clip", "bias"], ["lengths"], name="frontend/Shape_0"),
    ]
    constants = [
        numpy_helper.from_array(weight, "frontend/constant_0"),
        numpy_helper.from_array(np.zeros(3, np.float32), "bias"),
    ]
    constants += [numpy_helper.from_array(np.array([1, 3]), "axes")] if opset >= 18 else []
    graph = helper.make_graph(
        nodes,
        "another",
        [helper.make_tensor_value_info("waveform", shape["type"], shape["shape"])],
        [helper.make_tensor_value_info("lengths", TensorProto.FLOAT, shape["output"])],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


@pytest.mark.parametrize(("opset", "batch", "written"), [(13, "n", 18), (17, 1, 17), (18, "n", 17), (18, 2, 18)])
def test_a_file_of_another_exporter(tmp_path: Path, opset: int, batch: str | int, written: int) -> None:
    theirs = other_file(tmp_path / "theirs.onnx", opset, batch)
    outputs = ("probabilities", "logits", "embedding", "features")
    interface = Interface(outputs=outputs, opset=written, lengths=True)
    export_module(theirs, CFG, SECONDS, LABELS, tmp_path / "mine.onnx", interface)
    y = np.random.default_rng(0).normal(0, 0.1, (3, N)).astype(np.float32)
    got = cumel.Session(tmp_path / "mine.onnx", "cpu").run_all({"waveform": y, "lengths": np.full(3, N)})
    features = cumel.log_mel(y, CFG)
    embedding = features.mean(axis=2)
    logits = embedding @ np.random.default_rng(5).normal(0, 0.05, (16, 3)).astype(np.float32)
    np.testing.assert_allclose(got["features"][:, 0], features, rtol=0, atol=1e-3)
    np.testing.assert_allclose(got["embedding"], embedding, rtol=0, atol=1e-3)
    np.testing.assert_allclose(got["logits"], logits, rtol=0, atol=1e-3)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    wanted = exponents / exponents.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(got["probabilities"], wanted, rtol=0, atol=1e-3)
    assert cumel.load(tmp_path / "mine.onnx").metadata.name == "theirs"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"shape": ["n", 1, 40, 32]}, r"theirs\.onnx: takes waveform \[n, 1, 40, 32\] float, and \[batch, 1, 16, 32\]"),
        ({"shape": ["n", 16, 32]}, r"takes waveform \[n, 16, 32\] float"),
        ({"output": ["n", 4]}, r"gives lengths \[n, 4\] float, and \[batch, 3\] float32 is needed"),
        ({"type": TensorProto.DOUBLE}, r"takes waveform \[n, 1, 16, 32\] double"),
    ],
)
def test_a_file_that_does_not_fit_is_one_clear_line(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    theirs = other_file(tmp_path / "theirs.onnx", **changes)
    with pytest.raises(CumelError, match=complaint) as caught:
        export_module(theirs, CFG, SECONDS, LABELS, tmp_path / "mine.onnx")
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["theirs.onnx"]


def test_a_file_has_no_half_precision(tmp_path: Path) -> None:
    theirs = other_file(tmp_path / "theirs.onnx")
    with pytest.raises(CumelError, match="precision=fp16: must be fp32 or int8, as the network is a file"):
        export_module(theirs, CFG, SECONDS, LABELS, tmp_path / "mine.onnx", precision="fp16")
