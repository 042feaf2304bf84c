"""Both ways from samples to probabilities, from one exported file."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from cumel.esc50.training.recipes import Recipe
from cumel.export.runtime import routes
from cumel.export.runtime.model import load_model
from cumel.export.runtime.providers import CPU
from cumel.export.runtime.routes import beginning_at, choose_route, read_model
from cumel.export.runtime.session import Session
from cumel.kernels import CumelError, UnavailableError

from support.onnx_models import save, save_waveform
from support.recordings import tiny_recipe

# Of a probability, between the graph's front end and our kernels; 6e-8 for dB, 3e-5 for images, where a value on a
# boundary may fall to either side of it, one of 256.
AGREEMENT = {"logmel": 1e-6, "image": 1e-3}


FORMER = {"format", "labels", "recipe", "features", "kind", "sample_rate", "seconds", "input", "precision", "fold"}
FORMER |= {"epoch", "accuracy", "versions", "normalisation"}  # properties of format 1


@pytest.fixture(scope="module", params=["quick", "baseline"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_waveform(tmp_path_factory.mktemp(request.param) / "model.onnx", tiny_recipe(request.param))


def clips(recipe: Recipe, n: int = 5) -> np.ndarray:
    rng, t = np.random.default_rng(0), np.arange(recipe.n_samples) / recipe.features.sr
    tones = np.sin(2 * np.pi * rng.uniform(100, 3500, (n, 1)) * t) * 10 ** rng.uniform(-3, -0.3, (n, 1))
    return (tones + 1e-3 * rng.standard_normal(tones.shape)).astype(np.float32)


def test_both_routes_agree(exported: Path) -> None:
    graph, kernels = (load_model(exported, provider="cpu", route=route) for route in ("graph", "kernels"))
    assert (graph.session.input.name, kernels.session.input.name) == ("clip", "features")
    y = clips(graph.recipe)
    expected, got = graph.probabilities(y), kernels.probabilities(y)
    assert np.ptp(expected, axis=0).max() > 20 * AGREEMENT[graph.recipe.kind]  # or agreement would prove nothing
    np.testing.assert_allclose(got, expected, atol=AGREEMENT[graph.recipe.kind])
    np.testing.assert_allclose(kernels.probabilities(y[1:2]), expected[1:2], atol=AGREEMENT[graph.recipe.kind])


def test_the_cut_graph_has_no_front_end(exported: Path) -> None:
    whole = read_model(exported)
    shape = load_model(exported, provider="cpu").metadata.input_shape
    cut = onnx.load_from_string(beginning_at(whole, "features", shape, "probabilities"))
    onnx.checker.check_model(cut, full_check=True)
    assert [value.name for value in cut.graph.input] == ["features"]
    assert 0 < len(cut.graph.node) < len(whole.graph.node)
    assert {tensor.name for tensor in cut.graph.initializer} < {tensor.name for tensor in whole.graph.initializer}


def test_fitted_clips_leave_no_sizes_to_compute(exported: Path) -> None:
    fitted = load_model(exported, provider="cpu", route="graph")
    dynamic = Session(exported, "cpu")
    assert "Shape" in {node.op for node in dynamic.nodes}
    assert "Shape" not in {node.op for node in fitted.session.nodes}
    assert len(fitted.session.nodes) < len(dynamic.nodes)
    y = np.random.default_rng(0).normal(0, 0.1, (2, fitted.metadata.n_samples)).astype(np.float32)
    np.testing.assert_array_equal(fitted.answer(y), dynamic.run(y))


@pytest.mark.parametrize("route", ["graph", "kernels"])
def test_a_file_of_the_former_format_is_read(exported: Path, tmp_path: Path, route: str) -> None:
    model, y = onnx.load(exported), clips(tiny_recipe())
    for node in model.graph.node:  # That format has no value of this name.
        for names in (node.input, node.output):
            names[:] = ["samples_of_old" if name == "clip" else name for name in names]
    props = {entry.key: entry.value for entry in model.metadata_props if entry.key in FORMER} | {"format": "cumel 1"}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, props)
    onnx.save(model, tmp_path / "old.onnx")
    old = load_model(tmp_path / "old.onnx", provider="cpu", route=route)
    assert old.metadata == load_model(exported).metadata
    assert (old.session.input.shape[1:] == [8000]) == (route == "graph")
    expected = load_model(exported, provider="cpu", route=route).probabilities(y)
    np.testing.assert_array_equal(old.probabilities(y), expected)


def test_shapes_that_an_optimizer_left_out_are_inferred(exported: Path, tmp_path: Path) -> None:
    model = onnx.load(exported)
    del model.graph.value_info[:]
    onnx.save(model, tmp_path / "slim.onnx")
    assert load_model(tmp_path / "slim.onnx", provider="cpu").metadata == load_model(exported).metadata


def test_every_report_names_the_route(exported: Path) -> None:
    for route in ("graph", "kernels"):
        report = load_model(exported, provider="cpu", route=route).report()
        assert (report["route"], report["route_reason"], report["actual"]) == (route, "as asked for", CPU)
    assert load_model(exported, provider="cpu").report()["route_reason"] == "measured to be faster on the CPU"


def test_a_model_of_images_has_one_route(tmp_path: Path) -> None:
    path = save(tmp_path / "model.onnx", tiny_recipe())
    model = load_model(path, provider="cpu")
    assert (model.route, model.reason) == ("kernels", "the model takes images")
    with pytest.raises(CumelError, match="route=graph: this model takes images") as caught:
        load_model(path, provider="cpu", route="graph")
    assert str(caught.value).startswith(f"{path}: ")


def test_an_unknown_route_is_refused(exported: Path) -> None:
    with pytest.raises(CumelError, match="route=fast: must be one of auto, graph, kernels"):
        load_model(exported, provider="cpu", route="fast")


@pytest.mark.parametrize("missing", [None, "torch sees no CUDA device"])
def test_the_route_on_a_gpu(missing: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "_lacking", lambda: missing)
    if missing is None:
        assert choose_route("auto", "waveform", True)[0] == "kernels"
        assert choose_route("kernels", "waveform", True) == ("kernels", "as asked for")
        return
    assert choose_route("auto", "waveform", True) == ("graph", f"our kernels cannot run on the GPU: {missing}")
    with pytest.raises(UnavailableError, match="our kernels were demanded on the GPU, but torch sees no CUDA device"):
        choose_route("kernels", "waveform", True)
    with pytest.raises(UnavailableError, match="takes images, which our kernels make on the GPU, but torch sees"):
        choose_route("auto", "image", True)


def _other_name(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = "anything" if name == "features" else name


def _shortcut(model: onnx.ModelProto) -> None:
    """Let the network read the waveform past the front end."""
    (out,) = model.graph.output
    last = next(node for node in model.graph.node if out.name in node.output)
    last.output[0] = "before"
    model.graph.node.extend(
        [
            helper.make_node("ReduceMean", ["waveform"], ["level"], keepdims=1),
            helper.make_node("Add", ["before", "level"], [out.name]),
        ]
    )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (_other_name, "its graph has no value named features at which to cut it"),
        (_shortcut, "what follows features also reads waveform"),
    ],
)
def test_a_graph_that_cannot_be_cut_says_so(
    exported: Path, tmp_path: Path, change: Callable[[onnx.ModelProto], None], complaint: str
) -> None:
    model = onnx.load(exported)
    change(model)
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(CumelError, match=complaint):
        load_model(tmp_path / "other.onnx", provider="cpu", route="kernels")


def _props(path: Path, **changes: str) -> None:
    model = onnx.load(path)
    props = {entry.key: entry.value for entry in model.metadata_props} | changes
    helper.set_model_props(model, props)
    onnx.save(model, path)


def _endless(path: Path) -> None:
    recipe = load_model(path, provider="cpu").recipe.to_dict() | {"seconds": 1e12}
    _props(path, recipe=json.dumps(recipe), seconds="1e12")


def _lying_header(path: Path) -> None:
    """A field of the protocol buffer that claims 100 MB, of which there is nothing."""
    path.write_bytes(b"\x3a" + b"\x80\xc2\xd7\x2f" + b"\x0a\x00")


def _negative_rate(path: Path) -> None:
    _props(path, features='{"sr": -16000}')


def _foreign(path: Path) -> None:
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)


def _more_labels(path: Path) -> None:
    _props(path, labels='["a", "b", "c", "d", "e"]')


def _other_input(path: Path) -> None:
    _props(path, input="spectrum")


def _large(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(2**31 + 1)  # sparse


BAD_MODELS = [
    (_lying_header, "not a usable ONNX model"),
    (_foreign, "carries no metadata of ours"),
    (_negative_rate, "sr=-16000: must be a whole number of hertz"),
    (_endless, "must be at most 3600"),
    (_more_labels, "probabilities [batch, 5], features [batch, 1, 16, 63]; the graph has"),
    (_other_input, "input is 'spectrum', not one of"),
    (_large, "2048 MiB, and no ONNX file has more"),
]


@pytest.mark.parametrize(("damage", "complaint"), BAD_MODELS)
def test_a_bad_model_is_one_clear_line(
    exported: Path, tmp_path: Path, damage: Callable[[Path], None], complaint: str
) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(exported.read_bytes())
    damage(path)
    with pytest.raises(CumelError) as caught:
        load_model(path, provider="cpu")
    assert complaint in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.gpu
@pytest.mark.parametrize("provider", ["auto", "cuda"])
def test_both_routes_agree_on_the_gpu(exported: Path, provider: str) -> None:
    expected = None
    for route in ("graph", "kernels"):
        model = load_model(exported, provider=provider, require_gpu=True, route=route)
        assert model.session.on_gpu
        got = model.probabilities(clips(model.recipe))
        expected = (
            load_model(exported, provider="cpu").probabilities(clips(model.recipe)) if expected is None else expected
        )
        np.testing.assert_allclose(got, expected, atol=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("route", ["graph", "kernels"])
def test_a_captured_route_agrees(exported: Path, route: str) -> None:
    import torch

    fixed = {"batch": 5, "stream": torch.cuda.Stream(), "cuda_graph": True}
    model = load_model(exported, provider="cuda", route=route, **fixed)
    y = clips(model.recipe)
    bound = model.session.bound((5, *model.session.input.shape[1:]))
    for _ in range(4):
        bound.input.copy_(model.entrance(torch.from_numpy(y).cuda()))
        got = bound.run().cpu().numpy()
    np.testing.assert_allclose(got, load_model(exported, provider="cpu").probabilities(y), atol=1e-3)
