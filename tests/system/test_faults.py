"""What devices raise becomes one line with an exit code: of torch, CuPy, the compilers and ONNX Runtime, everywhere."""

import json
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch._inductor.exc import InductorError

from cumel.esc50 import verify
from cumel.esc50.audio import Waveform
from cumel.esc50.cli import main
from cumel.esc50.extraction import gpu, short
from cumel.esc50.extraction.job import Job, Result
from cumel.esc50.extraction.local import extract
from cumel.esc50.extraction.ray.engine import ENDS, RETURNED, _batch, _Extractor
from cumel.esc50.inputs.listing import Listing
from cumel.esc50.store import Store
from cumel.esc50.system.faults import device_fault
from cumel.kernels import CumelError, UnavailableError, launcher, plan
from cumel.kernels.kinds import Feature
from cumel.kernels.plan import Stage

from support.recordings import TINY, write

CPU = torch.device("cpu")
OUT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.18 GiB of which 3 GiB is free. "
    "Of the allocated memory 70.00 GiB is allocated by PyTorch, and 1 GiB is reserved.\nSee documentation"
)
LAUNCH = "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be asynchronously reported"
MEMORY, MISSING = 2, 3  # exit codes


def named(module: str, name: str, base: type[Exception] = RuntimeError) -> type[Exception]:
    """Make a class that says it is of a package that need not be here, or not be loaded."""
    return type(name, (base,), {"__module__": module})


FAULTS = {
    "torch's memory": (torch.OutOfMemoryError(OUT_OF_MEMORY), MEMORY, "3 GiB is free.; end what else uses its memory"),
    "a launch": (
        torch.AcceleratorError(LAUNCH),
        MISSING,
        "CUDA error: an illegal memory access was encountered; `cumel",
    ),
    "cuBLAS": (
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MEMORY,
        "CUBLAS",
    ),
    "cuFFT": (RuntimeError("cuFFT error: CUFFT_INTERNAL_ERROR"), MISSING, "cuFFT error: CUFFT_INTERNAL_ERROR; "),
    "cuDNN": (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), MISSING, "cuDNN error"),
    "no driver": (
        RuntimeError("Found no NVIDIA driver on your system. Please check"),
        MISSING,
        "Found no NVIDIA driver",
    ),
    "old driver": (
        RuntimeError("The NVIDIA driver on your system is too old (found version 12080)."),
        MISSING,
        "12080).; update the driver, or take packages for its CUDA version",
    ),
    "no CUDA": (
        AssertionError("Torch not compiled with CUDA enabled"),
        MISSING,
        "Torch not compiled with CUDA enabled",
    ),
    "no code": (
        torch.AcceleratorError("CUDA error: no kernel image is available for execution on the device"),
        MISSING,
        "these packages have no code for this GPU",
    ),
    "CuPy's memory": (
        named("cupy.cuda.memory", "OutOfMemoryError", MemoryError)("Out of memory allocating 1,000 bytes"),
        MEMORY,
        "the GPU: Out of memory allocating 1,000 bytes; end what else",
    ),
    "CuPy's driver": (
        named("cupy_backends.cuda.api.driver", "CUDADriverError")(
            "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access"
        ),
        MISSING,
        "CUDA_ERROR_ILLEGAL_ADDRESS",
    ),
    "CuPy's runtime": (
        named("cupy_backends.cuda.api.runtime", "CUDARuntimeError")(
            "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"
        ),
        MISSING,
        "update the driver",
    ),
    "CuPy's runtime memory": (
        named("cupy_backends.cuda.api.runtime", "CUDARuntimeError")("cudaErrorMemoryAllocation: out of memory"),
        MEMORY,
        "cudaErrorMemoryAllocation",
    ),
    "NVRTC": (
        named("cupy.cuda.compiler", "CompileException", Exception)(
            "\nlog-mel.cu(3): note: x\nlog-mel.cu(4): error: no y\n"
        ),
        MISSING,
        "the GPU: log-mel.cu(4): error: no y; ",
    ),
    "Inductor": (InductorError(RuntimeError("Failed to find C compiler."), None), MISSING, "needs a C compiler"),
    "Triton": (
        named("triton.compiler.errors", "CompilationError", Exception)("at 1:2"),
        MISSING,
        "at 1:2; `cumel doctor`",
    ),
    "ONNX Runtime": (
        named("onnxruntime.capi.onnxruntime_pybind11_state", "Fail", Exception)("CUDA failure 700: illegal access"),
        MISSING,
        "CUDA failure 700",
    ),
    "ONNX Runtime's memory": (
        named("onnxruntime.capi.onnxruntime_pybind11_state", "RuntimeException")("CUDA failure 2: out of memory"),
        MEMORY,
        "CUDA failure 2: out of memory",
    ),
    "the host's memory": (
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        MEMORY,
        "not enough memory for this call",
    ),
}
OTHERS = [
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
    ValueError("CUDA error: only said"),
    KeyError("driver"),
    named("onnxruntime.capi.onnxruntime_pybind11_state", "InvalidArgument", Exception)("Got invalid dimensions"),
    AssertionError("frames"),
]
every_fault = pytest.mark.parametrize(("error", "code", "message"), FAULTS.values(), ids=FAULTS)


@every_fault
def test_a_fault_is_one_line(error: Exception, code: int, message: str) -> None:
    fault = device_fault(error)
    assert fault is not None
    assert fault.exit_code == code
    assert message in str(fault)
    assert len(str(fault).splitlines()) == 1
    assert str(device_fault(error, torch.device("cuda", 1))).startswith(("cuda:1: ", "not enough memory"))


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: type(error).__name__)
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    assert device_fault(error) is None


