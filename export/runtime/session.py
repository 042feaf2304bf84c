"""ONNX Runtime sessions that say where they run: ONNX Runtime alone falls back to the CPU without an exception."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...esc50.system import device_fault, first_line
from ...kernels import CumelError, UnavailableError
from ...kernels.cores import limited, usable_cores
from .providers import CPU, CUDA, ORDER, TENSORRT, lacking, onnxruntime, resolved, settings, shown, why_fallen_back

if TYPE_CHECKING:
    from .io_binding import Bound

ON_CPU = "assigned to the default CPU EP"  # part of ONNX Runtime's message
SILENT, WARNING = 4, 2  # severities of ONNX Runtime's log; WARNING is its default


class Node(NamedTuple):
    """A node of the optimised graph, and the provider that runs it."""

    name: str
    op: str
    provider: str


class Session:
    """A model loaded into ONNX Runtime on a chosen provider.

    Parameters
    ----------
    path : path
        An .onnx file.
    provider : str
        auto is CUDA where it works, else the CPU; `reason` says why. TensorRT must be asked for, as it spends minutes
        on a model before the first answer. Any other of ONNX Runtime's providers is called by its name, such as
        openvino; the nodes that it does not take run on the CPU, and `reason` names them.
    require_gpu : bool
        Whether to raise an error rather than run on the CPU.
    graph : bytes, optional
        The model to load instead of the file's contents.
    sizes : mapping of str to int
        Sizes of named dynamic axes, such as ``{"samples": 80000}``: shapes are then computed once, when the model is
        loaded, and not on the CPU at every run.
    stream : torch.cuda.Stream or int, optional
        The CUDA stream to work on, or its address, so that nothing waits for the host. The default stream is refused:
        its address is 0, which ONNX Runtime takes for no stream.
    cuda_graph : bool
        Whether to capture the work in a CUDA graph. Every axis then needs a fixed size, and runs go through `bound`.

    Attributes
    ----------
    providers : list of str
        The providers of the session, in order of preference.
    reason : str
        Why it runs on the first of them.
    nodes : tuple of Node
        Each node of the optimised graph, with its provider.
    metadata : dict of str to str
        The properties of the file.

    Raises
    ------
    CumelError
        For an unknown provider, and for a file that is missing or not a usable model.
    UnavailableError
        When a GPU is demanded, and a part for it is missing; the error names it.
    """

    def __init__(
        self,
        path: Path | str,
        provider: str = "auto",
        require_gpu: bool = False,
        *,
        graph: bytes | None = None,
        sizes: Mapping[str, int] | None = None,
        stream: Any = None,
        cuda_graph: bool = False,
    ) -> None:
        self.path, self.requested, self.cuda_graph = Path(path), provider, cuda_graph
        provider = resolved(provider)
        self.required = require_gpu or provider in ("cuda", "tensorrt")
        named = provider not in ORDER and provider != "auto"
        if (provider == "cpu" or named) and (require_gpu or cuda_graph or stream is not None):
            raise CumelError(f"provider={self.requested} contradicts a GPU that is required; leave one of them out")
        if not self.path.is_file():
            raise CumelError(f"{self.path}: no such model; `cumel export` writes one")
        if self.path.stat().st_size == 0:
            raise CumelError(f"{self.path}: the file is empty (0 bytes); export it again")
        onnxruntime(demand_gpu=self.required)
        target = "cuda" if provider == "auto" else provider
        missing = None if provider == "cpu" else lacking(target)
        self._demand(target, missing, self.required or named)
        self.stream = _address(stream)
        self.device_id = 0 if missing or provider == "cpu" or named else _current_device()
        wanted = settings("cpu") if missing or provider == "cpu" else self._settings(target, cuda_graph)
        model, sizes = self.path if graph is None else graph, sizes or {}
        try:
            self.raw = self._create(model, wanted, sizes, strict=self.required)
        except _NodesOnCpuError:  # The error names no node, so a less strict session finds them.
            self.raw = self._create(model, [*wanted, CPU], sizes, strict=False)
        self.providers: list[str] = self.raw.get_providers()
        self.nodes = tuple(
            Node(node.name, node.op_type, part.ep_name)
            for part in self.raw.get_provider_graph_assignment_info()
            for node in part.get_nodes()
        )
        if not missing and provider != "cpu" and self.providers[0] != ORDER.get(target, (target,))[0]:
            missing = why_fallen_back(target)
            self._demand(target, missing, self.required or named)
        on_cpu = sorted({node.op for node in self.nodes if node.provider == CPU})
        if self.required and on_cpu:
            raise UnavailableError(
                f"{self.path}: its {', '.join(on_cpu)} would run on the CPU, for want of a CUDA kernel; export it again"
            )
        if named and all(node.provider == CPU for node in self.nodes):
            self._demand(target, "it takes none of this model's nodes, so all would run on the CPU", demanded=True)
        self.reason = "as asked for" if provider != "auto" else missing or "CUDA is available"
        if named and on_cpu:
            self.reason += f"; it does not take {', '.join(on_cpu)}, which the CPU runs"
        self.metadata: dict[str, str] = self.raw.get_modelmeta().custom_metadata_map
        inputs, outputs = self.raw.get_inputs(), self.raw.get_outputs()
        self.inputs, self.outputs = list(inputs), list(outputs)
        self.input, self.output = inputs[0], outputs[0]

    @property
    def on_gpu(self) -> bool:
        """Whether it runs on a GPU."""
        return self.providers[0] in (CUDA, TENSORRT)

    def run(self, batch: Any) -> Any:
        """Run the model on a batch; its first axis may have any length.

        Parameters
        ----------
        batch : ndarray, Tensor or CuPy array, float32
            A tensor or CuPy array is read without a copy, in the order of its current stream.

        Returns
        -------
        ndarray, Tensor or CuPy array
            The same kind of array as `batch`, on the same device.
        """
        self._check_one_input()
        if isinstance(batch, np.ndarray):
            return self._run([self.output.name], {self.input.name: batch})[0]
        from .io_binding import run_bound  # imports torch, which the batch comes from, or CuPy shares with it

        return self._guarded(lambda: run_bound(self, batch), batch.shape)

    def run_all(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the model on arrays by the names of its inputs; return all its outputs by their names."""
        names = [value.name for value in self.outputs]
        return dict(zip(names, self._run(names, feeds), strict=True))

    def _run(self, names: list[str], feeds: Mapping[str, np.ndarray]) -> list[Any]:
        shapes = [(*array.shape,) for array in feeds.values()]
        return self._guarded(lambda: self.raw.run(names, dict(feeds)), *shapes)

    def _guarded(self, call: Callable[[], Any], *shapes: tuple[int, ...]) -> Any:
        """Run, and turn what ONNX Runtime raises into one line."""
        if self.cuda_graph:
            raise CumelError(f"{self.path}: is replayed from a CUDA graph, on fixed memory alone: use `bound`")
        try:
            with _own_stdout() if TENSORRT in self.providers else nullcontext():
                return call()
        except CumelError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions have no base class.
            told = " and ".join(str((*shape,)) for shape in shapes)
            failed = f"{self.path}: fails on an input of {told} ({_first_line(error)})"
            raise device_fault(error) or CumelError(failed) from None

    def _check_one_input(self) -> None:
        if len(self.inputs) > 1:
            names = ", ".join(value.name for value in self.inputs)
            raise CumelError(f"{self.path}: takes {names}: give them by name, to `run_all`")

    def bound(self, shape: tuple[int, ...]) -> Bound:
        """Bind the session to memory of one shape on its device; see `Bound`."""
        from .io_binding import Bound

        self._check_one_input()
        return Bound(self, shape)

    def report(self) -> dict[str, Any]:
        """Return the provider that was asked for, the one in use, why, and the provider of every node."""
        return {
            "requested": self.requested,
            "require_gpu": self.required,
            "actual": self.providers[0],
            "reason": self.reason,
            "nodes": dict(Counter(node.provider for node in self.nodes)),
            "per_node": [node._asdict() for node in self.nodes],
        }

    def _demand(self, target: str, missing: str | None, demanded: bool) -> None:
        if demanded and missing:
            raise UnavailableError(
                f"{shown(target)} was demanded of ONNX Runtime, but {missing}; `cumel doctor` says more"
            )

    def _settings(self, target: str, cuda_graph: bool) -> list[Any]:
        if target == "tensorrt":  # TensorRT has no option for TF32.
            os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
        options = settings(target, device=self.device_id, stream=self.stream, cuda_graph=cuda_graph)
        return options if self.required else [*options, CPU]

    def _create(self, model: Path | bytes, wanted: list[Any], sizes: Mapping[str, int], *, strict: bool) -> Any:
        """Make a session; with `strict`, a node on the CPU raises `_NodesOnCpuError`."""
        runtime = onnxruntime()
        options = runtime.SessionOptions()
        options.log_severity_level = SILENT
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        # Spinning threads take cores from decoding and features; a prediction then takes 1.3 times as long.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if limited():
            options.intra_op_num_threads = usable_cores()
        if strict:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        for name, size in sizes.items():
            options.add_free_dimension_override_by_name(name, size)
        with _quiet(runtime), _own_stdout():
            try:
                # ONNX Runtime's own fallback prints on stdout, and repeats on the CPU, in run() as well.
                return runtime.InferenceSession(model, options, providers=wanted, enable_fallback=0)
            except Exception as error:  # ONNX Runtime's exceptions have no base class.
                if strict and ON_CPU in str(error):
                    raise _NodesOnCpuError from None
                raise device_fault(error) or CumelError(
                    f"{self.path}: not a usable ONNX model ({_first_line(error)}); export it again"
                ) from None


