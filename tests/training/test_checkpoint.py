"""Checkpoints with values of wrong types, missing and unknown ones: one line that names the file."""

import copy
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from cumel.esc50.cli import main
from cumel.esc50.datasets import Dataset
from cumel.esc50.training.checkpoint import Checkpoint
from cumel.esc50.training.loop import train
from cumel.kernels import CumelError

from support.recordings import tiny_recipe, write_dataset

CPU = torch.device("cpu")
CHANGES = 60  # drawn ones
WRONG: list[Any] = [None, True, -1, 10**30, 1.5, float("nan"), float("inf"), "text", "", b"bytes", [], [1], {}]
WRONG += [{"a": 1}, {1: 2}, torch.zeros(2), [[]], (1, 2), "x" * 300, 10**400]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, and a run that has an epoch to go."""
    folder = tmp_path_factory.mktemp("made")
    data = Dataset.read(write_dataset(folder / "data", per_fold=1))
    train(data, folder / "run", tiny_recipe(epochs=2), 1, CPU)
    return folder


@pytest.fixture(scope="module")
def values(made: Path) -> dict[str, Any]:
    return torch.load(made / "run" / "checkpoint.pt", weights_only=True)


def places(value: Any, at: tuple = ()) -> Iterator[tuple]:
    """Yield where each value is, from outside in."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield (*at, key)
        yield from places(one, (*at, key))


def put(values: dict[str, Any], at: tuple, new: Any) -> dict[str, Any]:
    """Return a copy with another value somewhere."""
    changed = copy.deepcopy(values)
    outer: Any = changed
    for key in at[:-1]:
        outer = outer[key]
    outer[at[-1]] = new
    return changed


def goes_on(made: Path, run: Path) -> None:
    train(Dataset.read(made / "data"), run, tiny_recipe(epochs=2), 1, CPU, resume=True)


def test_drawn_values_are_refused_in_one_line_or_do_no_harm(made: Path, values: dict[str, Any], tmp_path: Path) -> None:
    chance, refused = random.Random(0), 0
    shallow = [at for at in places(values) if len(at) < 3]
    deep = [at for at in places(values) if len(at) >= 3]
    for _ in range(CHANGES):
        changed = put(values, chance.choice(chance.choice((shallow, deep))), chance.choice(WRONG))
        torch.save(changed, tmp_path / "checkpoint.pt")
        try:
            Checkpoint.load(tmp_path).network()
            goes_on(made, tmp_path)
        except CumelError as error:
            refused += str(tmp_path) in str(error) and "\n" not in str(error)
        else:
            refused += 1
    assert refused == CHANGES


HARM: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no dict": (lambda _: [1, 2], "holds no named values"),
    "missing": (lambda v: {k: v[k] for k in v if k != "epoch"}, "'epoch': missing"),
    "unknown": (lambda v: v | {"more": 1}, "'more': missing, or unknown"),
    "key is a number": (lambda v: v | {5: 1}, "5: missing, or unknown"),
    "labels": (lambda v: v | {"labels": ["a", 1, "b"]}, "labels: must be texts"),
    "fold": (lambda v: v | {"fold": "1"}, "fold: must be a whole number"),
    "epoch": (lambda v: v | {"epoch": 10**30}, "epoch: must be a whole number"),
    "history": (lambda v: v | {"history": [{"epoch": 1}]}, "history: a row must have epoch, loss"),
    "accuracy": (lambda v: put(v, ("history", 0, "accuracy"), "high"), "accuracy must be a finite number"),
    "recipe": (lambda v: v | {"recipe": "quick"}, "recipe: expected named fields"),
    "recipe's key": (lambda v: put(v, ("recipe", 3), 3), "recipe: expected named fields"),
    "views": (lambda v: put(v, ("recipe", "views"), 10**9), "views=1000000000: must be a whole number"),
    "rate": (lambda v: put(v, ("recipe", "lr"), float("nan")), "lr=nan: must be above 0"),
    "features": (lambda v: put(v, ("recipe", "features", "n_mels"), "16"), "n_mels='16'"),
    "larger than memory": (lambda v: put(v, ("recipe", "features", "n_mels"), 2**16), "do not fit its recipe"),
    "weights": (lambda v: v | {"model": [1.0]}, "model: must be named weights"),
    "NaN": (lambda v: v | {"ema": {k: w * float("nan") for k, w in v["ema"].items()}}, "must be finite numbers"),
    "shape": (lambda v: v | {"ema": {k: w[:1] if w.ndim else w for k, w in v["ema"].items()}}, "do not fit its recipe"),
}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("command", ["evaluate", "export"])
def test_what_is_wrong_is_named(
    made: Path, values: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: str, command: str
) -> None:
    change, message = HARM[harm]
    torch.save(change(copy.deepcopy(values)), tmp_path / "checkpoint.pt")
    target = ["--data", str(made / "data")] if command == "evaluate" else ["--out", str(tmp_path / "model.onnx")]
    assert main([command, str(tmp_path), *target]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert re.search(rf"^cumel: {tmp_path}.checkpoint.pt: .*({message}).*train again$", said)


STATE: dict[str, tuple[tuple, Any]] = {
    "a moment's shape": (("optimizer", "state", 0, "exp_avg"), torch.zeros(2)),
    "a moment is a text": (("optimizer", "state", 0, "exp_avg"), "text"),
    "a moment is no number": (("optimizer", "state", 0, "step"), torch.tensor(float("nan"))),
    "a rate is a text": (("optimizer", "param_groups", 0, "lr"), "high"),
    "groups": (("optimizer", "param_groups"), 5),
    "the schedule": (("scheduler", "total_steps"), 10**9),
    "its step": (("scheduler", "last_epoch"), -7),
    "its rates": (("scheduler", "_last_lr"), [float("nan")]),
    "no scheduler": (("scheduler",), None),
    "no average": (("ema",), None),
    "no history": (("history",), []),
}


@pytest.mark.parametrize("state", STATE)
def test_a_run_does_not_go_on_from_another_state(
    made: Path, values: dict[str, Any], tmp_path: Path, state: str
) -> None:
    torch.save(put(values, *STATE[state]), tmp_path / "checkpoint.pt")
    with pytest.raises(CumelError, match=rf"^{tmp_path}.checkpoint.pt: .*train again$"):
        goes_on(made, tmp_path)
