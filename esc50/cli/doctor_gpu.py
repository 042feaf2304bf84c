"""NVIDIA's part of `cumel doctor`: driver, packages, each GPU, and whether one of our kernels runs on it."""

from __future__ import annotations

import importlib.util
import re
import warnings
from collections.abc import Callable
from importlib.metadata import packages_distributions
from typing import Any

import numpy as np

from ...kernels import CumelError, FeatureConfig, log_mel, reference
from ...kernels.tolerance import TONAL_DB
from ..system import FIRST, MISSING, NO_DEVICE, device_fault, driver_fault, starts, supported_cuda

# Config of the smallest kernel that is compiled.
SMALLEST = FeatureConfig(sr=16000, n_fft=256, hop_length=80, n_mels=20)
OLDEST = (7, 5)  # Turing, the first with as much shared memory as our blocks take
PACKAGES = {12: "gpu12", 13: "gpu"}  # extras, by CUDA version
INSTALL = "on a GPU machine, pip install 'cumel[gpu]'"
CPU_PATH = "everything runs on the CPU"

Check = tuple[str, str, str]  # name, state (ok, missing or bad), text
Compute = Callable[[np.ndarray, str], np.ndarray]


def examine_gpu(torch: Any) -> list[Check]:
    """Look at the driver, the packages that use it and every GPU; each that could work has to compute something.

    Parameters
    ----------
    torch : module or None
        None where torch is not installed, or cannot be imported.
    """
    checks = [check_driver(torch), check_cupy(torch)]
    if torch is None:
        return [*checks, ("cuda", "missing", f"our kernels work on the memory of torch; {CPU_PATH}: {INSTALL}")]
    with warnings.catch_warnings():  # torch warns of the same things
        warnings.simplefilter("ignore")
        if checks[0][1] == "bad" or not torch.cuda.is_available():
            built = torch.version.cuda
            reason = "torch sees no device" if built else f"this torch is built without CUDA ({INSTALL})"
            return [*checks, ("cuda", "missing", f"{reason}; {CPU_PATH}")]
        checks.append(("cuda", "ok", f"torch {torch.__version__} for CUDA {torch.version.cuda}"))
        for number in range(torch.cuda.device_count()):
            checks += check_device(torch, number)
        return [*checks, check_compile()]


def check_driver(torch: Any) -> Check:
    """Compare the driver with what torch needs."""
    needed = "" if torch is None else torch.version.cuda or ""
    fault, supported = (
        driver_fault(needed, "torch" if torch is None else f"torch {torch.__version__}"),
        supported_cuda(),
    )
    if supported is None or fault == MISSING:
        return "nvidia driver", "missing", f"libcuda.so.1 is missing: no driver, so {CPU_PATH}"
    if fault is None:
        return "nvidia driver", "ok", f"supports CUDA {supported[0]}.{supported[1]}"
    major = int(needed.split(".")[0]) if needed else 0
    if supported[0] >= major:  # the driver is new enough, but does not start
        return "nvidia driver", "missing" if starts()[0] == NO_DEVICE else "bad", fault
    wanted = f"driver {FIRST[major]} or newer" if major in FIRST else "a newer driver"
    extra = PACKAGES.get(supported[0])
    instead = f", or cumel[{extra}] and a torch for CUDA {supported[0]}" if extra else ""
    return "nvidia driver", "bad", f"{fault}: install {wanted}{instead}"


def check_compile() -> Check:
    """Say whether torch can compile a network for a GPU."""
    from ..system import no_extension  # imports torch

    lacking = no_extension()
    if lacking is None:
        return "torch.compile", "ok", "a C compiler and Python.h, which it needs"
    return "torch.compile", "missing", f"{lacking}; training goes without"