class _NodesOnCpuError(Exception):
    """ONNX Runtime refuses to run nodes on the CPU."""


def _address(stream: Any) -> int:
    """Return the address of a CUDA stream that is given as an address, or as a stream of torch or CuPy."""
    if stream is None:
        return 0
    address = getattr(stream, "cuda_stream", getattr(stream, "ptr", stream))
    if not isinstance(address, int) or address == 0:
        raise CumelError(f"stream={stream}: must be a CUDA stream other than the default one, as torch.cuda.Stream()")
    return address


def _current_device() -> int:
    """Return the number of torch's current CUDA device."""
    import torch

    return torch.cuda.current_device() if torch.cuda.is_available() else 0


@contextmanager
def _quiet(runtime: Any) -> Iterator[None]:
    """Keep a provider's failure off stderr; `reason` reports it, or an error."""
    runtime.set_default_logger_severity(SILENT)
    try:
        yield
    finally:
        runtime.set_default_logger_severity(WARNING)


@contextmanager
def _own_stdout() -> Iterator[None]:
    """Redirect native output from stdout to stderr: TensorRT prints on stdout, where the caller's JSON goes."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # stdout is closed.
        yield
        return
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _first_line(error: Exception) -> str:
    """Return an error's first line without ONNX Runtime's prefix ``[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : ``."""
    return first_line(error).split(" : ", 3)[-1]
