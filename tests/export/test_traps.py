"""What goes wrong, without an error, in ONNX files of audio models; each is numbered as in the list it comes from.

Traps 2, 5, 6 and 7 are of sessions, and tested with them.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from onnxscript import ir
from onnxscript.ir.passes.common import ShapeInferencePass

from cumel.esc50.training.recipes import Recipe
from cumel.export import export_onnx
from cumel.export.check.model import BOUNDS
from cumel.export.check.operators import CUDA_KERNELS, without_cuda_kernel
from cumel.export.graph.frontend import standalone
from cumel.export.graph.interface import OPSETS, Interface
from cumel.export.graph.metadata import Metadata
from cumel.export.graph.tape import PREFIX
from cumel.export.graph.texts import to_json

from support.exported import LABELS, clips, lively_run, recordings
from support.recordings import TINY, tiny_recipe
from support.signals import CONFIGS

CUDA = "CUDAExecutionProvider"


@dataclass(frozen=True)
class Made:
    path: Path
    recipe: Recipe
    precision: str

    @property
    def graph(self) -> onnx.GraphProto:
        model = onnx.shape_inference.infer_shapes(onnx.load(self.path), strict_mode=True)
        return model.graph

    def run(self, y: np.ndarray) -> np.ndarray:
        session = onnxruntime.InferenceSession(self.path, providers=["CPUExecutionProvider"])
        return session.run(["probabilities"], {"waveform": y})[0]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Made]:
    """Export each recipe and precision once."""
    made: dict[tuple[str, str], Made] = {}

    def one(name: str, precision: str) -> Made:
        if (name, precision) not in made:
            folder, recipe = tmp_path_factory.mktemp(f"{name}_{precision}"), tiny_recipe(name)
            files = recordings(folder / "clips", recipe) if precision == "int8" else ()
            out = folder / "model.onnx"
            with pytest.MonkeyPatch.context() as patch:  # an untrained network is seldom sure of a class
                patch.setitem(BOUNDS, "int8", replace(BOUNDS["int8"], agreement=0.5))
                export_onnx(lively_run(folder / "run", recipe), out, precision=precision, calibration=files)
            made[name, precision] = Made(out, recipe, precision)
        return made[name, precision]

    return one


Make = Callable[[str, str], Made]
LEFT_OUT = [("baseline", "fp16"), ("baseline", "int8")]  # by default, as the network counts little for the front end
EVERY = [
    pytest.param(*made, marks=[pytest.mark.exhaustive] if made in LEFT_OUT else [])
    for made in product(("quick", "baseline"), ("fp32", "fp16", "int8"))
]


@pytest.mark.parametrize(("name", "precision"), EVERY)
def test_trap_1_opset_18(make: Make, name: str, precision: str) -> None:
    """From opset 22 on MaxPool, Dropout and InstanceNormalization have no CUDA kernel: the network moves to the CPU."""
    opsets = onnx.load(make(name, precision).path).opset_import
    assert [(opset.domain, opset.version) for opset in opsets] == [("", 18)]


@pytest.mark.parametrize(("name", "precision"), EVERY)
def test_trap_3_the_front_end_stays_float32(make: Make, name: str, precision: str) -> None:
    """In float16 it gives NaN, or errors of whole decibels."""
    graph = make(name, precision).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input, *graph.output)}
    types |= {constant.name: constant.data_type for constant in graph.initializer}
    own = [node for node in graph.node if node.name.startswith(PREFIX)]
    assert own[-1].output[0] == "features"
    used = {types[name] for node in own for name in (*node.input, *node.output)}
    assert used <= {TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL}
    assert types["waveform"] == types["features"] == types["probabilities"] == TensorProto.FLOAT
    weights = [constant for constant in graph.initializer if not constant.name.startswith(PREFIX)]
    largest = max(weights, key=lambda constant: math.prod(constant.dims)).data_type
    assert largest == {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "int8": TensorProto.INT8}[precision]


@pytest.mark.parametrize("name", ["quick", pytest.param("baseline", marks=pytest.mark.exhaustive)])
def test_trap_4_int8_leaves_the_front_end_alone_and_says_where_it_runs(make: Make, name: str) -> None:
    """Quantised, the front end would lose whatever is 48 dB below the loudest; CUDA has no integer convolutions."""
    made = make(name, "int8")
    quantised = [node for node in made.graph.node if node.op_type.lower().endswith("quantizelinear")]
    assert len(quantised) > 20
    assert not any(node.name.startswith(PREFIX) for node in quantised)
    front = list(standalone(made.recipe.features, made.recipe.n_samples, made.recipe.kind).graph)
    own = [node.op_type for node in made.graph.node if node.name.startswith(PREFIX)]
    assert own == [node.op_type for node in front]
    assert any(attribute.name == "axis" for node in quantised for attribute in node.attribute)  # per channel
    assert "For the CPU and the web" in made.path.with_suffix(".md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "precision"), EVERY)
def test_trap_8_both_axes_are_dynamic_and_named(make: Make, name: str, precision: str) -> None:
    """The exporter takes an example's size for a constant."""
    made = make(name, precision)
    for (value,), axes in ((made.graph.input, ["batch", "samples"]), (made.graph.output, ["batch", len(LABELS)])):
        assert [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim] == axes
    y = clips(made.recipe, 5)
    for batch, n in ((1, 1), (5, 1000), (3, 8000)):
        assert made.run(y[:batch, :n]).shape == (batch, len(LABELS))
    assert made.run(np.tile(y, (1, 4))).shape == (5, len(LABELS))


