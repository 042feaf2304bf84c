"""Errors of devices, of their libraries and compilers, as one line of ours, and the first line of any error.

An error is recognised by the package that defines its class, so that nothing is imported for it; a bare RuntimeError is
recognised by its words.
"""

from __future__ import annotations

import re

from ...kernels import CumelError, UnavailableError

NO_MEMORY = "not enough memory for this call; use smaller values or fewer workers"
CUPY = ("cupy", "cupy_backends")
COMPILERS = ("triton", "torch._dynamo", "torch._inductor")
TORCH = ("torch.OutOfMemoryError", "torch.AcceleratorError", "torch.cuda.DeferredCudaCallError")
ONNX_RUNTIME = "onnxruntime"
# Words with which bare errors of torch and ONNX Runtime speak of a device.
DEVICE = re.compile(
    r"CUDA (driver|error|failure|initialization|out of memory|runtime|unknown)|cudaError|Triton Error|"
    r"cu(BLAS|FFT|DNN|SPARSE|SOLVER)[ _](error|failure|status)|(The|Found no) NVIDIA driver|"
    r"No CUDA GPUs|Torch not compiled with CUDA|NVRTC|NCCL error|kernel image|"
    r"Unexpected error from cudaGetDeviceCount",
    re.IGNORECASE,
)
HOST_MEMORY = re.compile(r"DefaultCPUAllocator: (not enough memory|can't allocate memory)")
MEMORY = re.compile(r"out of memory|failed to allocate memory|memory ?allocation|ALLOC_FAILED", re.IGNORECASE)
NO_CODE = re.compile(r"no kernel image|invalid value for --gpu-architecture|invalid device function", re.IGNORECASE)
LACKING = re.compile(r"C(\+\+)? compiler|Python\.h|\bg(cc|\+\+)\b")  # what torch.compile needs beside a GPU
OLD_DRIVER = re.compile(r"driver.*(too old|insufficient)|unsupported (PTX version|toolchain)", re.IGNORECASE)


def device_fault(error: BaseException, device: object = None) -> CumelError | None:
    """Say why a device cannot go on, and what to do; None for an error that is not a device's.

    Parameters
    ----------
    error : BaseException
        An error of torch, CuPy, NVRTC, Triton or ONNX Runtime.
    device : optional
        The device's name in the message; ``the GPU`` when absent.

    Returns
    -------
    CumelError or None
        A plain `CumelError` for too little memory, since smaller values help; an `UnavailableError` for anything else,
        since a working device is missing.
    """
    names = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__]
    said = _lines(error)
    if isinstance(error, RuntimeError) and HOST_MEMORY.search(said[0]):
        return CumelError(NO_MEMORY)
    compiles = any(_within(name, COMPILERS) for name in names) or names[0].endswith(".CompileException")
    ours = compiles or any(_within(name, (*CUPY, *TORCH)) for name in names)
    speaks = isinstance(error, RuntimeError | AssertionError) or _within(names[0], (ONNX_RUNTIME,))
    if not ours and not (speaks and DEVICE.search(str(error))):
        return None
    reason = next((line for line in said if compiles and "error" in line.lower()), said[0])
    reason = reason.partition(" Of the allocated memory")[0]  # torch adds a paragraph about its memory pool
    where = "the GPU" if device is None else str(device)
    if MEMORY.search(f"{names[0]} {reason}") or names[0].endswith("OutOfMemoryError"):
        return CumelError(f"{where}: {reason}; end what else uses its memory, or use smaller values")
    if OLD_DRIVER.search(reason):
        remedy = "update the driver, or take packages for its CUDA version; `cumel doctor` names both"
    elif NO_CODE.search(reason):
        remedy = "these packages have no code for this GPU; `cumel doctor` says for which they have"
    elif compiles and LACKING.search(str(error)):
        remedy = "torch.compile needs a C compiler and Python's headers, which `cumel doctor` looks for"
    else:
        remedy = "`cumel doctor` tries it out"
    return UnavailableError(f"{where}: {reason}; {remedy}")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message that says something; the name of its class where none does."""
    return _lines(error)[0]


def _lines(error: BaseException) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]


def _within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)
