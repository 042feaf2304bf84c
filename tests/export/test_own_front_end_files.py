"""The file of a front end: what it tells, what is refused, and that its check sees a wrong one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxscript import ir

import cumel
from cumel import PRESETS, CumelError, FeatureConfig, Normalize
from cumel.export import to_front_end
from cumel.export.check.ragged import check_front_end, clips_of
from cumel.export.graph.ragged import front_end

SPEECH = PRESETS["parakeet"]


@pytest.mark.parametrize("name", ["parakeet", "whisper"])
def test_the_file_tells_what_it_is(name: str, tmp_path: Path) -> None:
    report = cumel.export_frontend(name, tmp_path / "new" / "fe.onnx", opset=17)
    model = onnx.load(report["model"])
    cfg = PRESETS[name]
    assert (model.ir_version, [(o.domain, o.version) for o in model.opset_import]) == (8, [("", 17)])
    assert model.producer_name == "cumel"
    props = {prop.key: prop.value for prop in model.metadata_props}
    assert FeatureConfig.from_json(props["features"]) == cfg
    assert json.loads(props["sample_rate"]) == cfg.sr
    assert "16000 Hz" in model.graph.doc_string
    values = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert list(values) == ["waveforms", "waveforms_lens", "features", "features_lens"]
    assert values["waveforms"] == ["batch", "samples"]
    assert values["features"] == (["batch", "frames", 80] if cfg.time_major else ["batch", 80, "frames"])
    assert all(value.doc_string for value in (*model.graph.input, *model.graph.output))
    assert "Mono" in model.graph.input[0].doc_string
    assert str(tmp_path) not in str(model)
    assert report["bytes"] == (tmp_path / "new" / "fe.onnx").stat().st_size < 200_000


@pytest.mark.parametrize("name", ["whisper", "kaldi_no_snip", "parakeet", "esc50"])
def test_a_fixed_length_cuts_and_fills_up_with_zeros(name: str, tmp_path: Path) -> None:
    cfg = PRESETS[name]
    report = cumel.export_frontend(cfg, tmp_path / "fe.onnx", seconds=0.5)
    n_frames, n_mels = cfg.n_frames(cfg.sr // 2), cfg.n_mels
    axes = (n_frames, n_mels) if cfg.time_major else (n_mels, n_frames)
    assert report["outputs"].startswith(f"features [batch,{axes[0]},{axes[1]}] float")
    session = onnxruntime.InferenceSession(tmp_path / "fe.onnx", providers=["CPUExecutionProvider"])
    results: Any = session.run(None, {"waveforms": np.zeros((2, 9), np.float32), "waveforms_lens": np.array([9, 4])})
    assert results[0].shape == (2, *axes)
    assert list(results[1]) == [n_frames, n_frames]


def test_the_same_config_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        ir.save(front_end(PRESETS["funasr"]), tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


@pytest.mark.parametrize(
    ("cfg", "out", "opset", "message"),
    [
        ("parakeet", "fe.onx", 18, r"fe\.onx: give the name of a file that ends in \.onnx"),
        ("parakeet", "", 18, "give the name of a file"),
        ("parakit", "fe.onnx", 18, "cfg=.*parakit.*: no preset has this name; did you mean parakeet?"),
        ({"sr": 16000}, "fe.onnx", 18, r"cfg: expected a FeatureConfig, such as FeatureConfig\.from_dict"),
        ("parakeet", "fe.onnx", 22, "opset=22: must be 17 or 18"),
        (FeatureConfig(n_fft=65537), "fe.onnx", 18, "n_fft=65537: its transform .* 64 at most"),
        ("parakeet", "file/fe.onnx", 18, "cannot be written"),
    ],
)
def test_wrong_calls(cfg: object, out: str, opset: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CumelError, match=message):
        cumel.export_frontend(cfg, tmp_path / out, opset=opset)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_fails_its_check_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = front_end(SPEECH.replace(preemphasis=0.96))
    monkeypatch.setattr(to_front_end, "front_end", lambda *_: other)
    with pytest.raises(CumelError, match=r"fe\.onnx: not written, .* front end: a clip of \d+ samples alone: up to"):
        cumel.export_frontend("parakeet", tmp_path / "fe.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"n_mels": 81},
        {"padding": (256, 95)},
        {"padding": (257, 95)},
        {"offset": 2.0**-23},
        {"preemphasis_of": "frame"},
        {"periodic": True},
        {"window": "hamming"},
        {"normalize": Normalize(ddof=0, eps=1e-5)},
        {"normalize": Normalize(ddof=1, eps=1e-3)},
        {"pad_mode": "reflect"},
        {"mean": 1e-4},
        {"bin_offset": 1e-6},
    ],
    ids=str,
)
def test_the_check_sees_another_config(changes: dict[str, Any], tmp_path: Path) -> None:
    ir.save(front_end(SPEECH.replace(**changes)), tmp_path / "fe.onnx")
    with pytest.raises((CumelError, ValueError)):
        check_front_end(tmp_path / "fe.onnx", SPEECH)


def test_the_check_hears_a_drift_and_the_shortest_clip() -> None:
    clips = clips_of(SPEECH)
    assert len(clips[0]) == SPEECH.least_samples
    assert abs(clips[-1].mean()) > 0.1
