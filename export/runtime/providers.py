"""ONNX Runtime's providers: their options, and the part that a machine lacks for one."""

from __future__ import annotations

import ctypes
import importlib
import io
from contextlib import redirect_stdout
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...esc50.system import Load, driver_fault
from ...kernels import CumelError, need

PROVIDERS = ("auto", "cpu", "cuda", "tensorrt")  # any other provider goes by its own name, such as openvino
SUFFIX = "ExecutionProvider"
CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
ORDER = {
    "cpu": (CPU,),
    "cuda": (CUDA,),
    "tensorrt": (TENSORRT, CUDA),
}  # CUDA runs the nodes that TensorRT has no layer for.
OTHER_NAMES = {"directml": "dml", "npu": "qnn"}
PACKAGES = {  # that bring a provider; where none is named, ONNX Runtime is to be built with it
    "OpenVINO": "onnxruntime-openvino",
    "Dml": "onnxruntime-directml",
    "MIGraphX": "onnxruntime-migraphx",
    "QNN": "onnxruntime-qnn",
    "CANN": "onnxruntime-cann",
    "NvTensorRTRTX": "onnxruntime-trt-rtx",
    "CoreML": "onnxruntime on macOS",
}
FULL_PRECISION = {"OpenVINO": {"precision": "FP32"}}  # options of providers that may take fewer digits by themselves
REINSTALL = "pip uninstall onnxruntime, then pip install 'cumel[gpu]'"
WHEELS = "torch's CUDA wheels bring it: pip install 'cumel[gpu]'"


def onnxruntime(*, demand_gpu: bool = False) -> Any:
    """Import ONNX Runtime; the extra gpu installs one of its two packages, and predict the other."""
    return need("onnxruntime", f"{__package__}.io_binding" if demand_gpu else __name__)


def resolved(provider: str) -> str:
    """Return one of PROVIDERS, or the full name of another of ONNX Runtime's providers, such as OpenVINO's.

    Parameters
    ----------
    provider : str
        One of PROVIDERS or a provider's name, with or without "ExecutionProvider", in letters of any case.

    Raises
    ------
    CumelError
        When ONNX Runtime knows no such provider.
    """
    asked = provider.lower().removesuffix(SUFFIX.lower())
    if asked in PROVIDERS:
        return asked
    names = {name.removesuffix(SUFFIX).lower(): name for name in onnxruntime().get_all_providers()}
    found = names.get(OTHER_NAMES.get(asked, asked))
    if found is None:
        known = ", ".join((*PROVIDERS, *sorted(set(names) - set(PROVIDERS))))
        raise CumelError(f"provider={provider}: must be one of {known}")
    return found


def shown(provider: str) -> str:
    """Return how a provider is called in a sentence."""
    return {"auto": "CUDA", "cuda": "CUDA", "tensorrt": "TensorRT"}.get(provider, provider.removesuffix(SUFFIX))


def lacking(provider: str, load: Load = ctypes.CDLL) -> str | None:
    """Name the first part that a provider needs and this machine lacks; None when none is missing.

    CUDA's libraries come with torch; its import has loaded them, so the linker finds them by name. Where torch is built
    without CUDA, ONNX Runtime's `preload_dlls` may find them among NVIDIA's own packages.

    Parameters
    ----------
    provider : str
        "cuda", "tensorrt", or the full name of another, of which only the package is known.
    load : callable
        Takes the name of a shared library and loads it, or raises OSError.
    """
    runtime = onnxruntime()
    available = runtime.get_available_providers()
    for name in ORDER.get(provider, (provider,)):
        if name not in available:
            package = PACKAGES.get(name.removesuffix(SUFFIX))
            remedy = (
                f"pip uninstall {_installed()}, then pip install {package}"
                if package
                else "ONNX Runtime must be built with it"
            )
            remedy = REINSTALL if provider in ORDER else f"it has {', '.join(available)}; {remedy}"
            return f"this onnxruntime package has no {name} ({remedy})"
    if provider not in ORDER:
        return None
    driver = driver_fault(getattr(runtime, "cuda_version", ""), "onnxruntime", load)
    if driver is not None:
        return driver
    if find_spec("torch") is None:
        return f"torch is not installed, which holds the memory of the GPU ({WHEELS})"
    importlib.import_module("torch")
    preloaded = False
    for library, what, remedy in _libraries(provider, getattr(runtime, "cuda_version", "")):
        try:
            load(library)
        except OSError:
            if not preloaded:
                preloaded = True
                with redirect_stdout(io.StringIO()):  # preload_dlls prints what it does not find
                    runtime.preload_dlls(msvc=False)
            try:
                load(library)
            except OSError:
                return f"{what} is missing ({library} cannot be loaded; {remedy})"
    return None


def why_fallen_back(target: str) -> str:
    """Return the reason for a fallback, which ONNX Runtime only logs: load its provider again, and read the error."""
    target = target.removesuffix(SUFFIX).lower()
    library = Path(onnxruntime().__file__).parent / "capi" / f"libonnxruntime_providers_{target}.so"
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return f"its {target} provider does not load ({error})"
    return f"it fell back to another: its {target} provider loads, but finds no usable device"


def _installed() -> str:
    """Return the names of the installed packages that are ONNX Runtime."""
    return " ".join(sorted(set(packages_distributions().get("onnxruntime", ["onnxruntime"]))))


def _libraries(provider: str, cuda: str) -> list[tuple[str, str, str]]:
    """List the libraries that a provider needs: file, name, and where to get it."""
    major = cuda.split(".")[0] or "13"
    needed = [
        (f"libcudart.so.{major}", "CUDA's runtime", WHEELS),
        (f"libcublasLt.so.{major}", "cuBLASLt", WHEELS),
        (f"libcublas.so.{major}", "cuBLAS", WHEELS),
        ("libcurand.so.10", "cuRAND", WHEELS),
        ("libcudnn.so.9", "cuDNN", WHEELS),
    ]
    if provider == "tensorrt":
        remedy = "pip install tensorrt, and put its folder into LD_LIBRARY_PATH"
        needed += [
            ("libnvinfer.so.10", "TensorRT", remedy),
            ("libnvonnxparser.so.10", "TensorRT's ONNX parser", remedy),
        ]
    return needed


def settings(provider: str, *, device: int = 0, stream: int = 0, cuda_graph: bool = False) -> list[Any]:
    """Return the argument `providers` of an ONNX Runtime session.

    Parameters
    ----------
    provider : str
        "cpu", "cuda", "tensorrt", or the full name of another, which has no use for what follows.
    device : int
        Number of the CUDA device.
    stream : int
        Address of the CUDA stream to work on; 0 for a stream of its own.
    cuda_graph : bool
        Whether to capture the work in a CUDA graph and replay it.
    """
    shared = {"device_id": str(device)} | ({"user_compute_stream": str(stream)} if stream else {})
    options = {
        CPU: {},
        # TF32, the default, costs up to 4.5 dB near a spectrogram's floor.
        CUDA: shared | {"use_tf32": "0", "enable_cuda_graph": str(int(cuda_graph))},
        TENSORRT: shared | {"trt_cuda_graph_enable": str(int(cuda_graph))},
    }
    names = ORDER.get(provider, (provider,))
    chosen = [(name, options.get(name) or FULL_PRECISION.get(name.removesuffix(SUFFIX))) for name in names]
    return [(name, given) if given else name for name, given in chosen]
