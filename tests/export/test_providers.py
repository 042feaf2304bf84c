"""What a GPU provider lacks, by name, with a loader that finds everything but one library."""

import ctypes
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cumel.export.runtime import providers
from cumel.export.runtime.providers import CPU, CUDA, TENSORRT, lacking, resolved, settings
from cumel.export.runtime.session import Session
from cumel.kernels import CumelError, UnavailableError

from support.onnx_models import save
from support.recordings import tiny_recipe

ALL = [TENSORRT, CUDA, CPU]
CLOSE = 2e-6  # difference of a probability; OpenVINO 3.6e-7


class Driver:
    """The calls of libcuda that are made."""

    def __init__(self, version: int = 13000, code: int = 0) -> None:
        self.version, self.code = version, code

    def cuDriverGetVersion(self, out: Any) -> int:  # noqa: N802
        out._obj.value = self.version
        return 0

    def cuInit(self, _flags: int) -> int:  # noqa: N802
        return self.code

    def cuGetErrorString(self, _code: int, out: Any) -> int:  # noqa: N802
        out._obj.value = b"no CUDA-capable device is detected"
        return 0


class Runtime:
    """ONNX Runtime as far as `lacking` looks at it."""

    cuda_version = "13.0"

    def __init__(self, available: list[str]) -> None:
        self.available, self.preloaded = available, 0

    def get_all_providers(self) -> list[str]:
        return [*ALL, "OpenVINOExecutionProvider", "DmlExecutionProvider", "XnnpackExecutionProvider"]

    def get_available_providers(self) -> list[str]:
        return self.available

    def preload_dlls(self, **_options: bool) -> None:
        print("Failed to load libcublas.so.13")  # it does say such things, on stdout
        self.preloaded += 1


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    made = Runtime(list(ALL))
    monkeypatch.setattr(providers, "onnxruntime", lambda: made)
    return made


def without(*missing: str, driver: Driver | None = None) -> Callable[[str], Any]:
    def load(name: str) -> Any:
        if name.startswith(missing):
            raise OSError(f"{name}: cannot open shared object file")
        return (driver or Driver()) if name == "libcuda.so.1" else object()

    return load


@pytest.mark.parametrize(
    ("provider", "library", "said"),
    [
        ("cuda", "libcuda.so", "there is no NVIDIA driver (libcuda.so.1 cannot be loaded)"),
        ("cuda", "libcudart", "CUDA's runtime is missing (libcudart.so.13 cannot be loaded; torch's CUDA wheels"),
        ("cuda", "libcublas.so", "cuBLAS is missing (libcublas.so.13 cannot be loaded; torch's CUDA wheels bring it"),
        ("cuda", "libcublasLt", "cuBLASLt is missing (libcublasLt.so.13 cannot be loaded"),
        ("cuda", "libcurand", "cuRAND is missing (libcurand.so.10"),
        ("cuda", "libcudnn", "cuDNN is missing (libcudnn.so.9 cannot be loaded; torch's CUDA wheels bring it"),
        ("tensorrt", "libcudnn", "cuDNN is missing"),
        ("tensorrt", "libnvinfer", "TensorRT is missing (libnvinfer.so.10 cannot be loaded; pip install tensorrt"),
        ("tensorrt", "libnvonnxparser", "TensorRT's ONNX parser is missing (libnvonnxparser.so.10"),
    ],
)
def test_the_missing_library_is_named(
    runtime: Runtime, provider: str, library: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert str(lacking(provider, without(library))).startswith(said)
    assert runtime.preloaded == (library != "libcuda.so")  # NVIDIA's own packages were tried
    assert capsys.readouterr().out == ""


def test_nothing_is_missing(runtime: Runtime) -> None:
    assert [lacking("cuda", without("libnvinfer")), lacking("tensorrt", without("nothing"))] == [None, None]
    assert runtime.preloaded == 0


def test_what_onnxruntime_preloads_is_enough(runtime: Runtime) -> None:
    def load(name: str) -> Any:
        return without()(name) if runtime.preloaded else without("libcu")(name) if name != "libcuda.so.1" else Driver()

    assert lacking("cuda", load) is None
    assert runtime.preloaded == 1


@pytest.mark.parametrize(
    ("driver", "said"),
    [
        (Driver(12040), "the NVIDIA driver is too old (it supports CUDA 12.4, onnxruntime needs 13.0; update it)"),
        (
            Driver(code=100),
            "the NVIDIA driver finds no usable device (cuInit returns 100: no CUDA-capable device is detected)",
        ),
    ],
)
@pytest.mark.usefixtures("runtime")
def test_a_driver_that_is_no_use_says_why(driver: Driver, said: str) -> None:
    assert lacking("cuda", without("nothing", driver=driver)) == said


@pytest.mark.parametrize(
    ("available", "provider", "named"), [([CPU], "cuda", CUDA), ([CUDA, CPU], "tensorrt", TENSORRT)]
)
def test_the_wrong_package_is_named(runtime: Runtime, available: list[str], provider: str, named: str) -> None:
    runtime.available = available
    said = str(lacking(provider, without("nothing")))
    assert said.startswith(f"this onnxruntime package has no {named} (pip uninstall onnxruntime, then pip install")


def test_the_installed_libraries_are_those_that_are_looked_for() -> None:
    """Not the driver and TensorRT: those that torch's wheels bring."""
    if CUDA not in providers.onnxruntime().get_available_providers():
        pytest.skip("needs onnxruntime-gpu")
    driver = Driver(14000)
    said = lacking("cuda", lambda name: driver if name == "libcuda.so.1" else ctypes.CDLL(name))
    assert said is None


def test_settings_of_every_provider() -> None:
    assert settings("cpu") == [CPU]
    assert settings("cuda") == [(CUDA, {"device_id": "0", "use_tf32": "0", "enable_cuda_graph": "0"})]
    (name, given), (second, under) = settings("tensorrt", device=1, stream=4096, cuda_graph=True)
    assert (name, second) == (TENSORRT, CUDA)
    assert given == {"device_id": "1", "user_compute_stream": "4096", "trt_cuda_graph_enable": "1"}
    assert under["use_tf32"] == "0"
    assert "user_compute_stream" not in settings("cuda", stream=0)[0][1]  # ONNX Runtime takes 0 for none given


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("auto", "auto"),
        ("CPU", "cpu"),
        ("CPUExecutionProvider", "cpu"),
        ("cudaexecutionprovider", "cuda"),
        ("TensorrtExecutionProvider", "tensorrt"),
        ("openvino", "OpenVINOExecutionProvider"),
        ("OpenVINOExecutionProvider", "OpenVINOExecutionProvider"),
        ("DirectML", "DmlExecutionProvider"),
        ("dml", "DmlExecutionProvider"),
    ],
)
@pytest.mark.usefixtures("runtime")
def test_a_provider_goes_by_its_short_and_its_full_name(asked: str, meant: str) -> None:
    assert resolved(asked) == meant


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize("asked", ["", "openvin", "ExecutionProvider", "gpu"])
def test_an_unknown_provider_is_told_the_known_ones(asked: str) -> None:
    with pytest.raises(CumelError, match="must be one of auto, cpu, cuda, tensorrt, dml, openvino, xnnpack"):
        resolved(asked)


