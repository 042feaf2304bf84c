"""What doctor says of NVIDIA's part: a driver out of C, GPUs that are made up, and kernels that run, or do not."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from cumel.esc50.cli import doctor_gpu
from cumel.esc50.cli.doctor_gpu import SMALLEST, check_cupy, check_device, check_driver, no_code, try_kernel
from cumel.esc50.system.driver import driver_fault, supported_cuda
from cumel.kernels import UnavailableError, log_mel
from cumel.kernels.tolerance import TONAL_DB

from support.recordings import tone, write

ROOT = Path(__file__).parents[2]
DRIVER = """
int cuInit(unsigned flags) { return flags ? 1 : CODE; }
int cuDriverGetVersion(int *version) { *version = VERSION; return 0; }
int cuGetErrorString(int code, const char **said) { *said = "words of the driver"; return 0; }
"""
CUDA_13 = ["sm_75", "sm_80", "sm_90", "sm_100", "sm_120"]  # architectures in torch's wheels of CUDA 13
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


@pytest.fixture
def old_driver(tmp_path: Path) -> dict[str, str]:
    """Build a driver of CUDA 12.8; returns an environment in which it is loaded."""
    return driver(tmp_path, 12080, 0)


def driver(place: Path, version: int, code: int) -> dict[str, str]:
    source = place / "driver.c"
    source.write_text(DRIVER)
    macros = (f"-DVERSION={version}", f"-DCODE={code}")
    subprocess.run(["cc", "-shared", "-fPIC", *macros, "-o", place / "libcuda.so.1", source], check=True)
    return os.environ | {"LD_LIBRARY_PATH": str(place)}


def doctor(environment: dict[str, str]) -> tuple[int, dict[str, dict[str, str]], dict[str, Any]]:
    code = "import sys; from cumel.esc50.cli import main; sys.exit(main(['doctor', '--json']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    report = json.loads(done.stdout)
    return done.returncode, {check["name"]: check for check in report["checks"]}, report


@needs_compiler
@pytest.mark.skipif(not (torch.version.cuda or "").startswith("13"), reason="torch is not of CUDA 13")
def test_a_driver_that_is_too_old_is_named_with_the_version_needed(old_driver: dict[str, str]) -> None:
    code, checks, report = doctor(old_driver)
    assert code == 3
    assert not report["healthy"]
    assert not report["gpu"]
    found = checks["nvidia driver"]
    assert found["state"] == "bad"
    for part in ("supports CUDA 12.8", f"torch {torch.__version__} needs 13.0", "driver 580 or newer", "cumel[gpu12]"):
        assert part in found["text"]


@needs_compiler
def test_the_tests_are_collected_beside_an_old_driver(old_driver: dict[str, str]) -> None:
    """And those that need a GPU skip."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/kernels/test_devices.py",
        "-k",
        "not_there",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=old_driver)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


@needs_compiler
def test_an_old_driver_is_one_line_of_a_command(old_driver: dict[str, str], tmp_path: Path) -> None:
    """And the device that a machine was left to choose is named."""
    clip = write(tmp_path / "a.wav", tone(), 44100)
    call = "import sys; from cumel.esc50.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", call, "extract", clip, "--out", tmp_path / "out", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=old_driver)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["device"].startswith("cpu")
    (line,) = [line for line in done.stderr.splitlines() if "driver" in line]
    assert line.startswith(
        "cumel: CUDA initialization: The NVIDIA driver on your system is too old (found version 12080)"
    )


