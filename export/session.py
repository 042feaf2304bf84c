"""ONNX Runtime, honest about where it runs: ONNX Runtime itself falls back to the CPU without an exception."""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import CumelError, UnavailableError

PROVIDERS = ("auto", "cpu", "cuda")
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
SILENT, WARNING = 4, 2  # severities of ONNX Runtime's log; WARNING is its default


class Session:
    """A model loaded into ONNX Runtime on a chosen provider.

    Parameters
    ----------
    path : path
        An .onnx file.
    provider : {"auto", "cpu", "cuda"}
        auto is CUDA where it really works, else the CPU; `reason` says why.
    require_gpu : bool
        Refuse to run anywhere but on CUDA.

    Attributes
    ----------
    providers : list of str
        What the session really has, in order of preference.
    reason : str
        Why it runs there.
    nodes : dict of str to int
        How many nodes of the graph each provider was given.
    metadata : dict of str to str
        The file's own properties.

    Raises
    ------
    CumelError
        For an unknown provider, and for a file that is missing or no usable model.
    UnavailableError
        When CUDA is demanded and cannot be had: which part is missing.
    """

    def __init__(self, path: Path | str, provider: str = "auto", require_gpu: bool = False) -> None:
        self.path, self.requested, self.required = Path(path), provider, require_gpu or provider == "cuda"
        if provider == "tensorrt":
            raise UnavailableError("provider=tensorrt: not supported by this version; use cuda")
        if provider not in PROVIDERS:
            raise CumelError(f"provider={provider}: must be one of {', '.join(PROVIDERS)}")
        if provider == "cpu" and require_gpu:
            raise CumelError("provider=cpu contradicts require_gpu; leave one of them out")
        if not self.path.is_file():
            raise CumelError(f"{self.path}: no such model; `cumel export` writes one")
        lacking = None if provider == "cpu" else _lacking()
        self._demand(lacking)
        wanted = [CPU] if provider == "cpu" or lacking else [(CUDA, {"use_tf32": "0"}), CPU]  # TF32 costs up to 4.5 dB
        self._session = _create(self.path, wanted)
        self.providers: list[str] = self._session.get_providers()
        if len(wanted) > 1 and self.providers[0] != CUDA:
            lacking = _why_fallen_back()
            self._demand(lacking)
        self.reason = "as asked for" if provider != "auto" else lacking or "CUDA is available"
        self.nodes: Counter[str] = Counter()
        for part in self._session.get_provider_graph_assignment_info():
            self.nodes[part.ep_name] += len(part.get_nodes())
        if self.required and self.nodes[CPU]:
            raise UnavailableError(f"{self.path}: {self.nodes[CPU]} of its nodes have no CUDA kernel; export it again")
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if (len(inputs), len(outputs)) != (1, 1):
            raise CumelError(f"{self.path}: has {len(inputs)} inputs and {len(outputs)} outputs, not one of each")
        self.input, self.output = inputs[0], outputs[0]

    def _demand(self, lacking: str | None) -> None:
        if self.required and lacking:
            raise UnavailableError(f"CUDA was demanded of ONNX Runtime, but {lacking}; `cumel doctor` says more")

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the model on a batch, whose first axis may have any length."""
        try:
            return self._session.run([self.output.name], {self.input.name: batch})[0]
        except Exception as error:  # its exceptions have no base class of their own
            raise CumelError(f"{self.path}: fails on an input of {batch.shape} ({_first_line(error)})") from None

    def report(self) -> dict[str, Any]:
        """Return what was asked for, what was used, and why."""
        return {
            "requested": self.requested,
            "require_gpu": self.required,
            "actual": self.providers[0],
            "reason": self.reason,
            "nodes": dict(self.nodes),
        }


def onnxruntime() -> Any:
    """Import ONNX Runtime, which is an extra: one of two packages, after the machine."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UnavailableError(f"{error}; `pip install cumel[gpu]`, or cumel[cpu] without a GPU") from None
    return onnxruntime


def _lacking() -> str | None:
    """Name what CUDA needs and this machine lacks, as far as that shows before a session is made."""
    if CUDA not in onnxruntime().get_available_providers():
        return "this onnxruntime package has no CUDA provider (uninstall it, then `pip install cumel[gpu]`)"
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver (libcuda.so.1 cannot be loaded)"
    return None


def _why_fallen_back() -> str:
    """Find out what ONNX Runtime only logs: load its CUDA provider once more, and read the linker's complaint."""
    library = Path(onnxruntime().__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return f"its CUDA provider does not load ({error})"
    return "it fell back to the CPU: its CUDA provider loads, but finds no usable device"


def _create(path: Path, providers: list[Any]) -> Any:
    """Make a session. torch, imported by the kernels, has already loaded the CUDA libraries that the provider needs."""
    runtime = onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = SILENT
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    with _quiet(runtime):
        try:
            # Its own fallback prints on stdout and repeats on the CPU, in run() as well.
            return runtime.InferenceSession(path, options, providers=providers, enable_fallback=0)
        except Exception as error:  # its exceptions have no base class of their own
            raise CumelError(f"{path}: not a usable ONNX model ({_first_line(error)}); export it again") from None


@contextmanager
def _quiet(runtime: Any) -> Iterator[None]:
    """Keep a provider's failure off stderr: it is reported in `reason`, or raised."""
    runtime.set_default_logger_severity(SILENT)
    try:
        yield
    finally:
        runtime.set_default_logger_severity(WARNING)


def _first_line(error: Exception) -> str:
    """Return an error's first line without ONNX Runtime's prefix ``[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : ``."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line.split(" : ", 3)[-1]
