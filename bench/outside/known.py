"""The runtimes, in the versions that are pinned here, and their answers."""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cumel.export.web.runtime import PACKAGE as WEB, VERSION as WEB_VERSION

from outside import places

HERE = Path(__file__).parent
SECONDS = 600  # limit for the answers of one runtime
# The oldest ONNX Runtime that has wheels, for a version of Python.
FIRST = {(3, 11): "1.15.1", (3, 12): "1.17.0", (3, 13): "1.20.0"}
OLDEST, MIDDLE, NEWEST = FIRST.get(sys.version_info[:2], "1.24.1"), "1.18.1", "1.32.0"
OLD_NUMPY = "numpy<2; python_version < '3.13'"  # later ones have no such NumPy, nor need it
NODE = ("onnxruntime-node@1.30.0", f"{WEB}@{WEB_VERSION}")
NODE_FILES = {"onnxruntime-node": "dist/index.js", "onnxruntime-web": "dist/ort.wasm.min.mjs"}


@dataclass(frozen=True)
class Runtime:
    """A runtime, and what installs it."""

    title: str
    function: str  # in answer.py; of an npm package its name
    packages: tuple[str, ...]  # pinned; the first one is the runtime itself

    @property
    def version(self) -> str:
        """The pinned version."""
        return self.packages[0].replace("@", "==").split("==")[1]


RUNTIMES = (
    Runtime("ONNX Runtime, the oldest", "onnxruntime", (f"onnxruntime=={OLDEST}", OLD_NUMPY)),
    Runtime("ONNX Runtime", "onnxruntime", (f"onnxruntime=={MIDDLE}", OLD_NUMPY)),
    Runtime("ONNX Runtime, the newest", "onnxruntime", (f"onnxruntime=={NEWEST}",)),
    Runtime("ONNX Runtime for Node", "onnxruntime-node", NODE[:1]),
    Runtime("ONNX Runtime Web, WebAssembly", "onnxruntime-web", NODE[1:]),
    Runtime("OpenVINO, float32", "openvino", ("openvino==2026.4.1",)),
    Runtime("OpenVINO, its default", "openvino_default", ("openvino==2026.4.1",)),
    Runtime("OpenCV", "opencv", ("opencv-python-headless==5.0.0.93",)),
    Runtime("tract", "tract", ("tract==0.23.9", "numpy")),
    Runtime("IREE, llvm-cpu", "iree", ("iree-base-compiler==3.13.0", "iree-base-runtime==3.13.0", "onnx==1.23.2")),
    Runtime("TVM", "tvm", ("apache-tvm==0.27.0.post1", "onnx==1.23.2")),
    Runtime("MNN", "mnn", ("MNN==3.6.1", "numpy")),
    Runtime("onnx2torch", "onnx2torch", ("onnx2torch==1.5.15", "torch==2.11.0")),
    Runtime("ReferenceEvaluator of onnx", "reference", ("onnx==1.23.2",)),
)


class RefusedError(Exception):
    """A runtime does not run a file; the text has its own words."""


def of(function: str, version: str | None = None) -> Runtime:
    """Return a runtime by its function, and its version where several are known."""
    found = [one for one in RUNTIMES if one.function == function and version in (None, one.version)]
    (runtime,) = found
    return runtime


def command(runtime: Runtime, root: Path) -> list[str]:
    """Return what starts a runtime; its environment is made under `root` if missing."""
    if runtime.function in NODE_FILES:
        module = places.node(root, runtime.packages) / "node_modules" / runtime.function / NODE_FILES[runtime.function]
        return [str(shutil.which("node")), str(HERE / "answer.mjs"), str(module)]
    return [str(places.python(root, runtime.packages)), str(HERE / "answer.py"), runtime.function]


def answers(started: list[str], model: Path, cases: Path) -> list[NDArray[np.float32]]:
    """Return a runtime's answers to cases.

    Parameters
    ----------
    started : list of str
        From `command`.
    model : Path
    cases : Path
        A folder that `cases.write` wrote.

    Raises
    ------
    RefusedError
        For a file that the runtime does not load, or a case that it does not answer.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        call = [*started, str(model.resolve()), str(cases.resolve()), name]
        done = subprocess.run(call, capture_output=True, text=True, cwd=folder, timeout=SECONDS, check=False)
        load = folder / "load.txt"
        if load.exists():
            raise RefusedError(load.read_text())
        found = []
        for case in sorted(cases.iterdir(), key=lambda path: int(path.name)):
            said, answer = folder / f"{case.name}.txt", folder / f"{case.name}.npy"
            if said.exists():
                raise RefusedError(said.read_text())
            if not answer.exists():
                raise RefusedError(f"ended with {done.returncode}: {done.stderr.strip()[-500:]}")
            found.append(np.load(answer))
        return found
