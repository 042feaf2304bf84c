import contextlib
import errno
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from cumel.esc50.audio import fit_length, load
from cumel.esc50.checkpoint import Checkpoint
from cumel.esc50.dataset import FEATURES
from cumel.esc50.recipes import Recipe
from cumel.export import to_onnx
from cumel.export.check import CUDA_OPS
from cumel.export.metadata import Metadata
from cumel.export.predict import load_model, predict
from cumel.export.session import CPU, CUDA, Session
from cumel.export.to_onnx import export
from cumel.kernels import CumelError

from recordings import tiny_checkpoint, tiny_recipe, tone, write

LABELS = ("dog", "crow", "naïve 猫")
# Of a probability, torch against ONNX Runtime on the CPU. Worst 1.5e-6: document.
PARITY = 1e-5


@dataclass(frozen=True)
class Exported:
    run: Path
    model: Path
    recipe: Recipe
    net: torch.nn.Module  # ends in probabilities
    report: dict[str, Any]
    stdout: str


def lively_run(folder: Path, recipe: Recipe, seed: int = 3) -> Path:
    """Save an untrained network whose batch statistics are no identities, and whose answers depend on its input."""
    torch.manual_seed(seed)
    tiny_checkpoint(folder, recipe, LABELS)
    checkpoint = Checkpoint.load(folder)
    for name, value in checkpoint.model.items():
        if name.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif name.endswith("running_var"):
            value.uniform_(0.1, 0.5)
        elif name in ("mean", "std"):
            value.fill_({"mean": -40.0, "std": 20.0}[name])
    bias, weight = list(checkpoint.model)[-1], list(checkpoint.model)[-2]
    checkpoint.model[weight].mul_(20 if recipe.kind == "logmel" else 1)
    with torch.no_grad():  # centre the answers, so that every class comes up
        checkpoint.model[bias] -= checkpoint.network()(torch.from_numpy(inputs(recipe, 16))).mean(dim=0)
    checkpoint.save(folder)
    return folder


def inputs(recipe: Recipe, n: int) -> np.ndarray:
    """Features of a short tone in noise, each clip with a pitch, a time and a level of its own."""
    rng = np.random.default_rng(3)
    clips = []
    for _ in range(n):
        y = rng.normal(0, 10.0 ** rng.uniform(-4, -1), recipe.n_samples).astype(np.float32)
        at, sound = rng.integers(4000), tone(rng.uniform(0.05, 0.5), 8000, rng.uniform(100, 3800))
        y[at : at + len(sound)] += sound
        clips.append(FEATURES[recipe.kind](y, recipe.features)[None])
    return np.stack(clips).astype(np.float32)


