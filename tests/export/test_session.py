"""A session says where it runs and why, and refuses the CPU where a GPU is demanded."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from cumel.export.runtime import session as session_module
from cumel.export.runtime.providers import CPU, CUDA, TENSORRT, onnxruntime
from cumel.export.runtime.session import Session
from cumel.kernels import CumelError, UnavailableError

from support.onnx_models import save
from support.recordings import tiny_recipe

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


def test_inputs_by_name(model: Path) -> None:
    _two_inputs(model)
    session = Session(model, "cpu")
    y = np.zeros((2, *session.input.shape[1:]), np.float32)
    with pytest.raises(CumelError, match=r"takes image, more: give them by name, to `run_all`"):
        session.run(y)
    with pytest.raises(CumelError, match="by name"):
        session.bound(y.shape)
    answers = session.run_all({"image": y, "more": np.zeros(1, np.float32)})
    assert {name: value.shape for name, value in answers.items()} == {"probabilities": (2, 4)}
    with pytest.raises(CumelError, match=r"model.onnx: fails on an input of \(2, 1, 16, 63\) \(.*more"):
        session.run_all({"image": y})


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (_missing, "no such model; `cumel export` writes one"),
        (_folder, "no such model"),
        (_empty, "the file is empty (0 bytes)"),
        (_garbage, "not a usable ONNX model"),
        (_half, "not a usable ONNX model"),
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


def test_the_provider_is_reported_for_the_session_and_for_each_node(model: Path) -> None:
    report = Session(model, "cpu").report()
    per_node = report.pop("per_node")
    assert report == {
        "requested": "cpu",
        "require_gpu": False,
        "actual": CPU,
        "reason": "as asked for",
        "nodes": {CPU: 3},
    }
    assert [(node["op"], node["provider"]) for node in per_node] == [
        ("ReduceMean", CPU),
        ("Gemm", CPU),
        ("Softmax", CPU),
    ]


@no_cuda
def test_auto_runs_on_the_cpu_and_says_why(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    session = Session(model)
    assert session.providers == [CPU]
    assert session.reason not in ("CUDA is available", "as asked for")
    assert session.report()["requested"] == "auto"
    assert capfd.readouterr() == ("", "")


@no_cuda
@pytest.mark.parametrize(
    "demand", [{"provider": "cuda"}, {"provider": "auto", "require_gpu": True}, {"provider": "tensorrt"}]
)
def test_a_gpu_on_demand_is_never_replaced(
    model: Path, demand: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnavailableError, match=r"(CUDA|TensorRT) was demanded of ONNX Runtime, but ") as caught:
        Session(model, **demand)
    assert caught.value.exit_code == 3
    assert capfd.readouterr() == ("", "")


@no_cuda
def test_what_onnxruntime_only_logs_is_raised(
    model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if CUDA not in onnxruntime().get_available_providers():
        pytest.skip("needs onnxruntime-gpu, which tries CUDA and falls back")
    monkeypatch.setattr(session_module, "lacking", lambda _: None)  # a driver without a usable device
    session = Session(model)
    assert session.providers == [CPU]
    assert "its cuda provider" in session.reason
    with pytest.raises(
        UnavailableError, match=r"its cuda provider (does not load \(|loads, but finds no usable device)"
    ):
        Session(model, "cuda")
    assert capfd.readouterr() == ("", "")


def test_a_package_without_cuda_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime(), "get_available_providers", lambda: [CPU])
    with pytest.raises(UnavailableError, match=r"this onnxruntime package has no CUDAExecution.*cumel\[gpu\]"):
        Session(model, "cuda")
    assert "has no CUDAExecutionProvider" in Session(model).reason


@pytest.mark.parametrize(("provider", "extra"), [("auto", "predict"), ("cpu", "predict"), ("cuda", "gpu")])
def test_onnxruntime_itself_may_be_missing(
    provider: str, extra: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UnavailableError, match=rf"onnxruntime is not installed: pip install 'cumel\[{extra}\]'"):
        Session(model, provider)


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ({"provider": "rocm"}, "provider=rocm: must be one of auto, cpu, cuda, tensorrt"),
        ({"provider": "cpu", "require_gpu": True}, "provider=cpu contradicts a GPU that is required"),
        ({"provider": "cpu", "cuda_graph": True}, "provider=cpu contradicts"),
        ({"provider": "auto", "stream": 0}, "stream=0: must be a CUDA stream other than the default one"),
    ],
)
def test_a_wrong_provider_is_refused(model: Path, call: dict[str, Any], complaint: str) -> None:
    with pytest.raises(CumelError, match=complaint) as caught:
        Session(model, **call)
    assert caught.value.exit_code == 2


class Recorded(Exception):  # noqa: N818
    """What ONNX Runtime was asked for."""

    def __init__(self, options: Any, providers: list[Any], enable_fallback: int) -> None:
        super().__init__("recorded")
        self.options, self.providers, self.enable_fallback = options, providers, enable_fallback


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    """As if every part were there: the calls of ONNX Runtime, which then refuses."""
    calls: list[Recorded] = []

    def refuse(_model: object, options: Any, *, providers: list[Any], enable_fallback: int) -> None:
        calls.append(Recorded(options, providers, enable_fallback))
        raise calls[-1]

    monkeypatch.setattr(session_module, "lacking", lambda _: None)
    monkeypatch.setattr(onnxruntime(), "InferenceSession", refuse)
    return calls


@pytest.mark.parametrize(
    ("demand", "names"),
    [
        ({}, [CUDA, CPU]),
        ({"require_gpu": True}, [CUDA]),
        ({"provider": "cuda"}, [CUDA]),
        ({"provider": "tensorrt"}, [TENSORRT, CUDA]),
    ],
)
def test_a_demanded_gpu_leaves_onnxruntime_no_way_back(
    model: Path, recorded: list[Recorded], demand: dict[str, Any], names: list[str]
) -> None:
    with pytest.raises(CumelError, match="recorded"):
        Session(model, **demand)
    (call,) = recorded
    assert [one if isinstance(one, str) else one[0] for one in call.providers] == names
    assert dict(one for one in call.providers if one != CPU)[CUDA]["use_tf32"] == "0"
    assert call.enable_fallback == 0
    assert call.options.get_session_config_entry("session.record_ep_graph_assignment_info") == "1"
    if CPU in names:
        with pytest.raises(RuntimeError, match="does not have configuration with key"):
            call.options.get_session_config_entry("session.disable_cpu_ep_fallback")
    else:  # with the CPU among the providers, ONNX Runtime would refuse this entry
        assert call.options.get_session_config_entry("session.disable_cpu_ep_fallback") == "1"


def test_onnxruntime_enforces_that_no_node_falls_back(model: Path) -> None:
    """On the CPU alone every node does: this is what a node without a CUDA kernel meets on a GPU."""
    options = onnxruntime().SessionOptions()
    options.log_severity_level = session_module.SILENT
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    with pytest.raises(Exception, match=session_module.ON_CPU):  # by which `Session` knows it
        onnxruntime().InferenceSession(model, options, providers=[])


def test_nodes_without_a_kernel_are_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU whose provider is there: the session itself is made on the CPU, and says otherwise."""
    make = onnxruntime().InferenceSession

    def pretending(given: Path, options: Any, *, providers: list[Any], enable_fallback: int) -> Any:
        made = make(given, options, providers=providers[1:], enable_fallback=enable_fallback)
        monkeypatch.setattr(made, "get_providers", lambda: [CUDA, CPU])
        return made

    monkeypatch.setattr(session_module, "lacking", lambda _: None)
    monkeypatch.setattr(onnxruntime(), "InferenceSession", pretending)
    with pytest.raises(UnavailableError, match="its Gemm, ReduceMean, Softmax would run on the CPU") as caught:
        Session(model, require_gpu=True)
    assert caught.value.exit_code == 3


def test_what_native_code_prints_stays_off_stdout(
    model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    runtime, make = onnxruntime(), onnxruntime().InferenceSession

    def loud(*given: Any, **options: Any) -> Any:
        os.write(1, b"EP Error: TensorRT is not in the mood\n")
        return make(*given, **options)

    monkeypatch.setattr(runtime, "InferenceSession", loud)
    print("before")
    Session(model, "cpu")
    print("after")
    assert capfd.readouterr() == ("before\nafter\n", "EP Error: TensorRT is not in the mood\n")


def test_a_size_is_fixed(model: Path) -> None:
    assert Session(model, "cpu", sizes={"batch": 3}).input.shape[0] == 3
    assert Session(model, "cpu").input.shape[0] == "batch"


def test_an_input_of_another_shape_is_refused(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CumelError, match=r"fails on an input of \(1, 1, 9, 63\)"):
        Session(model, "cpu").run(np.zeros((1, 1, 9, 63), np.float32))
    assert capfd.readouterr() == ("", "")
