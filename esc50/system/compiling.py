"""Whether torch.compile works on this machine, found out before there is anything to lose."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor

from .faults import device_fault

# For torch.compile on a GPU, Triton builds an extension module of this Python; this source needs the same things.
SOURCE = "#include <Python.h>\nint works(void) { return PY_MAJOR_VERSION; }\n"
SECONDS = 60.0  # time limit of the C compiler


def why_eager(device: torch.device) -> str | None:
    """Say why networks on `device` have to run as they are; None where torch.compile works there.

    On a CPU compiled networks were measured slower. For a GPU a C compiler, Python's headers and a few seconds are
    needed: something tiny is compiled, and run.
    """
    if device.type != "cuda":
        return "on a CPU it is the faster way"
    return no_extension() or _no_network(device)


def no_extension() -> str | None:
    """Say why no extension module can be built; None where it can."""
    command = shlex.split(os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang") or "")
    if not command:
        return "there is no C compiler (apt-get install gcc, or set CC)"
    include = sysconfig.get_paths(scheme="posix_prefix")["include"]
    if not (Path(include) / "Python.h").is_file():
        return f"Python.h is not in {include} (apt-get install python3-dev)"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "works.c"
        source.write_text(SOURCE)
        call = [*command, str(source), "-shared", "-fPIC", f"-I{include}", "-o", f"{folder}/works.so"]
        try:
            done = subprocess.run(call, capture_output=True, text=True, timeout=SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"the C compiler {command[0]} does not work ({error})"
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if "error" in line), f"exit code {done.returncode}")
        return f"the C compiler {command[0]} does not work ({said.strip()})"
    return None


def _no_network(device: torch.device) -> str | None:
    def double(x: Tensor) -> Tensor:
        return x + x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.compile(double, dynamic=False)(torch.ones(8, device=device))
        except Exception as error:
            fault = device_fault(error, device)
            if fault is None and not isinstance(error, OSError | subprocess.SubprocessError):
                raise
            said = str(error) if fault is None else str(fault).rpartition("; ")[0]
            return f"torch.compile fails ({' '.join(said.split())})"
    return None
