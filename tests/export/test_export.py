"""An exported file has torch's answers, its configuration, its labels and its card."""

import contextlib
import errno
import io
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from cumel.esc50.audio import fit_length, load
from cumel.esc50.datasets import Description, Lengths
from cumel.esc50.training.checkpoint import Checkpoint
from cumel.esc50.training.recipes import Recipe
from cumel.export import export_onnx, to_onnx, written
from cumel.export.graph.interface import Interface
from cumel.export.graph.metadata import Metadata
from cumel.export.graph.texts import to_json
from cumel.export.prediction.classifier import load_model, predict
from cumel.export.runtime import read_exported
from cumel.export.runtime.session import CPU, CUDA
from cumel.kernels import CumelError

from support.exported import LABELS, clips, features, lively_run
from support.recordings import TINY, tiny_recipe, tone, write

# Of a probability, torch against ONNX Runtime on the CPU. A pixel of an image may lie one level off.
PARITY = {"logmel": 1e-5, "image": 1e-3}  # worst 1.5e-6
PIXELS = 3e-3  # 1.3e-3: where the graph makes the image, a value on a boundary may become the next of 256 levels


@dataclass(frozen=True)
class Exported:
    run: Path
    model: Path
    recipe: Recipe
    taken: str  # the graph's input
    net: torch.nn.Module  # ends in probabilities
    report: dict[str, Any]
    stdout: str

    def batch(self, n: int) -> np.ndarray:
        """Return what the graph takes."""
        y = clips(self.recipe, n)
        return y if self.taken == "waveform" else features(y, self.recipe)

    def expected(self, n: int) -> np.ndarray:
        """Return torch's answers."""
        return probabilities(self.net, features(clips(self.recipe, n), self.recipe))


def read(path: Path) -> Metadata:
    return Metadata.from_props({prop.key: prop.value for prop in onnx.load(path).metadata_props})


