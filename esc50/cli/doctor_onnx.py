"""ONNX Runtime's part of `cumel doctor`: which of its providers truly start, each tried in a process of its own.

A provider that does not start is replaced by the CPU, and ONNX Runtime says why in its log alone.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

from ..system import MISSING, driver_fault

Check = tuple[str, str, str]  # name, state (ok, missing or bad), text
NAMES = ("onnxruntime", "onnxruntime-gpu")  # packages with one import folder
CPU = "CPUExecutionProvider"
NVIDIA = ("CUDAExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider")
SECONDS = 120  # TensorRT takes the longest to start
# A model that returns max(x, 0) of four numbers: operators of version 13, IR version 8, which every provider has.
MODEL = bytes.fromhex(
    "08083a330a0c0a0178120179220452656c751201675a0f0a017812"
    "0a0a08080112040a020804620f0a0179120a0a08080112040a02080442040a00100d"
)


def examine_onnx(versions: dict[str, str]) -> tuple[list[Check], list[dict[str, Any]]]:
    """Look at ONNX Runtime's packages, and start each of its providers.

    Parameters
    ----------
    versions : dict of str to str
        Of the installed packages.

    Returns
    -------
    list of tuple
        The checks.
    list of dict
        For each provider ``name``, ``starts``, ``runs_on`` and ``reason``.
    """
    packages = [name for name in NAMES if name in versions]
    if len(packages) > 1:
        text = f"{' and '.join(packages)} overwrite each other; uninstall both, then install one"
        return [("onnx runtime", "bad", text)], []
    if not packages:
        return [("onnx runtime", "missing", "no model can be run: pip install 'cumel[predict]'")], []
    told = ask()
    if "error" in told:
        return [("onnx runtime", "bad", f"{packages[0]} {versions[packages[0]]}: {told['error']}")], []
    found = [tried(name, told["cuda"]) for name in told["providers"]]
    text = f"{packages[0]} {versions[packages[0]]}, with {len(found)} provider{'' if len(found) == 1 else 's'}"
    return [("onnx runtime", "ok", text), *map(check_provider, found)], found


def check_provider(found: dict[str, Any]) -> Check:
    """Judge a provider; only that of the CPU has to start, and that for CUDA where there is a driver."""
    name, reason = found["name"], found["reason"]
    if found["starts"]:
        return name, "ok", "starts, and runs a model"
    needed = name == CPU or (name == NVIDIA[0] and driver_fault("", "") is None)
    instead = f"falls back to {found['runs_on']}" if found["runs_on"] else "does not start"
    remedy = "; pip install 'cumel[gpu]'" if name == NVIDIA[0] and needed else ""
    return name, "bad" if needed else "missing", f"{instead}: {reason}{remedy}"


def tried(name: str, cuda: str) -> dict[str, Any]:
    """Start a provider: its ``name``, whether it ``starts``, what a session ``runs_on``, and the ``reason``."""
    told = ask(name)
    runs_on = told.get("runs_on")
    starts = runs_on == name
    said = lacking(name, cuda) or told.get("log") or told.get("error") or "ONNX Runtime does not say why"
    reason = None if starts else said
    return {"name": name, "starts": starts, "runs_on": runs_on, "reason": reason}


def lacking(name: str, cuda: str) -> str | None:
    """Say what is wrong with the driver that a provider needs; None where nothing is."""
    if name not in NVIDIA:
        return None
    fault = driver_fault(cuda, "onnxruntime")
    return "there is no NVIDIA driver" if fault == MISSING else fault


def ask(*arguments: str) -> dict[str, Any]:
    """Run this module in another process, which may log, hang or die; returns what it says, or an ``error``."""
    command = [sys.executable, "-m", __name__, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"no answer in {SECONDS} s"}
    lines = done.stdout.splitlines()  # TensorRT prints on stdout too
    if done.returncode or not lines:
        said = next((line.strip() for line in reversed(done.stderr.splitlines()) if line.strip()), "nothing was said")
        return {"error": f"its process ended with code {done.returncode}: {said}"}
    return json.loads(lines[-1]) | {"log": why(done.stderr)}


def why(log: str) -> str:
    """Return the last error of ONNX Runtime's log, without the time and the place in its source; "" without one."""
    errors = re.findall(r"\[E:onnxruntime:[^\]]*\] (.*?)(?:\x1b\[m)?$", log, re.MULTILINE)
    return errors[-1].rpartition(" with error: ")[2].rpartition(" : FAIL : ")[2] if errors else ""


def main(name: str | None) -> dict[str, Any]:
    """Say which providers there are; or start one and run the model on it."""
    from ...export.runtime import onnxruntime

    try:
        runtime = onnxruntime()
    except Exception as error:  # a broken library raises anything
        return {"error": f"cannot be imported ({' '.join(str(error).split())})"}
    if name is None:
        return {"providers": runtime.get_available_providers(), "cuda": getattr(runtime, "cuda_version", "")}
    import numpy as np

    if name in NVIDIA and hasattr(runtime, "preload_dlls"):
        runtime.preload_dlls(msvc=False)  # CUDA's libraries, out of NVIDIA's packages
    try:
        session = runtime.InferenceSession(MODEL, providers=[name], enable_fallback=0)
        (y,) = session.run(None, {"x": np.array([-1, 0, 1, 2], np.float32)})
    except Exception as error:  # ONNX Runtime's exceptions have no base class
        return {"runs_on": None, "error": " ".join(str(error).split())}
    if y.tolist() != [0, 0, 1, 2]:
        return {"runs_on": None, "error": f"the model's result is {y.tolist()}, and should be [0, 0, 1, 2]"}
    return {"runs_on": session.get_providers()[0]}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:2] or [None])))
