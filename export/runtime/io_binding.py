"""Sessions on device memory: tensors go in and out by DLPack without a copy, on the caller's stream."""

from __future__ import annotations

from itertools import count
from typing import Any

import torch
from torch import Tensor

from ...kernels import CumelError
from ...kernels.interchange import as_tensor, like
from .providers import onnxruntime

_graph_ids = count(1)  # ids of CUDA graphs


def run_bound(session: Any, batch: Any) -> Any:
    """Run a `Session` on a torch or CuPy array without a copy; returns the same kind of array, on the same device.

    The run waits for the work in the caller's current stream, and later work in that stream waits for the run.
    """
    with as_tensor(batch) as tensor:
        source = tensor.detach().contiguous()
        shape = (len(source), *_axes(session.output)[1:])
        out = torch.empty(shape, dtype=torch.float32, device=source.device)
        binding = session.raw.io_binding()
        binding.bind_ortvalue_input(session.input.name, _value(source))
        binding.bind_ortvalue_output(session.output.name, _value(out))
        _run(session, binding, source.device, (source, out))
        return like(out, batch)


class Bound:
    """A session bound to an input and an output of fixed shape, at fixed addresses on its device.

    Write into `input`, call `run`, read `output`. In a session with `cuda_graph` the first runs capture the work, and
    later runs replay it; each `Bound` has a graph of its own.

    Parameters
    ----------
    session : Session
    shape : tuple of int
        Shape of the input.

    Attributes
    ----------
    input, output : Tensor, float32
        Memory on the session's device.
    """

    def __init__(self, session: Any, shape: tuple[int, ...]) -> None:
        fixed = _axes(session.input)
        if len(shape) != len(fixed) or any(isinstance(n, int) and n != m for n, m in zip(fixed, shape, strict=True)):
            raise CumelError(f"{session.path}: takes {fixed}, not {shape}")
        device = torch.device("cuda", session.device_id) if session.on_gpu else torch.device("cpu")
        self._session, self._graph = session, next(_graph_ids) if session.cuda_graph else None
        self.input = torch.zeros(shape, dtype=torch.float32, device=device)
        self.output = torch.empty((shape[0], *_axes(session.output)[1:]), dtype=torch.float32, device=device)
        self._binding = session.raw.io_binding()
        self._binding.bind_ortvalue_input(session.input.name, _value(self.input))
        self._binding.bind_ortvalue_output(session.output.name, _value(self.output))

    def run(self) -> Tensor:
        """Run the model on the contents of `input`, in the order of torch's current stream; returns `output`."""
        _run(self._session, self._binding, self.input.device, (self.input, self.output), self._graph)
        return self.output


def _run(
    session: Any, binding: Any, device: torch.device, tensors: tuple[Tensor, ...], graph: int | None = None
) -> None:
    """Run in the order of the current stream; `graph` is the id of the CUDA graph that captures the run."""
    options = onnxruntime().RunOptions()
    if graph is not None:
        options.add_run_config_entry("gpu_graph_id", str(graph))
    if device.type != "cuda":
        session.raw.run_with_iobinding(binding, options)
        return
    caller = torch.cuda.current_stream(device)
    if not session.stream:  # ONNX Runtime uses a stream of its own, and waits for it at the end.
        caller.synchronize()
        session.raw.run_with_iobinding(binding, options)
        return
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    stream = torch.cuda.ExternalStream(session.stream, device)
    stream.wait_stream(caller)
    session.raw.run_with_iobinding(binding, options)
    caller.wait_stream(stream)
    for tensor in tensors:
        tensor.record_stream(stream)


def _value(tensor: Tensor) -> Any:
    """Wrap a tensor's memory, without a copy."""
    return onnxruntime().OrtValue.from_dlpack(tensor)


def _axes(value: Any) -> list[Any]:
    """Return the axes that a model declares: a size each, or the name of a dynamic axis."""
    return list(value.shape)
