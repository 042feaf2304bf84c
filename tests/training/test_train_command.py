"""The commands that train list the models, check their options before they begin, and write their pages."""

import json
from pathlib import Path

import pytest
import torch

from cumel.esc50.cli import main
from cumel.esc50.training import recipes
from cumel.esc50.training.checkpoint import Checkpoint
from cumel.esc50.training.models import MODELS, ESC50Model, count_macs, count_parameters
from cumel.esc50.training.recipes import ANY_LENGTH, RECIPES

from support.recordings import tiny_recipe, write_dataset


def ask(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in RECIPES:
        monkeypatch.setitem(recipes.RECIPES, name, tiny_recipe(name, epochs=1))


def test_the_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ask(capsys, "train", "--model", "list", "--json")
    rows = {row["model"]: row for row in json.loads(out)["models"]}
    assert code == 0
    assert list(rows) == list(MODELS) == list(ANY_LENGTH)
    assert rows["esc50"]["parameters"] == count_parameters(ESC50Model())
    assert rows["esc50"]["macs"] == count_macs(ESC50Model(), (1, 128, 431))
    code, out, _ = ask(capsys, "train", "--model", "list")
    assert code == 0
    assert all(name in out for name in MODELS)
    assert "109.74 M" in out


def test_multiply_adds_are_counted() -> None:
    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3, padding=1, bias=False), torch.nn.Flatten(), torch.nn.Linear(60, 7)
    )
    assert count_macs(net, (2, 4, 5)) == 4 * 5 * 3 * 2 * 9 + 60 * 7
    assert net.training


@pytest.mark.parametrize("name", MODELS)
def test_every_model_states_its_size_and_takes_its_input(name: str) -> None:
    recipe = RECIPES[MODELS[name].recipe].replace(model=name, seconds=1.0)
    net = recipe.build(7).eval()
    assert net(torch.zeros(2, *recipe.input_shape)).shape == (2, 7)
    if recipe.crops:
        assert net(torch.zeros(1, 1, recipe.features.n_mels, 300)).shape == (1, 7)
    assert "M parameters" in str(type(net).__doc__)
    assert "multiply-adds" in str(type(net).__doc__)


@pytest.mark.usefixtures("tiny")
@pytest.mark.skipif(torch.cuda.is_available(), reason="for a machine without a GPU")
def test_a_recipe_for_a_gpu_is_not_begun_on_a_cpu_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_dataset(tmp_path / "data")
    best = ("--recipe", "best", "--data", data, "--out", tmp_path / "run", "--fold", 1)
    code, out, err = ask(capsys, "train", *best)
    assert (code, out) == (3, "")
    assert "recipe best is made for a GPU, and torch sees none; --recipe quick is made for a CPU" in err
    assert ask(capsys, "cross-validate", *best[:-2])[0] == 3
    assert ask(capsys, "train", *best, "--device", "cuda")[0] == 3
    assert not (tmp_path / "run").exists()
    assert ask(capsys, "train", *best, "--device", "cpu")[0] == 0


@pytest.mark.usefixtures("tiny")
def test_the_baselines_earlier_name_is_understood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It was `document`, on the command line and in checkpoints, which go on."""
    data, run = write_dataset(tmp_path / "data"), tmp_path / "run"
    command = ("train", "--data", data, "--out", run, "--fold", 1, "--recipe", "document", "--device", "cpu")
    assert ask(capsys, *command, "--epochs", 1)[0] == 0
    values = torch.load(run / "checkpoint.pt")
    assert values["recipe"]["name"] == "baseline"
    values["recipe"]["name"] = "document"
    torch.save(values, run / "checkpoint.pt")
    assert Checkpoint.load(run).recipe.name == "baseline"
    assert ask(capsys, *command, "--epochs", 1, "--resume")[0] == 0


@pytest.mark.usefixtures("tiny")
def test_what_train_needs_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_dataset(tmp_path / "data")
    run = ("train", "--data", data, "--out", tmp_path / "run", "--fold", 1)
    for arguments, message in (
        (("train", "--out", tmp_path), "--data is missing"),
        (("train", "--data", data), "--out is missing"),
        ((*run, "--model", "vgg"), "model='vgg': must be one of esc50, esc50-pool"),
        ((*run, "--precision", "fp8"), "precision='fp8': must be one of fp32, bf16"),
        ((*run, "--parallel", "mpi"), "--parallel mpi: must be one of ddp, ring"),
        (("cross-validate", *run[1:-2], "--seeds", "one"), "--seeds one: must be numbers"),
    ):
        code, out, err = ask(capsys, *arguments)
        assert (code, out) == (2, "")
        assert message in err


@pytest.mark.usefixtures("tiny")
def test_cross_validation_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = write_dataset(tmp_path / "data"), tmp_path / "cv"
    command = ("cross-validate", "--data", data, "--out", out, "--folds", "1,3", "--seeds", "0,4", "--device", "cpu")
    code, shown, _ = ask(capsys, *command)
    assert code == 0
    for word in ("seed 0", "seed 4", "ensemble", "±", f"report: {out / 'report.html'}"):
        assert word in shown
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "2 folds and 2 seeds" in page
    code, shown, _ = ask(capsys, *command, "--resume", "--json")
    report = json.loads(shown)
    assert [row["fold"] for row in report["folds"]] == [1, 3]
    assert f"{report['mean']:.3f}" in page
