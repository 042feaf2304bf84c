"""An interrupted run says what it keeps, and ends with the bits of one that was never interrupted."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from cumel.esc50.cli import main
from cumel.esc50.datasets import Dataset
from cumel.esc50.system.stopping import StoppedError
from cumel.esc50.training import keeping, loop, recipes
from cumel.esc50.training.checkpoint import NAME, Checkpoint
from cumel.esc50.training.loop import train
from cumel.kernels import CumelError

from support.interrupts import interrupt
from support.recordings import tiny_recipe, write_dataset

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Dataset.read(write_dataset(tmp_path_factory.mktemp("data"), per_fold=4))


@contextmanager
def at_batch(n: int, times: int = 1) -> Iterator[None]:
    """Interrupt in the n-th batch of the run."""
    step, steps = loop.step, 0

    def counted(*given: object) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps == n:
            interrupt(times)
        return step(*given)  # pyright: ignore[reportArgumentType]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "step", counted)
        yield


def same(mine: Checkpoint, other: Checkpoint) -> None:
    """Check that two runs ended with the same bits."""
    for name in ("model", "ema", "best"):
        weights, others = getattr(mine, name) or {}, getattr(other, name) or {}
        assert weights.keys() == others.keys()
        for key in weights:
            assert torch.equal(weights[key], others[key]), key
    for name in ("loss", "accuracy", "validation"):
        assert [row.get(name) for row in mine.history] == [row.get(name) for row in other.history]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("quick", {}),
        ("quick", {"patience": 2, "balance": "sampling", "test_every": 3}),
        *(pytest.param(name, {}, marks=pytest.mark.exhaustive) for name in ("baseline", "best")),
    ],
)
def test_a_resumed_run_ends_with_the_same_bits(
    tmp_path: Path, data: Dataset, name: str, changes: dict[str, object]
) -> None:
    recipe = tiny_recipe(name, epochs=4, **changes)  # 6 batches an epoch
    train(data, tmp_path / "whole", recipe, 1, CPU, seed=7)
    resume = False
    for batches, says in ((3, "0 of 4 epochs, and 3 batches"), (4, "1 of 4 epochs, and 1 batch"), (5, "2 of 4 epochs")):
        with (
            pytest.raises(StoppedError, match=f"cut keeps {says}.*; the same call with --resume goes on"),
            at_batch(batches),
        ):
            train(data, tmp_path / "cut", recipe, 1, CPU, seed=7, resume=resume)
        resume = True
        torch.manual_seed(999)  # whatever happens in between
    train(data, tmp_path / "cut", recipe, 1, CPU, seed=7, resume=True)
    same(Checkpoint.load(tmp_path / "whole"), Checkpoint.load(tmp_path / "cut"))


def test_the_second_one_stops_at_once_and_the_last_checkpoint_is_kept(
    tmp_path: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(epochs=2)
    train(data, tmp_path / "whole", recipe, 1, CPU)
    with pytest.raises(StoppedError, match="cut keeps nothing yet; the same call begins again"), at_batch(2, times=2):
        train(data, tmp_path / "cut", recipe, 1, CPU)
    assert not (tmp_path / "cut" / NAME).exists()
    monkeypatch.setattr(keeping, "SAVE_SECONDS", 0.0)
    with pytest.raises(StoppedError, match="keeps 1 of 2 epochs, and 1 batch of the next"), at_batch(8, times=2):
        train(data, tmp_path / "cut", recipe, 1, CPU)
    train(data, tmp_path / "cut", recipe, 1, CPU, resume=True)
    same(Checkpoint.load(tmp_path / "whole"), Checkpoint.load(tmp_path / "cut"))


def test_a_run_that_diverges_within_an_epoch_keeps_no_such_state(
    tmp_path: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "SAVE_SECONDS", 0.0)
    with pytest.raises(CumelError, match=r"epoch 1: training diverged .*; use a lower --lr than 1e\+30"):
        train(data, tmp_path, tiny_recipe("baseline", lr=1e30), 1, CPU)
    assert Checkpoint.load(tmp_path).epoch == 0  # its numbers are finite


def test_the_command_says_it_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(recipes.RECIPES, "quick", tiny_recipe(epochs=2))
    root, run = write_dataset(tmp_path / "data"), tmp_path / "run"
    command = ["train", "--data", str(root), "--out", str(run), "--fold", "1", "--seconds", "1", "--device", "cpu"]
    with monkeypatch.context() as patch:
        patch.setattr(loop, "prepare", lambda *_: interrupt())
        assert main(command) == 130
    assert f"cumel: interrupted: {run} keeps nothing yet; the same call begins again" in capsys.readouterr().err
    with at_batch(1):
        assert main(command) == 130
    said = capsys.readouterr().err
    assert "stopping after the current batch; once more stops at once" in said
    kept = f"{run} keeps 0 of 2 epochs, and 1 batch of the next"
    assert said.endswith(f"cumel: interrupted: {kept}; the same call with --resume goes on\n")
    assert main([*command, "--resume"]) == 0
