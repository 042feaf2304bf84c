"""A session on memory that stays where it is: tensors go in and out by DLPack, on the caller's stream."""

from __future__ import annotations

from itertools import count
from typing import Any

import torch
from torch import Tensor

from ...kernels import CumelError
from ...kernels.arrays import as_tensor, like
from .providers import onnxruntime

_numbers = count(1)  # of CUDA graphs


def run_bound(session: Any, batch: Any) -> Any:
    """Run a `Session` on a torch or CuPy array where it lies; returns the same kind of array, on the same device.

    What the caller's current stream still has to do comes first, and what it does next waits for the result.
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
    """A session bound to one input and one output of fixed shape, which stay at their place on its device.

    Write into `input`, call `run`, read `output`. In a session with `cuda_graph` the first runs capture the work, and
    later ones replay it; each `Bound` has a graph of its own.

    Parameters
    ----------
    session : Session
    shape : tuple of int
        Of the input.

    Attributes
    ----------
    input, output : Tensor, float32
        On the session's device.
    """

    def __init__(self, session: Any, shape: tuple[int, ...]) -> None:
        fixed = _axes(session.input)
        if len(shape) != len(fixed) or any(isinstance(n, int) and n != m for n, m in zip(fixed, shape, strict=True)):
            raise CumelError(f"{session.path}: takes {fixed}, not {shape}")
        device = torch.device("cuda", session.device_id) if session.on_gpu else torch.device("cpu")
        self._session, self._graph = session, next(_numbers) if session.cuda_graph else None
        self.input = torch.zeros(shape, dtype=torch.float32, device=device)
        self.output = torch.empty((shape[0], *_axes(session.output)[1:]), dtype=torch.float32, device=device)
        self._binding = session.raw.io_binding()
        self._binding.bind_ortvalue_input(session.input.name, _value(self.input))
        self._binding.bind_ortvalue_output(session.output.name, _value(self.output))

    def run(self) -> Tensor:
        """Run the model on what `input` holds, in the order of torch's current stream; returns `output`."""
        _run(self._session, self._binding, self.input.device, (self.input, self.output), self._graph)
        return self.output


def _run(
    session: Any, binding: Any, device: torch.device, tensors: tuple[Tensor, ...], graph: int | None = None
) -> None:
    """Run between what the current stream has done and what it will do next; captured as CUDA graph number `graph`."""
    options = onnxruntime().RunOptions()
    if graph is not None:
        options.add_run_config_entry("gpu_graph_id", str(graph))
    if device.type != "cuda":
        session.raw.run_with_iobinding(binding, options)
        return
    caller = torch.cuda.current_stream(device)
    if not session.stream:  # one of its own, unknown to us, for which it waits at the end
        caller.synchronize()
        session.raw.run_with_iobinding(binding, options)
        return
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    own = torch.cuda.ExternalStream(session.stream, device)
    own.wait_stream(caller)
    session.raw.run_with_iobinding(binding, options)
    caller.wait_stream(own)
    for tensor in tensors:
        tensor.record_stream(own)


def _value(tensor: Tensor) -> Any:
    """Wrap a tensor's memory, without a copy."""
    return onnxruntime().OrtValue.from_dlpack(tensor)


def _axes(value: Any) -> list[Any]:
    """Return the axes that a model declares: sizes, and names where they are dynamic."""
    return list(value.shape)