def probabilities(net: torch.nn.Module, batch: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return net(torch.from_numpy(batch)).numpy()


@pytest.fixture(
    scope="module", params=[(name, taken) for name in ("quick", "baseline") for taken in ("waveform", "image")], ids=str
)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    name, taken = request.param
    recipe = tiny_recipe(name)
    folder = tmp_path_factory.mktemp(name)
    run = lively_run(folder / "run", recipe)
    stdout = io.StringIO()
    with contextlib.redirect_stdout(stdout):
        report = export_onnx(run, folder / "new" / "folder" / "model.onnx", interface=Interface(input=taken))
    net = torch.nn.Sequential(Checkpoint.load(run).network(), torch.nn.Softmax(dim=1)).eval()
    return Exported(run, Path(report["model"]), recipe, taken, net, report, stdout.getvalue())


@pytest.fixture
def copied(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> Exported:
    """Let `export` write a copy of the exported file, which takes no time, in place of an export of the run."""
    monkeypatch.setattr(to_onnx, "graph_of", lambda *_: None)
    monkeypatch.setattr(written, "_assembled", lambda *_: None)
    monkeypatch.setattr(written.ir, "save", lambda _, path: shutil.copy(exported.model, path))
    return exported


def parity(exported: Exported) -> float:
    graph_makes_images = exported.recipe.kind == "image" and exported.taken == "waveform"
    return PIXELS if graph_makes_images else PARITY[exported.recipe.kind]


@pytest.mark.parametrize("n", [1, 3, 16])
def test_answers_are_torchs(exported: Exported, n: int) -> None:
    expected = exported.expected(16)
    assert set(expected.argmax(axis=1)) == {0, 1, 2}  # else any file would pass
    session = onnxruntime.InferenceSession(exported.model, providers=["CPUExecutionProvider"])
    (got,) = session.run(["probabilities"], {exported.taken: exported.batch(16)[:n]})
    np.testing.assert_allclose(got, expected[:n], rtol=0, atol=parity(exported))
    np.testing.assert_allclose(got.sum(axis=1), 1, rtol=0, atol=1e-6)


def test_the_graph_says_nothing_of_this_machine(exported: Exported) -> None:
    raw = exported.model.read_bytes()
    assert b".py" not in raw
    assert b"site-packages" not in raw


def test_metadata_and_labels_round_trip(exported: Exported) -> None:
    props = {prop.key: prop.value for prop in onnx.load(exported.model).metadata_props}
    metadata = Metadata.from_props(props)
    assert metadata.labels == LABELS
    assert metadata.recipe == exported.recipe
    assert (metadata.input, metadata.precision, metadata.fold, metadata.epoch, metadata.accuracy) == (
        exported.taken,
        "fp32",
        1,
        1,
        0.5,
    )
    assert metadata.to_props() == props
    assert set(metadata.versions) == {"cumel", "torch", "onnx", "onnxruntime"}
    assert metadata.versions["torch"] == torch.__version__.partition("+")[0]
    labels = exported.model.with_suffix(".labels.json")
    told = json.loads(labels.read_text(encoding="utf-8"))
    assert told == json.loads(json.dumps(to_json(metadata)))
    assert (told["labels"], told["sample_rate"], told["samples"]) == (list(LABELS), TINY.sr, metadata.n_samples)
    assert (told["features"], told["recipe"]) == (metadata.features.to_dict(), metadata.recipe.to_dict())
    assert metadata.normalisation == ({"mean": -40.0, "std": 20.0} if metadata.recipe.kind == "logmel" else {})
    assert sorted(exported.model.parent.iterdir()) == [labels, exported.model.with_suffix(".md"), exported.model]


def test_the_report_says_what_was_measured(exported: Exported) -> None:
    report = json.loads(json.dumps(exported.report))
    assert report["opset"] == 18
    assert report["batches"] == [1, 2, 7, 64]
    assert 0 <= report["max_difference"] <= parity(exported) <= report["tolerance"]
    assert report["same_top"] == report["least_same_top"] == 1
    assert report["bytes"] == exported.model.stat().st_size
    if exported.taken == "waveform":
        assert report["input"] == "waveform [batch, samples] float32"
        assert report["lengths"] == [0, 1, 2, 3, 128, 2666, 7999, 8001, 480000]
        assert 0 < report["noise_db"] < 1e-4
        assert 0 < report["tonal_db"] < 1e-2
    else:
        assert report["input"] == "image [batch, 1, 16, 63] float32"
        assert "lengths" not in report
    assert report["output"] == "probabilities [batch, 3] float32"
    assert exported.stdout == ""


def test_a_prediction_is_torchs_for_the_same_file(exported: Exported, tmp_path: Path) -> None:
    files = [write(tmp_path / f"{hz}.wav", tone(0.7, 44100, hz), 44100) for hz in (200, 900, 3000)]
    report = predict(load_model(exported.model), files, top=3)
    recipe = exported.recipe
    for path, result in zip(files, report["results"], strict=True):
        y = fit_length(load(path, recipe.features.sr)[0], recipe.n_samples)
        answers = probabilities(exported.net, features(y[None], recipe))[0]
        expected = dict(zip(LABELS, answers, strict=True))
        assert [row["label"] for row in result["top"]] == sorted(expected, key=lambda name: -expected[name])
        for row in result["top"]:
            assert row["probability"] == pytest.approx(expected[row["label"]], abs=PARITY[recipe.kind])


def test_an_existing_model_is_replaced_whole(copied: Exported, tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    out.write_bytes(b"old")
    export_onnx(copied.run, out, interface=Interface(input=copied.taken))
    assert out.read_bytes() == copied.model.read_bytes()


def test_another_networks_file_is_refused_and_leaves_nothing(copied: Exported, tmp_path: Path) -> None:
    other = lively_run(tmp_path / "run", copied.recipe, seed=1)
    out = tmp_path / "out" / "model.onnx"
    with pytest.raises(CumelError, match=r"model\.onnx: not written, .* a probability is \S+ from the network's"):
        export_onnx(other, out, interface=Interface(input=copied.taken))
    assert list(out.parent.iterdir()) == []
    out.write_bytes(b"old")
    with pytest.raises(CumelError, match="not written"):
        export_onnx(other, out, interface=Interface(input=copied.taken))
    assert [path.name for path in out.parent.iterdir()] == ["model.onnx"]
    assert out.read_bytes() == b"old"


def test_a_full_disk_is_one_clear_error(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any) -> None:
        Path(given[-1]).write_bytes(b"half a model")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(written.ir, "save", full)
    with pytest.raises(CumelError, match=r"model\.onnx: cannot be written \(No space left on device\)"):
        export_onnx(exported.run, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ({"interface": "mel"}, "interface: expected an Interface, such as"),
        ({"precision": "fp8"}, "precision=fp8: must be one of fp32, fp16, int8"),
        ({"precision": "int8"}, "precision=int8: needs recordings to measure its ranges on; .* --calibration"),
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
        export_onnx(tmp_path / given.pop("run"), tmp_path / given.pop("out"), **given)


def test_weights_that_need_two_files_are_refused(
    copied: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(to_onnx, "MOST_BYTES", 1 << 20)
    with pytest.raises(CumelError, match="MiB of weights, one file holds 1; use a smaller model"):
        export_onnx(copied.run, tmp_path / "model.onnx", interface=Interface(input=copied.taken))


def test_calibration_without_int8_is_refused(copied: Exported, tmp_path: Path) -> None:
    with pytest.raises(CumelError, match="precision=fp32: takes no calibration, which int8 does"):
        export_onnx(copied.run, tmp_path / "model.onnx", calibration=[tmp_path])


def test_a_model_needs_a_name_or_a_repository(copied: Exported) -> None:
    with pytest.raises(CumelError, match=r"out: name the \.onnx file to write, or a Triton repository"):
        export_onnx(copied.run)


def test_models_lie_side_by_side(copied: Exported, tmp_path: Path) -> None:
    other = lively_run(tmp_path / "run", copied.recipe.replace(name="other"))
    for run, name in ((copied.run, "one"), (other, "two")):
        export_onnx(run, tmp_path / "models" / f"{name}.onnx", interface=Interface(input=copied.taken))
        recipe = json.loads((tmp_path / "models" / f"{name}.labels.json").read_text(encoding="utf-8"))["recipe"]
        assert (recipe["name"] == "other") == (name == "two")
    names = {path.name for path in (tmp_path / "models").iterdir()}
    assert names == {f"{name}{suffix}" for name in ("one", "two") for suffix in (".onnx", ".md", ".labels.json")}


@pytest.mark.parametrize("fold", [None, "test", 0])
def test_the_card_says_what_the_run_learned_from(tmp_path: Path, fold: int | str | None) -> None:
    run = lively_run(tmp_path / "run", tiny_recipe())
    checkpoint = Checkpoint.load(run)
    replace(checkpoint, fold=fold).save(run)
    lengths = Lengths.of(np.array([0.5, 1.0, 4.0]), 1.0, "auto")
    facts = {"name": "yard", "root": "yard", "layout": "class folders", "clips": 3, "classes": 3, "split": "dealt"}
    Description(**facts, license="CC0", lengths=lengths, rates={8000: 3}).save(run)
    export_onnx(run, tmp_path / "model.onnx")
    text = (tmp_path / "model.md").read_text(encoding="utf-8")
    assert "1 of 3 are cut (3.0 s are not heard); 1 of 3 are mirrored (0.5 s)" in text
    assert "- Licence: CC0." in text
    assert "ESC-50" not in text
    assert f"| {'none' if fold is None else fold} | 1 |" in text
    assert read_exported(tmp_path / "model.onnx")[1].fold == fold


@pytest.mark.gpu
def test_cuda_takes_every_node_and_agrees(exported: Exported) -> None:
    session = onnxruntime.InferenceSession(exported.model, providers=[(CUDA, {"use_tf32": "0"}), CPU])
    assert session.get_providers() == [CUDA, CPU]
    (got,) = session.run(["probabilities"], {exported.taken: exported.batch(16)})
    np.testing.assert_allclose(got, exported.expected(16), rtol=0, atol=PIXELS)