def probabilities(net: torch.nn.Module, batch: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return net(torch.from_numpy(batch)).numpy()


@pytest.fixture(scope="module", params=["quick", "document"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    recipe = tiny_recipe(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    run = lively_run(folder / "run", recipe)
    stdout = io.StringIO()
    with contextlib.redirect_stdout(stdout):
        report = export(run, folder / "new" / "folder" / "model.onnx")
    net = torch.nn.Sequential(Checkpoint.load(run).network(), torch.nn.Softmax(dim=1)).eval()
    return Exported(run, Path(report["model"]), recipe, net, report, stdout.getvalue())


@pytest.fixture
def copied(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> Exported:
    """Let `export` write a copy of the exported file, which takes no time, in place of an export of the run."""
    monkeypatch.setattr(to_onnx, "_write", lambda *given: shutil.copy(exported.model, given[-1]))
    return exported


@pytest.mark.parametrize("n", [1, 3, 16])
def test_answers_are_torchs(exported: Exported, n: int) -> None:
    batch = inputs(exported.recipe, 16)
    expected = probabilities(exported.net, batch)
    assert set(expected.argmax(axis=1)) == {0, 1, 2}  # else any file would pass
    session = onnxruntime.InferenceSession(exported.model, providers=["CPUExecutionProvider"])
    (got,) = session.run(["probabilities"], {"image": batch[:n]})
    np.testing.assert_allclose(got, expected[:n], rtol=0, atol=PARITY)
    np.testing.assert_allclose(got.sum(axis=1), 1, rtol=0, atol=1e-6)


def test_the_graph_is_portable_and_says_nothing_of_this_machine(exported: Exported) -> None:
    model = onnx.load(exported.model)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]
    for (value,), shape in (
        (model.graph.input, exported.recipe.input_shape),
        (model.graph.output, (len(LABELS),)),
    ):
        axes = [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        assert axes == ["batch", *shape]
        assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert {node.op_type for node in model.graph.node} <= CUDA_OPS
    raw = exported.model.read_bytes()
    assert b".py" not in raw
    assert b"site-packages" not in raw


def test_metadata_and_labels_round_trip(exported: Exported) -> None:
    props = {prop.key: prop.value for prop in onnx.load(exported.model).metadata_props}
    metadata = Metadata.from_props(props)
    assert metadata.labels == LABELS
    assert metadata.recipe == exported.recipe
    assert (metadata.input, metadata.precision, metadata.fold, metadata.epoch, metadata.accuracy) == (
        "image",
        "fp32",
        1,
        1,
        0.5,
    )
    assert metadata.to_props() == props
    assert set(metadata.versions) == {"cumel", "torch", "onnx"}
    assert metadata.versions["torch"] == torch.__version__.partition("+")[0]
    labels = exported.model.with_name("labels.json")
    assert json.loads(labels.read_text(encoding="utf-8")) == {
        "labels": list(LABELS),
        "input": "image",
        "kind": metadata.recipe.kind,
        "seconds": metadata.recipe.seconds,
        "features": metadata.recipe.features.to_dict(),
        "recipe": metadata.recipe.to_dict(),
    }
    assert sorted(exported.model.parent.iterdir()) == [labels, exported.model]


def test_the_report_says_what_was_measured(exported: Exported) -> None:
    report = json.loads(json.dumps(exported.report))
    assert report["opset"] == 18
    assert report["batches"] == [1, 2, 7, 16]
    assert 0 <= report["max_difference"] <= PARITY < report["tolerance"]
    assert report["bytes"] == exported.model.stat().st_size
    assert report["input"] == "image [batch, 1, 16, 63] float32"
    assert report["output"] == "probabilities [batch, 3] float32"
    assert exported.stdout == ""


def test_a_prediction_is_torchs_for_the_same_file(exported: Exported, tmp_path: Path) -> None:
    files = [write(tmp_path / f"{hz}.wav", tone(0.7, 44100, hz), 44100) for hz in (200, 900, 3000)]
    report = predict(load_model(exported.model), files, top=3)
    recipe = exported.recipe
    for path, result in zip(files, report["results"], strict=True):
        y = fit_length(load(path, recipe.features.sr)[0], recipe.n_samples)
        features = FEATURES[recipe.kind](y, recipe.features)[None, None].astype(np.float32)
        expected = dict(zip(LABELS, probabilities(exported.net, features)[0], strict=True))
        assert [row["label"] for row in result["top"]] == sorted(expected, key=lambda name: -expected[name])
        for row in result["top"]:
            assert row["probability"] == pytest.approx(expected[row["label"]], abs=PARITY)


def test_an_existing_model_is_replaced_whole(copied: Exported, tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    out.write_bytes(b"old")
    export(copied.run, out)
    assert out.read_bytes() == copied.model.read_bytes()


def test_another_networks_file_is_refused_and_leaves_nothing(copied: Exported, tmp_path: Path) -> None:
    other = lively_run(tmp_path / "run", copied.recipe, seed=1)
    out = tmp_path / "out" / "model.onnx"
    with pytest.raises(CumelError, match=r"model\.onnx: not written, .* a probability is \S+ from torch's"):
        export(other, out)
    assert list(out.parent.iterdir()) == []
    out.write_bytes(b"old")
    with pytest.raises(CumelError, match="not written"):
        export(other, out)
    assert [path.name for path in out.parent.iterdir()] == ["model.onnx"]
    assert out.read_bytes() == b"old"


def test_a_full_disk_is_one_clear_error(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any) -> None:
        Path(given[-1]).write_bytes(b"half a model")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(to_onnx, "_write", full)
    with pytest.raises(CumelError, match=r"model\.onnx: cannot be written \(No space left on device\)"):
        export(exported.run, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ({"input": "waveform"}, "input=waveform: this version exports image only"),
        ({"precision": "fp16"}, "precision=fp16: this version exports fp32 only"),
        ({"out": "model.pt"}, r"model\.pt: give the name of a file that ends in \.onnx"),
        ({"out": "folder.onnx"}, r"folder\.onnx: give the name of a file"),
        ({"out": "file/model.onnx"}, r"model\.onnx: cannot be written"),
        ({"run": "nowhere"}, "nowhere.*: no checkpoint there"),
    ],
)
def test_a_wrong_call_is_refused(copied: Exported, tmp_path: Path, option: dict[str, str], complaint: str) -> None:
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").write_text("")
    given = {"run": copied.run, "out": "model.onnx"} | option
    with pytest.raises(CumelError, match=complaint):
        export(tmp_path / given.pop("run"), tmp_path / given.pop("out"), **given)


def test_weights_that_need_two_files_are_refused(
    copied: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(to_onnx, "MAX_BYTES", 1 << 20)
    with pytest.raises(CumelError, match="MiB of weights, one file holds 1; use a smaller model"):
        export(copied.run, tmp_path / "model.onnx")


@pytest.mark.gpu
def test_cuda_takes_every_node_and_agrees(exported: Exported) -> None:
    session, batch = Session(exported.model, "cuda"), inputs(exported.recipe, 16)
    assert session.providers == [CUDA, CPU]
    assert set(session.nodes) == {CUDA}
    np.testing.assert_allclose(session.run(batch), probabilities(exported.net, batch), rtol=0, atol=1e-4)