def check_device(
    torch: Any, number: int, architectures: list[str] | None = None, compute: Compute | None = None
) -> list[Check]:
    """Name a GPU, and say whether torch has code for it and one of our kernels runs on it.

    Parameters
    ----------
    torch : module
    number : int
    architectures : list of str, optional
        As ``sm_90`` or ``compute_120``; torch's when absent.
    compute : callable, optional
        Computes a log-mel spectrogram of a clip on a device; ours when absent.
    """
    properties = torch.cuda.get_device_properties(number)
    capability = properties.major, properties.minor
    memory, code = f"{properties.total_memory / 2**30:.0f} GiB", f"sm_{properties.major}{properties.minor}"
    name, text = f"cuda:{number}", f"{properties.name}, {memory}, {code}"
    if capability < OLDEST:
        return [(name, "bad", f"{text}: our kernels, and packages for CUDA 13, need sm_75 or later; use --device cpu")]
    lacking = no_code(capability, torch.cuda.get_arch_list() if architectures is None else architectures)
    if lacking is not None:
        return [(name, "bad", f"{text}: torch {torch.__version__} has {lacking}")]
    if importlib.util.find_spec("cupy") is None and compute is None:
        return [(name, "bad", f"{text}: without CuPy nothing runs there; pip install 'cumel[gpu]'")]
    state, verdict = try_kernel(name, compute or on_device)
    return [(name, state, text), (f"{name} kernel", state, verdict)]


def no_code(capability: tuple[int, int], architectures: list[str]) -> str | None:
    """Say which GPUs binaries are for, where they are not for one of `capability`; None where they are.

    Machine code (sm_) runs on the same major version from its minor version on, PTX (compute_) on everything later.
    """
    matches = [re.fullmatch(r"(sm|compute)_(\d+)(\d)[af]?", name) for name in architectures]
    built = [(match[1], (int(match[2]), int(match[3]))) for match in matches if match]
    if not built or any(
        target <= capability and (kind == "compute" or target[0] == capability[0]) for kind, target in built
    ):  # a torch that names no architecture has to be tried
        return None
    targets = sorted({target for _, target in built})
    oldest, newest = (f"sm_{major}{minor}" for major, minor in (targets[0], targets[-1]))
    return f"no code for it, only for {oldest} to {newest}; take another torch, or use --device cpu"


def try_kernel(device: str, compute: Compute) -> tuple[str, str]:
    """Compile, launch and compare one small kernel: state and text."""
    y = (0.1 * np.random.default_rng(0).standard_normal(SMALLEST.sr)).astype(np.float32)
    try:
        error = float(np.abs(compute(y, device) - reference.log_mel(y, SMALLEST)).max())
    except Exception as raised:
        fault = raised if isinstance(raised, CumelError) else device_fault(raised, device)
        return "bad", " ".join(str(fault or f"{type(raised).__name__}: {raised}").split())
    if not error <= TONAL_DB:
        return "bad", f"a kernel ran, and its result is {error:.1e} dB from the reference: do not use this GPU"
    return "ok", f"a kernel compiled, ran, and is within {error:.1e} dB of the reference"


def on_device(y: np.ndarray, device: str) -> np.ndarray:
    """Compute log-mel of ``y`` [n_samples] by our kernels."""
    return log_mel(y, SMALLEST, device=device)


def check_cupy(torch: Any) -> Check:
    """Compare CuPy's CUDA with torch's; two CUDA versions in one process do not share a driver's rules."""
    if importlib.util.find_spec("cupy") is None:
        return "cupy", "missing", f"not installed: {INSTALL}"
    packages = sorted(name for name in packages_distributions().get("cupy", []) if name.startswith("cupy"))
    majors = sorted({int(match[1]) for name in packages if (match := re.match(r"cupy-cuda(\d+)x", name))})
    if len(packages) > 1:
        return "cupy", "bad", f"{' and '.join(packages)} overwrite each other; uninstall all, then install one"
    wanted = 0 if torch is None else int((torch.version.cuda or "0").split(".")[0])
    if wanted and majors and majors[0] != wanted:
        remedy = f"pip install 'cumel[{PACKAGES[wanted]}]'" if wanted in PACKAGES else f"install cupy-cuda{wanted}x"
        return "cupy", "bad", f"is for CUDA {majors[0]}, torch for CUDA {wanted}: {remedy}"
    return "cupy", "ok", f"for CUDA {majors[0]}" if majors else "built here, for a CUDA of this machine"