@pytest.mark.parametrize(("name", "precision"), EVERY)
def test_trap_9_labels_lie_beside_the_model(make: Make, name: str, precision: str) -> None:
    """Browsers cannot read a model's metadata."""
    made = make(name, precision)
    props = {prop.key: prop.value for prop in onnx.load(made.path).metadata_props}
    described = json.loads(made.path.with_suffix(".labels.json").read_text(encoding="utf-8"))
    assert described == json.loads(json.dumps(to_json(Metadata.from_props(props))))
    assert described["labels"] == list(LABELS)
    assert (described["input"], described["seconds"], described["features"]["sr"]) == ("waveform", 1.0, 8000)


@pytest.mark.parametrize("name", sorted(CONFIGS))
@pytest.mark.parametrize("kind", ["logmel", "image"])
def test_trap_10_the_front_end_has_no_max(name: str, kind: str) -> None:
    """Some web runtimes have no Max or Min; If, Loop and Scan keep CUDA graphs and TensorRT away."""
    cfg, n_samples = CONFIGS[name], 3 * CONFIGS[name].sr
    fixed, *fitted = (
        {node.op_type for node in standalone(cfg, n_samples, kind, interface).graph}
        for interface in (Interface(samples=n_samples), Interface(), Interface(lengths=True), Interface(fit="zeros"))
    )
    for operators in (fixed, *fitted):
        assert not operators & {"Max", "Min", "Mod", "If", "Loop", "Scan", "STFT", "DFT", "MelWeightMatrix"}
    assert ("Relu" in fixed) == (cfg.top_db is not None)


def typed(model: ir.Model) -> ir.Graph:
    ShapeInferencePass()(model)
    return model.graph


@pytest.mark.parametrize(("name", "precision"), [case for case in EVERY if case.values[1] != "int8"])
def test_every_node_has_a_cuda_kernel(make: Make, name: str, precision: str) -> None:
    assert without_cuda_kernel(typed(ir.load(make(name, precision).path))) == []


@pytest.mark.parametrize("name", sorted(CONFIGS))
@pytest.mark.parametrize("kind", ["logmel", "image"])
def test_every_node_of_every_front_end_has_a_cuda_kernel(name: str, kind: str) -> None:
    for interface in (Interface(), Interface(lengths=True), Interface(fit="zeros"), Interface(samples=1000, opset=17)):
        assert without_cuda_kernel(typed(standalone(CONFIGS[name], 3 * CONFIGS[name].sr, kind, interface))) == []


def test_many_slices_become_a_gather_that_has_a_cuda_kernel() -> None:
    graph = typed(standalone(TINY.replace(hop_length=3), 8000))
    assert "Gather" in {node.op_type for node in graph}
    assert without_cuda_kernel(graph) == []


@pytest.mark.gpu
@pytest.mark.parametrize("opset", OPSETS)
def test_the_table_of_cuda_kernels_is_the_installed_runtimes(opset: int) -> None:
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_opkernel_def

    installed: dict[str, set[str]] = {}
    for kernel in get_all_opkernel_def():
        first, last = kernel.version_range
        if kernel.provider == CUDA and kernel.domain == "" and first <= opset <= last:
            kinds = {kind for names in kernel.type_constraints.values() for kind in names}
            installed.setdefault(kernel.op_name, set()).update(kinds)
    for operator, kinds in CUDA_KERNELS.items():
        assert {f"tensor({kind.lower()})" for kind in kinds} <= installed[operator], operator