@needs_compiler
@pytest.mark.parametrize(
    ("version", "code", "state", "said"),
    [
        (13000, 100, "missing", "finds no usable device (cuInit returns 100: words of the driver)"),
        (13020, 803, "bad", "finds no usable device (cuInit returns 803: words of the driver)"),
        (11040, 0, "bad", "supports CUDA 11.4"),
        (14010, 0, "ok", "supports CUDA 14.1"),
    ],
)
def test_what_the_driver_says(
    version: int, code: int, state: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ctypes

    driver(tmp_path, version, code)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    library = ctypes.CDLL(str(tmp_path / "libcuda.so.1"))
    assert supported_cuda(lambda _: library) == (version // 1000, version % 1000 // 10)
    assert (driver_fault("13.0", "torch", lambda _: library) is None) == (state == "ok")
    for name in ("driver_fault", "supported_cuda", "starts"):
        shipped = getattr(doctor_gpu, name)
        monkeypatch.setattr(doctor_gpu, name, lambda *given, shipped=shipped: shipped(*given, load=lambda _: library))
    assert check_driver(torch)[1] == state
    assert said in check_driver(torch)[2]


def test_no_driver_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_gpu, "supported_cuda", lambda: None)
    monkeypatch.setattr(doctor_gpu, "driver_fault", lambda *_: doctor_gpu.MISSING)
    assert check_driver(torch)[1] == "missing"


@pytest.mark.parametrize(
    ("capability", "architectures", "works"),
    [
        ((7, 5), CUDA_13, True),
        ((8, 6), CUDA_13, True),
        ((8, 9), CUDA_13, True),
        ((9, 0), CUDA_13, True),
        ((12, 1), CUDA_13, True),
        ((7, 0), CUDA_13, False),
        ((11, 0), CUDA_13, False),
        ((13, 0), CUDA_13, False),
        ((13, 0), [*CUDA_13, "compute_120"], True),
        ((9, 0), ["sm_90a"], True),
        ((8, 0), ["sm_86"], False),
        ((9, 0), [], True),
    ],
)
def test_which_gpus_binaries_are_for(capability: tuple[int, int], architectures: list[str], works: bool) -> None:
    said = no_code(capability, architectures)
    assert (said is None) == works
    assert works or "no code for it, only for sm_" in str(said)


def made_up(monkeypatch: pytest.MonkeyPatch, name: str, major: int, minor: int) -> None:
    properties = SimpleNamespace(name=name, major=major, minor=minor, total_memory=16 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)


@pytest.mark.parametrize(
    ("name", "capability", "said"),
    [
        ("Tesla P100", (6, 0), "our kernels, and packages for CUDA 13, need sm_75 or later; use --device cpu"),
        ("Tesla V100", (7, 0), "need sm_75 or later"),
        ("A GPU to come", (14, 0), "has no code for it, only for sm_75 to sm_120"),
    ],
)
def test_a_gpu_without_code_is_named(
    name: str, capability: tuple[int, int], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up(monkeypatch, name, *capability)
    ((check, state, text),) = check_device(torch, 0, CUDA_13)
    assert (check, state) == ("cuda:0", "bad")
    assert text.startswith(f"{name}, 16 GiB, sm_{capability[0]}{capability[1]}: ")
    assert said in text


def right(y: np.ndarray, _device: str) -> np.ndarray:
    return log_mel(y, SMALLEST)


def test_a_gpu_has_to_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up(monkeypatch, "NVIDIA H100", 9, 0)
    (name, state, text), (proof, other, found) = check_device(torch, 3, CUDA_13, right)
    assert (name, state, text) == ("cuda:3", "ok", "NVIDIA H100, 16 GiB, sm_90")
    assert (proof, other) == ("cuda:3 kernel", "ok")
    assert "a kernel compiled, ran, and is within" in found
    states = {check[1] for check in check_device(torch, 3, CUDA_13, lambda y, device: right(y, device) + 2 * TONAL_DB)}
    assert states == {"bad"}


def raising(error: Exception) -> doctor_gpu.Compute:
    def compute(*_: object) -> np.ndarray:
        raise error

    return compute


@pytest.mark.parametrize(
    ("compute", "said"),
    [
        (lambda y, device: np.full_like(right(y, device), np.nan), "its result is nan dB from the reference"),
        (lambda y, device: right(y, device)[:, ::-1], "from the reference: do not use this GPU"),
        (raising(UnavailableError("features on a CUDA device need CuPy (no module)")), "need CuPy (no module)"),
        (
            raising(torch.AcceleratorError("CUDA error: unspecified launch failure\nmore")),
            "launch failure; `cumel doctor`",
        ),
        (raising(RuntimeError("what nobody\nhas seen")), "RuntimeError: what nobody has seen"),
    ],
)
def test_a_kernel_that_does_not_do_is_bad(compute: doctor_gpu.Compute, said: str) -> None:
    state, text = try_kernel("cuda:0", compute)
    assert state == "bad"
    assert said in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("packages", "cuda", "state", "said"),
    [
        (["cupy-cuda13x"], "13.0", "ok", "for CUDA 13"),
        (["cupy-cuda12x"], "12.8", "ok", "for CUDA 12"),
        (["cupy-cuda12x"], "13.0", "bad", "is for CUDA 12, torch for CUDA 13: pip install 'cumel[gpu]'"),
        (["cupy-cuda13x"], "12.6", "bad", "is for CUDA 13, torch for CUDA 12: pip install 'cumel[gpu12]'"),
        (["cupy-cuda12x", "cupy-cuda13x"], "13.0", "bad", "cupy-cuda12x and cupy-cuda13x overwrite each other"),
        (["cupy-cuda13x"], None, "ok", "for CUDA 13"),
        (["cupy"], "13.0", "ok", "built here"),
    ],
)
def test_cupy_and_torch_are_of_one_cuda(
    packages: list[str], cuda: str | None, state: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_gpu, "packages_distributions", lambda: {"cupy": packages})
    monkeypatch.setattr(doctor_gpu.importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(torch.version, "cuda", cuda)
    _, found, text = check_cupy(torch)
    assert found == state
    assert said in text


@pytest.mark.gpu
def test_this_gpu_computes() -> None:
    found = check_device(torch, torch.cuda.current_device())
    assert [state for _, state, _ in found] == ["ok", "ok"], found