def test_cupys_own_classes_are_known() -> None:
    cupy = pytest.importorskip("cupy")
    from cupy_backends.cuda.libs import nvrtc

    memory = device_fault(cupy.cuda.memory.OutOfMemoryError(1000, 2000, 0))
    assert memory is not None
    assert memory.exit_code == MEMORY
    broken = device_fault(cupy.cuda.compiler.CompileException("k.cu(1): error: no", "", "k.cu", (), "nvrtc"))
    assert isinstance(broken, UnavailableError)
    assert "k.cu(1): error: no" in str(broken)
    with pytest.raises(nvrtc.NVRTCError) as caught:
        nvrtc.compileProgram(nvrtc.createProgram("error", "k.cu", (), ()), ())
    assert isinstance(device_fault(caught.value), UnavailableError)


@pytest.mark.parametrize("name", ["torch's memory", "no CUDA", "CuPy's memory", "NVRTC", "the host's memory"])
def test_a_command_ends_in_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error, code, message = FAULTS[name]

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(verify, "log_mel", fail)
    clip = write(tmp_path / "a.wav", np.ones(3000))
    for options in ((), ("--json",)):
        assert main(["verify", str(clip), "--preset", "compact", "--device", "cpu", *options]) == code
        out, err = capsys.readouterr()
        (line,) = [line for line in err.splitlines() if line.startswith("cumel: ")]
        assert message in line
        assert "Traceback" not in err
        assert (json.loads(out) if out else {"exit_code": code})["exit_code"] == code
    assert message in json.loads(out)["error"]


def test_other_errors_are_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OTHERS[0]

    monkeypatch.setattr(verify, "log_mel", fail)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        main(["verify", str(write(tmp_path / "a.wav", np.ones(3000))), "--device", "cpu"])


@pytest.mark.parametrize("name", ["CuPy's memory", "CuPy's driver", "NVRTC"])
def test_an_extraction_keeps_what_it_has(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the batches of a device, here the CPU as one."""
    error, code, message = FAULTS[name]
    rng = np.random.default_rng(0)
    paths = [write(tmp_path / "in" / f"{i:02}.wav", rng.normal(0, 0.1, 4000)) for i in range(20)]
    out, of_samples = tmp_path / "out", short.of_samples

    def limited(result: Result, y: np.ndarray, job: Job) -> Result:
        if result.path == paths[13]:
            raise error
        return of_samples(result, y, job)

    run = partial(extract, paths, cfg=TINY, device=CPU, quiet=True, shard_bytes=1)
    with monkeypatch.context() as patch:
        patch.setattr(short, "of_samples", limited)
        with pytest.raises(CumelError) as caught:
            run(out)
    assert caught.value.exit_code == code
    assert message.partition(";")[0].removeprefix("the GPU: ") in str(caught.value)
    assert "what was complete before is kept" in str(caught.value)
    assert 0 < len(Store(out)) <= 13
    assert run(out)["kept"] >= 1
    assert len(Store(out)) == 20


def test_a_missing_package_is_no_fault_of_a_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not twenty rows with the same reason, but one line and the exit code 3."""

    def missing(*_: object, **__: object) -> None:
        raise UnavailableError("features on a CUDA device need CuPy")

    monkeypatch.setattr(Feature, "__call__", missing)
    job = Job("mfcc", "float32", TINY, CPU, tmp_path)
    clips = [Result(Path("a.wav"), "/a.wav", 0, 0, clip=Waveform(np.ones(3000, np.float32), TINY.sr))]
    with pytest.raises(UnavailableError, match="need CuPy"):
        list(gpu.on_device(clips, job))
    with pytest.raises(UnavailableError, match="need CuPy"):
        gpu._alone(clips[0], job)


@pytest.mark.parametrize(("name", "number"), [("CuPy's memory", -1), ("a launch", -2)])
def test_an_actor_answers_with_the_line(
    name: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error, _, message = FAULTS[name]

    def fail(*_: object) -> None:
        raise error

    path = write(tmp_path / "a.wav", np.ones(3000))
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(short, "of_samples", fail)
    actor = _Extractor("logmel", "float32", TINY, "cpu", tmp_path, 0, 1)
    answer = actor(_batch(range(1), Listing.of([path])))
    assert answer.schema == RETURNED
    assert answer["number"].to_pylist() == [number]
    assert ENDS[number].exit_code == FAULTS[name][1]
    assert message.partition(";")[0].removeprefix("the GPU: ") in answer["error"][0].as_py()


@pytest.mark.parametrize("filename", ["/home/me/.cupy/kernel_cache", None])
def test_a_cache_folder_that_cannot_be_written_is_named(filename: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy makes it at its import, and writes into it when it compiles."""

    class Broken(ModuleType):
        def RawModule(self, **_: object) -> object:  # noqa: N802
            return self

        def get_function(self, _: str) -> None:
            raise OSError(30, "Read-only file system", filename)

    class Finder:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "cupy":
                raise OSError(30, "Read-only file system", filename)

    said = (
        rf"CuPy cannot write {filename or 'its folder for compiled kernels'} \(Read-only file system\): set CUPY_CACHE"
    )
    monkeypatch.setitem(sys.modules, "cupy", Broken("cupy"))
    kernel = plan.generic(TINY.replace(n_fft=255), Stage.MEL).cut
    with pytest.raises(UnavailableError, match=said):
        launcher._function.__wrapped__(kernel, CPU)
    monkeypatch.delitem(sys.modules, "cupy")
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(UnavailableError, match=said):
        launcher._cupy()
