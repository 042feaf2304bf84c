"""Runs a model file in one runtime; `known.answers` starts it in an environment that has that runtime and NumPy alone.

``python answer.py RUNTIME MODEL CASES ANSWERS``: the folder CASES has a file for each input of each case, such as
``3/waveform.npy``. The folder ANSWERS receives ``3.npy``, or ``3.txt`` with the runtime's words where it fails;
``load.txt`` where it does not even load the file. answer.mjs does the same for Node.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Feeds = dict[str, np.ndarray]  # arrays by the names of the model's inputs
Run = Callable[[Feeds], Any]


def onnxruntime(model: str) -> Run:
    """Load a file in ONNX Runtime."""
    import onnxruntime as runtime

    session = runtime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda feeds: session.run(None, feeds)[0]


def reference(model: str) -> Run:
    """Load a file in onnx's own evaluator."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(model)
    return lambda feeds: evaluator.run(None, feeds)[0]


def openvino(model: str) -> Run:
    """Load a file in OpenVINO, to be computed in float32."""
    return _openvino(model, {"INFERENCE_PRECISION_HINT": "f32"})


def openvino_default(model: str) -> Run:
    """Load a file in OpenVINO as it comes: on many processors it computes in bfloat16."""
    return _openvino(model, {})


def _openvino(model: str, options: dict[str, str]) -> Run:
    import openvino as runtime

    compiled = runtime.Core().compile_model(model, "CPU", options)
    return lambda feeds: compiled(feeds)[0]


def opencv(model: str) -> Run:
    """Load a file in OpenCV."""
    import cv2

    net = cv2.dnn.readNetFromONNX(model)

    def run(feeds: Feeds) -> Any:
        for name, array in feeds.items():
            net.setInput(array, name)
        return net.forward()

    return run


def iree(model: str) -> Run:
    """Compile a file with IREE for this processor."""
    import iree.runtime as runtime
    from iree.compiler.tools import compile_file
    from iree.compiler.tools.import_onnx import __main__ as importing

    with tempfile.TemporaryDirectory() as folder:
        mlir = str(Path(folder) / "model.mlir")
        importing.main(importing.parse_arguments([model, "-o", mlir]))
        options = ["--iree-llvmcpu-target-cpu=host"]
        compiled = compile_file(mlir, input_type="onnx", target_backends=["llvm-cpu"], extra_args=options)
    config = runtime.Config("local-task")
    module = runtime.load_vm_module(runtime.VmModule.copy_buffer(config.vm_instance, compiled), config)
    (function,) = (module[name] for name in module.vm_module.function_names if not name.endswith(("$async", "__init")))
    return lambda feeds: function(*feeds.values()).to_host()


def tract(model: str) -> Run:
    """Load a file in tract, with the axes that the file itself names."""
    import tract as runtime

    built = runtime.onnx().load(model).into_model().into_runnable()
    return lambda feeds: built.run(list(feeds.values()))[0].to_numpy()


def onnx2torch(model: str) -> Run:
    """Turn a file into a torch module."""
    import torch
    from onnx2torch import convert

    net = convert(model).eval()

    def run(feeds: Feeds) -> Any:
        with torch.inference_mode():
            return net(*map(torch.from_numpy, feeds.values())).numpy()

    return run


def mnn(model: str) -> Run:
    """Convert a file to MNN's format and load that."""
    import MNN

    converted = str(Path(tempfile.mkdtemp()) / "model.mnn")
    program = str(Path(sys.executable).with_name("mnnconvert"))
    command = [program, "-f", "ONNX", "--modelFile", model, "--MNNModel", converted, "--bizCode", "cumel"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not Path(converted).exists():
        raise RuntimeError(done.stdout + done.stderr)
    module: Any = None  # built when the names of its inputs are known

    def run(feeds: Feeds) -> Any:
        nonlocal module
        if module is None:
            module = MNN.nn.load_module_from_file(converted, list(feeds), ["probabilities"])
        given = [_mnn_array(MNN, y) for y in feeds.values()]
        (out,) = module.onForward(given)
        return np.array(out.read())

    return run


def _mnn_array(mnn: Any, y: np.ndarray) -> Any:
    if y.dtype == np.int64:  # It has no wider integers than these.
        y = y.astype(np.int32)
    return mnn.expr.const(y, y.shape, mnn.expr.NCHW, mnn.expr.float if y.dtype == np.float32 else mnn.expr.int)


def tvm(model: str) -> Run:
    """Compile a file with TVM for this processor."""
    import onnx
    import tvm as runtime
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    module = relax.transform.DecomposeOpsForInference()(from_onnx(onnx.load(model)))
    machine = relax.VirtualMachine(runtime.compile(module, "llvm"), runtime.cpu())
    return lambda feeds: machine["main"](*map(runtime.runtime.tensor, feeds.values())).numpy()


def main(name: str, model: str, cases: str, folder: str) -> None:
    """Answer each case, as far as the runtime does."""
    answers = Path(folder)
    try:
        run = globals()[name](model)
    except Exception as error:  # whatever a runtime raises is what we want to know
        (answers / "load.txt").write_text(_words(error))
        return
    for case in sorted(Path(cases).iterdir(), key=lambda path: int(path.name)):
        feeds = {path.stem: np.load(path) for path in sorted(case.iterdir(), reverse=True)}  # waveform, lengths
        try:
            np.save(answers / f"{case.name}.npy", np.asarray(run(feeds), np.float32))
        except Exception as error:
            (answers / f"{case.name}.txt").write_text(_words(error))


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main(*sys.argv[1:])
