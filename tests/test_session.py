import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from handmade import save
from onnx import TensorProto, helper

from cumel.export import session as session_module
from cumel.export.session import CPU, CUDA, Session
from cumel.kernels import CumelError, UnavailableError

from recordings import tiny_recipe

no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(tmp_path / "model.onnx", tiny_recipe())


def _missing(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _garbage(path: Path) -> None:
    path.write_bytes(b"no model, by any means" * 50)


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _two_inputs(path: Path) -> None:
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    onnx.save(model, path)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (_missing, "no such model; `cumel export` writes one"),
        (_folder, "no such model"),
        (_empty, "not a usable ONNX model"),
        (_garbage, "not a usable ONNX model"),
        (_half, "not a usable ONNX model"),
        (_two_inputs, "has 2 inputs and 1 outputs"),
    ],
)
def test_an_unusable_model_is_one_clear_line(
    model: Path, damage: Callable[[Path], None], complaint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    damage(model)
    with pytest.raises(CumelError) as caught:
        Session(model)
    assert str(caught.value).startswith(f"{model}: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_the_provider_is_reported(model: Path) -> None:
    assert Session(model, "cpu").report() == {
        "requested": "cpu",
        "require_gpu": False,
        "actual": CPU,
        "reason": "as asked for",
        "nodes": {CPU: 3},
    }


@no_cuda
def test_auto_runs_on_the_cpu_and_says_why(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    session = Session(model)
    assert session.providers == [CPU]
    assert session.reason not in ("CUDA is available", "as asked for")
    assert session.report()["requested"] == "auto"
    assert capfd.readouterr() == ("", "")


@no_cuda
@pytest.mark.parametrize("demand", [{"provider": "cuda"}, {"provider": "auto", "require_gpu": True}])
def test_cuda_on_demand_is_never_replaced(
    model: Path, demand: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnavailableError, match="CUDA was demanded of ONNX Runtime, but ") as caught:
        Session(model, **demand)
    assert caught.value.exit_code == 3
    assert capfd.readouterr() == ("", "")


@no_cuda
def test_what_onnxruntime_only_logs_is_raised(
    model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if CUDA not in session_module.onnxruntime().get_available_providers():
        pytest.skip("needs onnxruntime-gpu, which tries CUDA and falls back")
    monkeypatch.setattr(session_module, "_lacking", lambda: None)  # as with a driver, but without a usable device
    session = Session(model)
    assert session.providers == [CPU]
    assert "CUDA provider" in session.reason
    with pytest.raises(UnavailableError, match=r"CUDA provider (does not load \(|loads, but finds no usable device)"):
        Session(model, "cuda")
    assert capfd.readouterr() == ("", "")


def test_a_package_without_cuda_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module.onnxruntime(), "get_available_providers", lambda: [CPU])
    with pytest.raises(UnavailableError, match=r"this onnxruntime package has no CUDA provider .*cumel\[gpu\]"):
        Session(model, "cuda")
    assert "no CUDA provider" in Session(model).reason


def test_onnxruntime_itself_may_be_missing(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UnavailableError, match=r"cumel\[gpu\]"):
        Session(model, "cpu")


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ({"provider": "rocm"}, "provider=rocm: must be one of auto, cpu, cuda"),
        ({"provider": "cpu", "require_gpu": True}, "provider=cpu contradicts require_gpu"),
    ],
)
def test_a_wrong_provider_is_refused(model: Path, call: dict[str, Any], complaint: str) -> None:
    with pytest.raises(CumelError, match=complaint) as caught:
        Session(model, **call)
    assert caught.value.exit_code == 2


def test_a_provider_to_come_is_said_to_be_missing(model: Path) -> None:
    with pytest.raises(UnavailableError, match="provider=tensorrt: not supported by this version; use cuda"):
        Session(model, "tensorrt")


def test_an_input_of_another_shape_is_refused(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CumelError, match=r"fails on an input of \(1, 1, 9, 63\)"):
        Session(model, "cpu").run(np.zeros((1, 1, 9, 63), np.float32))
    assert capfd.readouterr() == ("", "")
