"""The check of an exported file finds a wrong graph, wrong features and wrong answers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnxscript import ir

from cumel.export.check import model as check_module
from cumel.export.check.answers import of_torch
from cumel.export.check.model import BATCHES, BOUNDS, Bounds, check
from cumel.export.graph.frontend import prepend
from cumel.export.graph.interface import OPSET, Interface
from cumel.export.graph.opset import at_opset
from cumel.kernels import CumelError

from support.exported import clips
from support.onnx_models import Quarters, metadata, save
from support.recordings import tiny_recipe

RECIPE = tiny_recipe()
IMAGE = metadata(RECIPE)
WAVEFORM = replace(IMAGE, interface=Interface())
CLIPS = clips(RECIPE, 16)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(tmp_path / "model.onnx", RECIPE)


@pytest.fixture
def waveform_model(tmp_path: Path) -> Path:
    """The same with the front end in front."""
    made = ir.load(save(tmp_path / "waveform.onnx", RECIPE))
    prepend(made.graph, RECIPE.features, RECIPE.n_samples, RECIPE.kind)
    ir.save(made, tmp_path / "waveform.onnx")
    return tmp_path / "waveform.onnx"


def test_a_faithful_file_passes(model: Path) -> None:
    report = check(model, IMAGE, of_torch(Quarters(RECIPE), "none"), CLIPS)
    assert report["opset"] == OPSET == 18
    assert report["batches"] == list(BATCHES) == [1, 2, 7, 64]
    assert report["nodes"] == 3
    assert 0 <= report["max_difference"] < 1e-6 < report["tolerance"] == BOUNDS["fp32"].difference
    assert (report["clips"], report["same_top"]) == (16, 1)


def test_a_faithful_file_that_takes_waveforms_passes(waveform_model: Path) -> None:
    report = check(waveform_model, WAVEFORM, of_torch(Quarters(RECIPE), "none"), CLIPS)
    assert report["lengths"] == [0, 1, 2, 3, 128, 2666, 7999, 8001, 480000]
    assert 0 <= report["max_difference"] < 1e-5
    assert 0 < report["noise_db"] < report["tonal_db"] < 1e-2


def written(path: Path, interface: Interface) -> Path:
    """A file of this form."""
    made = at_opset(ir.load(save(path, RECIPE)), interface.opset)
    prepend(made.graph, RECIPE.features, RECIPE.n_samples, RECIPE.kind, interface)
    ir.save(made, path)
    return path


FORMS = [
    Interface(samples=8000),
    Interface(samples=5000, fit="zeros", opset=17),
    Interface(samples=9001),
    Interface(lengths=True),
    Interface(lengths=True, fit="zeros", opset=17),
    Interface(fit="zeros"),
]


@pytest.mark.parametrize("interface", FORMS, ids=str)
def test_a_faithful_file_of_each_form_passes(tmp_path: Path, interface: Interface) -> None:
    path = written(tmp_path / "model.onnx", interface)
    report = check(path, replace(IMAGE, interface=interface), of_torch(Quarters(RECIPE), "none"), CLIPS)
    assert report["opset"] == interface.opset
    assert report["lengths"][0] == (interface.samples or 0)
    assert 0 <= report["max_difference"] < 1e-5


@pytest.mark.parametrize(
    ("made", "told", "complaint"),
    [
        (Interface(), Interface(fit="zeros"), "1 samples: a clip is fitted to other samples than in training"),
        (Interface(lengths=True), Interface(), "inputs and outputs are waveform, lengths, probabilities, not waveform"),
        (Interface(samples=5000), Interface(samples=5001), r"waveform has the axes \['batch', 5000\], not \['batch'"),
        (Interface(samples=5000), Interface(samples=5000, fit="zeros"), "is fitted to other samples than in training"),
        (Interface(opset=17), Interface(), "operator sets are {'': 17}, not the standard one at version 18"),
    ],
    ids=str,
)
def test_another_form_is_seen(tmp_path: Path, made: Interface, told: Interface, complaint: str) -> None:
    path = written(tmp_path / "model.onnx", made)
    with pytest.raises(CumelError, match=complaint):
        check(path, replace(IMAGE, interface=told), of_torch(Quarters(RECIPE), "none"), CLIPS)


def test_a_file_that_hears_what_lies_behind_a_clip_is_seen(waveform_model: Path) -> None:
    """It takes lengths, and does not use them."""
    deaf = onnx.load(waveform_model)
    deaf.graph.input.append(helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]))
    onnx.save(deaf, waveform_model)
    with pytest.raises(CumelError, match="front end: 0 samples: a clip is fitted to other samples than in training"):
        check(
            waveform_model, replace(IMAGE, interface=Interface(lengths=True)), of_torch(Quarters(RECIPE), "none"), CLIPS
        )


def _opset(model: ModelProto) -> None:
    model.opset_import[0].version = 22


def _mod_of_floats(model: ModelProto) -> None:
    del model.graph.node[-1]
    model.graph.node.append(helper.make_node("Softmax", ["scores"], ["softmax"]))
    model.graph.node.append(helper.make_node("Mod", ["softmax", "quarters"], ["probabilities"], fmod=1))
    model.graph.node[-1].input[1] = "softmax"


def _int8(model: ModelProto) -> None:
    del model.graph.node[-1]
    cast = helper.make_node("Cast", ["scores"], ["whole"], to=TensorProto.INT8)
    model.graph.node.extend([cast, helper.make_node("Add", ["whole", "whole"], ["twice"])])
    model.graph.node.append(helper.make_node("Cast", ["twice"], ["probabilities"], to=TensorProto.FLOAT))


def _foreign_domain(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def _fixed_batch(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2


def _unlisted_operator(model: ModelProto) -> None:
    model.graph.node[-1].op_type = "Hardmax"


def _missing_node(model: ModelProto) -> None:
    del model.graph.node[1]


def _other_weights(model: ModelProto) -> None:
    weights = numpy_helper.to_array(model.graph.initializer[1])
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(1.05 * weights, "quarters"))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (_opset, "operator sets are {'': 22}"),
        (_foreign_domain, "'com.microsoft': 1"),
        (_fixed_batch, r"image has the axes \[2, 1, 16, 63\], not \['batch', 1, 16, 63\]"),
        (_unlisted_operator, r"Hardmax\(FLOAT\): not listed as having a CUDA kernel"),
        (_mod_of_floats, r"Mod\(FLOAT\): not listed"),
        (_int8, r"Add\(INT8\), Cast\(INT8\): not listed"),
        (_missing_node, "invalid ONNX"),
        (_other_weights, r"batch of 1: a probability is \S+ from the network's, more than 0\.001"),
    ],
)
def test_damage_is_seen(model: Path, damage: Callable[[ModelProto], None], complaint: str) -> None:
    damaged = onnx.load(model)
    damage(damaged)
    onnx.save(damaged, model)
    with pytest.raises(CumelError, match=complaint):
        check(model, IMAGE, of_torch(Quarters(RECIPE), "none"), CLIPS)


def test_nan_is_no_pass(model: Path) -> None:
    net = Quarters(RECIPE)
    torch.nn.init.constant_(net.weights, float("nan"))
    with pytest.raises(CumelError, match="the network's own probabilities are not all numbers"):
        check(model, IMAGE, of_torch(net, "none"), CLIPS)


def test_another_class_on_top_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(check_module.BOUNDS, "fp32", Bounds(1.0, 0.0, 1.0))
    net = Quarters(RECIPE)
    with torch.no_grad():
        net.weights.neg_()
    with pytest.raises(CumelError, match="another class than the network's"):
        check(model, IMAGE, of_torch(net, "none"), CLIPS)


def test_a_fixed_length_is_seen(waveform_model: Path) -> None:
    damaged = onnx.load(waveform_model)
    damaged.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 8000
    onnx.save(damaged, waveform_model)
    with pytest.raises(CumelError, match=r"waveform has the axes \['batch', 8000\], not \['batch', 'samples'\]"):
        check(waveform_model, WAVEFORM, of_torch(Quarters(RECIPE), "none"), CLIPS)


def test_another_length_of_clips_is_seen(waveform_model: Path) -> None:
    """The graph cuts at 1 s, where training cut at 0.995 s: as many frames, but others for long recordings."""
    other = replace(WAVEFORM, seconds=0.995)
    assert other.input_shape == RECIPE.input_shape
    with pytest.raises(CumelError, match=r"front end: \w+: a clip is fitted to other samples than in training"):
        check(waveform_model, other, of_torch(Quarters(RECIPE), "none"), CLIPS)


def test_eight_bits_may_disagree_seldom(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    eight = replace(IMAGE, precision="int8")
    net = Quarters(RECIPE)
    assert check(model, eight, of_torch(net, "none"), CLIPS)["same_top"] == 1
    with torch.no_grad():
        net.weights.neg_()
    monkeypatch.setitem(check_module.BOUNDS, "int8", Bounds(1.0, 0.0, 0.9))
    with pytest.raises(CumelError, match=r"\S+ % of 16 clips have the network's class on top, 90 % is least"):
        check(model, eight, of_torch(net, "none"), CLIPS)
