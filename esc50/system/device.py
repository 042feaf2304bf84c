"""Which device to compute on, and what it is called in reports."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from ...kernels import CumelError, UnavailableError, native
from ...kernels.precision import multiply_exactly
from .progress import say


def choose(name: str = "auto") -> torch.device:
    """Turn auto, cpu, cuda or cuda:N into a device; auto is the first visible CUDA device, or the CPU.

    With a CUDA device, this process computes nothing in TF32 from then on.

    Raises
    ------
    UnavailableError
        When a CUDA device is asked for by name and is not there. It is never replaced by the CPU.
    """
    if name == "cpu" or (name == "auto" and not _asked(torch.cuda.is_available)):
        return torch.device("cpu")
    name = "cuda" if name == "auto" else name
    kind, _, number = name.partition(":")
    if kind != "cuda" or (number and not number.isdecimal()):
        raise CumelError(f"--device {name}: must be auto, cpu, cuda or cuda:N")
    count = _asked(torch.cuda.device_count)
    if int(number or 0) >= count:
        raise UnavailableError(f"--device {name}: torch sees {count} CUDA devices; `cumel doctor` says why")
    multiply_exactly()
    return torch.device("cuda", int(number or 0))


def _asked(question: Callable[[], int]) -> int:
    """Ask torch about devices; what it warns of, such as a driver that is too old, is said in one line."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        answer = question()
    for warning in warned:
        say(f"cumel: {str(warning.message).partition('. ')[0]}; `cumel doctor` says more")
    return answer


def to_device(net: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to `device`, channels last: convolutions are a third faster so, on CPUs and GPUs."""
    return net.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def describe(device: torch.device) -> str:
    """Name a device, as ``cuda:0 (NVIDIA H100)`` or ``cpu (2 threads, avx512)``: "torch" without the path in C++."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads, {native.target() if native.available() else 'torch'})"


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Compute in bfloat16 where `precision` allows it and `device` is faster so; in float32 otherwise."""
    if precision == "bf16" and fast_bf16(device):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def fast_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 in hardware: 1.8 times as fast in training on a CPU that does."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return (
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    )  # torch >= 2.9 has no public name
