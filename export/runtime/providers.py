"""ONNX Runtime's providers: their options, and the part that a machine lacks for one."""

from __future__ import annotations

import ctypes
import importlib
import io
from contextlib import redirect_stdout
from importlib.util import find_spec
from typing import Any

from ...esc50.system import Load, driver_fault
from ...kernels import need

PROVIDERS = ("auto", "cpu", "cuda", "tensorrt")
CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
ORDER = {
    "cpu": (CPU,),
    "cuda": (CUDA,),
    "tensorrt": (TENSORRT, CUDA),
}  # CUDA runs the nodes that TensorRT has no layer for.
REINSTALL = "pip uninstall onnxruntime, then pip install 'cumel[gpu]'"
WHEELS = "torch's CUDA wheels bring it: pip install 'cumel[gpu]'"


def onnxruntime(*, demand_gpu: bool = False) -> Any:
    """Import ONNX Runtime; the extra gpu installs one of its two packages, and predict the other."""
    return need("onnxruntime", f"{__package__}.io_binding" if demand_gpu else __name__)


def lacking(provider: str, load: Load = ctypes.CDLL) -> str | None:
    """Name the first part that a GPU provider needs and this machine lacks; None when none is missing.

    CUDA's libraries come with torch; its import has loaded them, so the linker finds them by name. Where torch is built
    without CUDA, ONNX Runtime's `preload_dlls` may find them among NVIDIA's own packages.

    Parameters
    ----------
    provider : {"cuda", "tensorrt"}
    load : callable
        Takes the name of a shared library and loads it, or raises OSError.
    """
    runtime = onnxruntime()
    for name in ORDER[provider]:
        if name not in runtime.get_available_providers():
            return f"this onnxruntime package has no {name} ({REINSTALL})"
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
    provider : {"cpu", "cuda", "tensorrt"}
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
    return [(name, options[name]) if options[name] else name for name in ORDER[provider]]