@pytest.mark.parametrize(
    ("provider", "remedy"),
    [
        ("OpenVINOExecutionProvider", "then pip install onnxruntime-openvino"),
        ("XnnpackExecutionProvider", "built with"),
    ],
)
def test_a_provider_that_the_package_lacks(runtime: Runtime, provider: str, remedy: str) -> None:
    runtime.available = [CUDA, CPU]
    said = str(lacking(provider))
    assert said.startswith(f"this onnxruntime package has no {provider} (it has {CUDA}, {CPU}; ")
    assert remedy in said
    runtime.available = [provider, CPU]
    assert lacking(provider) is None


def test_other_providers_compute_in_full_precision() -> None:
    assert settings("OpenVINOExecutionProvider") == [("OpenVINOExecutionProvider", {"precision": "FP32"})]
    assert settings("XnnpackExecutionProvider") == ["XnnpackExecutionProvider"]


def test_a_named_provider_is_demanded_and_contradicts_a_gpu(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", tiny_recipe())
    missing = next(
        name
        for name in ("xnnpack", "rknpu", "vsinpu")
        if resolved(name) not in providers.onnxruntime().get_available_providers()
    )
    with pytest.raises(UnavailableError, match="was demanded of ONNX Runtime, but this onnxruntime package has no"):
        Session(path, missing)
    with pytest.raises(CumelError, match=f"provider={missing} contradicts a GPU"):
        Session(path, missing, require_gpu=True)


class Raw:
    """A session of ONNX Runtime that gives a provider some of a model's nodes."""

    def __init__(self, raw: Any, provider: str, taken: int) -> None:
        self.raw, self.provider, self.taken = raw, provider, taken

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    def get_providers(self) -> list[str]:
        return [self.provider, CPU]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        nodes = [node for part in self.raw.get_provider_graph_assignment_info() for node in part.get_nodes()]
        first, rest = nodes[: self.taken], nodes[self.taken :]
        return [
            types.SimpleNamespace(ep_name=name, get_nodes=lambda part=part: part)
            for name, part in ((self.provider, first), (CPU, rest))
        ]


def test_what_a_named_provider_leaves_to_the_cpu_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, name = save(tmp_path / "m.onnx", tiny_recipe()), "OpenVINOExecutionProvider"
    create, taken = Session._create, [1]

    def created(self: Session, model: Any, _wanted: list[Any], sizes: Any, *, strict: bool) -> Any:
        return Raw(create(self, model, [CPU], sizes, strict=strict), name, taken[0])

    monkeypatch.setattr(Session, "_create", created)
    monkeypatch.setattr("cumel.export.runtime.session.lacking", lambda _provider: None)
    report = Session(path, "openvino").report()
    n_nodes = sum(report["nodes"].values())
    assert (report["requested"], report["actual"]) == ("openvino", name)
    assert report["nodes"] == {name: 1, CPU: n_nodes - 1}
    assert report["reason"].startswith("as asked for; it does not take ")
    assert report["reason"].endswith(", which the CPU runs")
    taken[0] = 0
    with pytest.raises(UnavailableError, match=r"OpenVINO was demanded .* takes none of this model's nodes"):
        Session(path, "openvino")
    taken[0] = n_nodes
    assert Session(path, "openvino").report()["reason"] == "as asked for"


@pytest.mark.parametrize("name", ["OpenVINOExecutionProvider", "XnnpackExecutionProvider", "AzureExecutionProvider"])
def test_a_provider_of_the_installed_package_answers_as_the_cpu_or_says_why_not(tmp_path: Path, name: str) -> None:
    if name not in providers.onnxruntime().get_available_providers():
        pytest.skip(f"needs an onnxruntime package with {name}")
    path = save(tmp_path / "m.onnx", tiny_recipe())
    image = np.random.default_rng(0).uniform(-80, 0, (3, *tiny_recipe().input_shape)).astype(np.float32)
    if name == "AzureExecutionProvider":  # for operators that call a server
        with pytest.raises(UnavailableError, match="takes none of this model's nodes"):
            Session(path, name)
        return
    expected = Session(path, "cpu").run(image)
    np.testing.assert_allclose(Session(path, name).run(image), expected, rtol=0, atol=CLOSE)
