"""Classes of unequal size, early stop, several labels per clip, and a start from another run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cumel.esc50.cli import main
from cumel.esc50.datasets import Dataset
from cumel.esc50.training import recipes
from cumel.esc50.training.checkpoint import Checkpoint
from cumel.esc50.training.cross_validation import cross_validate
from cumel.esc50.training.data import Batches, TrainingData, class_weights, prepare, set_aside
from cumel.esc50.training.distributed import SOLO
from cumel.esc50.training.evaluation import evaluate
from cumel.esc50.training.keeping import Best
from cumel.esc50.training.loop import SCORES, train
from cumel.esc50.training.models import MODELS
from cumel.esc50.training.recipes import Recipe
from cumel.esc50.training.steps import criterion
from cumel.esc50.training.transfer import freeze, training_mode
from cumel.kernels import CumelError

from support.recordings import tiny_recipe, write_dataset

CPU = torch.device("cpu")
UNEQUAL = np.eye(3, dtype=np.float32)[[0] * 12 + [1] * 3 + [2]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Dataset.read(write_dataset(tmp_path_factory.mktemp("data"), per_fold=4))


@pytest.fixture(scope="module")
def training_data(data: Dataset) -> TrainingData:
    return prepare(data, tiny_recipe(), workers=1)


def test_class_weights_are_those_of_scikit_learn() -> None:
    """``compute_class_weight("balanced")``: n / (classes * clips of the class)."""
    weights = class_weights(np.pad(UNEQUAL, ((0, 0), (0, 1))))
    assert weights.tolist() == pytest.approx([16 / (3 * 12), 16 / (3 * 3), 16 / 3, 0])
    logits, labels = torch.randn(16, 3), torch.from_numpy(UNEQUAL)
    given = criterion(tiny_recipe(balance="weights"), weights[:3])(logits, labels)
    each = F.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(given, (each * (labels @ weights[:3])).mean())
    torch.testing.assert_close(criterion(tiny_recipe(), weights[:3])(logits, labels), each.mean())


def test_balanced_sampling_draws_every_class_as_often() -> None:
    features = np.arange(16, dtype=np.float32).reshape(16, 1, 1, 1)
    batches = Batches(TrainingData(features), UNEQUAL, tiny_recipe(augment="none", balance="sampling"), CPU, SOLO)
    order, counts = torch.Generator().manual_seed(0), torch.zeros(3)
    for _ in range(200):
        drawn = [labels for _, labels, _ in batches.epoch(order, mixing=False)]
        assert sum(map(len, drawn)) == 16
        counts += torch.cat(drawn).sum(dim=0)
    assert (counts / counts.sum()).tolist() == pytest.approx([1 / 3] * 3, abs=0.03)


def test_several_labels_count_in_parts_when_they_are_drawn() -> None:
    hot = np.array([[1, 1], [1, 0], [1, 0], [1, 0]], np.float32)
    recipe = tiny_recipe(augment="none", balance="sampling")
    batches = Batches(TrainingData(np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1)), hot, recipe, CPU, SOLO)
    order, first = torch.Generator().manual_seed(0), 0
    for _ in range(300):
        first += sum(int((x == 0).sum()) for x, _, _ in batches.epoch(order, mixing=False))
    assert first / 1200 == pytest.approx((0.5 * (1 / 4 + 1)) / (0.5 * (1 / 4 + 1) + 3 / 4), abs=0.03)


def test_the_best_epoch_is_kept_and_the_run_ends_when_patience_does() -> None:
    best, history = Best(3, [], None), []
    for epoch, loss in enumerate((5.0, 4.0, 4.5, 4.0, 3.9, 4.0, 4.0, 4.0, 1.0), start=1):
        best.see(epoch, loss, {"w": torch.tensor(loss)})
        history.append({"epoch": epoch, "validation": loss})
        if best.is_over(epoch):
            break
    assert (epoch, best.epoch, best.loss) == (8, 5, 3.9)
    assert best.weights is not None
    assert float(best.weights["w"]) == pytest.approx(3.9)
    again = Best(3, history, best.weights)
    assert (again.epoch, again.loss, again.is_over(8), again.is_over(7)) == (5, 3.9, True, False)
    assert not Best(0, [], None).is_over(10**6)


def test_a_run_stops_early_and_is_tested_with_its_best_weights(
    tmp_path: Path, data: Dataset, training_data: TrainingData
) -> None:
    recipe = tiny_recipe(epochs=60, patience=2, schedule="constant", lr=3e-3)
    report = train(data, tmp_path, recipe, 1, CPU, training_data=training_data)
    checkpoint = Checkpoint.load(tmp_path)
    losses = [row["validation"] for row in checkpoint.history]
    assert report["epochs"] == len(losses) < 60
    assert report["best_epoch"] == int(np.argmin(losses)) + 1 == len(losses) - 2
    assert report["train_clips"] + report["valid_clips"] == 24
    tested, _ = evaluate(checkpoint, data, CPU, training_data=training_data)
    assert tested["accuracy"] == report["accuracy"]
    assert checkpoint.best is not None
    assert all(torch.equal(value, checkpoint.best[name]) for name, value in checkpoint.network().state_dict().items())
    again = train(data, tmp_path, recipe, 1, CPU, training_data=training_data, resume=True)
    assert (again["epochs"], again["best_epoch"]) == (report["epochs"], report["best_epoch"])


def test_what_the_held_out_fold_sounds_like_does_not_choose_the_epoch(
    tmp_path: Path, data: Dataset, training_data: TrainingData
) -> None:
    recipe = tiny_recipe(epochs=4, patience=2)
    loud = training_data.features.copy()
    loud[data.split(1)[1]] += 50.0
    train(data, tmp_path / "a", recipe, 1, CPU, training_data=training_data)
    train(data, tmp_path / "b", recipe, 1, CPU, training_data=TrainingData(loud))
    mine, other = (Checkpoint.load(tmp_path / name) for name in "ab")
    assert [row["validation"] for row in mine.history] == [row["validation"] for row in other.history]
    assert mine.best is not None
    assert other.best is not None
    assert all(torch.equal(mine.best[key], other.best[key]) for key in mine.best)


def test_clips_are_set_aside_for_patience_alone(data: Dataset) -> None:
    train_set, test_set = data.split(2)
    assert set_aside(data, train_set, 2, tiny_recipe(), 0) == (train_set, [])
    taught, valid = set_aside(data, train_set, 2, tiny_recipe(patience=1), 0)
    assert {*taught}.isdisjoint(valid)
    assert {*taught, *valid} == {*train_set}
    assert {*valid}.isdisjoint(test_set)
    splits = replace(
        data, clips=tuple(replace(c, fold=("test", "train", "valid")[int(c.fold) - 1]) for c in data.clips)
    )
    train_set, _ = splits.split("test")
    assert set_aside(splits, train_set, "test", tiny_recipe(patience=1), 0) == (train_set, splits.valid)
    everything, _ = splits.split(None)
    taught, valid = set_aside(splits, everything, None, tiny_recipe(patience=1), 0)
    assert (len(taught), valid) == (24, splits.valid)
    assert {*taught}.isdisjoint(valid)
    few = replace(data, clips=data.clips[:2])
    with pytest.raises(CumelError, match="are too few to set some aside for --patience; leave it away"):
        set_aside(few, [0], 1, tiny_recipe(patience=1), 0)


def test_several_labels_per_clip(tmp_path: Path, data: Dataset, training_data: TrainingData) -> None:
    """Each clip has its own label, and a second one that every clip of classes 0 and 1 has."""
    labels = (*data.labels, "low")
    clips = tuple(replace(clip, others=(3,)) if clip.target < 2 else clip for clip in data.clips)
    several = replace(data, clips=clips, labels=labels)
    recipe = tiny_recipe(epochs=20, test_every=20)
    report = train(several, tmp_path / "run", recipe, 1, CPU, training_data=training_data)
    checkpoint = Checkpoint.load(tmp_path / "run")
    assert checkpoint.recipe.loss == "bce"
    scores = np.load(tmp_path / "run" / SCORES)
    assert scores.sum(axis=1).max() > 1.05
    tested, confusion = evaluate(checkpoint, several, CPU, training_data=training_data)
    assert confusion is None
    assert tested["mean_average_precision"] > 0.7
    assert tested["accuracy"] == pytest.approx(report["accuracy"])
    assert [row["label"] for row in tested["classes"]] == list(labels)
    assert [row["clips"] for row in tested["classes"]] == [4, 4, 4, 8]
    crossed, confusion = cross_validate(several, tmp_path / "cv", recipe, [1, 2], [0], CPU, training_data=training_data)
    assert confusion is None
    assert 0 < crossed["mean_average_precision"] <= 1


def test_a_run_starts_from_another_with_other_classes(
    tmp_path: Path, data: Dataset, training_data: TrainingData, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny_recipe(epochs=2)
    train(data, tmp_path / "first", recipe, 1, CPU, training_data=training_data)
    donor = Checkpoint.load(tmp_path / "first").network().state_dict()
    other = replace(data, labels=("low", "high"), clips=tuple(replace(c, target=c.target // 2) for c in data.clips))
    frozen = recipe.replace(freeze=True)
    train(other, tmp_path / "next", frozen, 1, CPU, training_data=training_data, init=tmp_path / "first")
    assert "the last layer is new: 2 classes of this data" in capsys.readouterr().err
    learnt = Checkpoint.load(tmp_path / "next").network().state_dict()
    for name, value in learnt.items():
        if name.startswith("head."):
            assert value.shape[0] == 2
        elif "num_batches" not in name:
            assert torch.equal(value, donor[name]), name  # also the statistics
    train(data, tmp_path / "same", recipe, 1, CPU, training_data=training_data, init=tmp_path / "first")
    assert "its classes are the same" in capsys.readouterr().err
    assert not torch.equal(Checkpoint.load(tmp_path / "same").model["stem.0.weight"], donor["stem.0.weight"])
    with pytest.raises(CumelError, match="cannot resume, its run has other weights to start from"):
        train(data, tmp_path / "same", recipe, 1, CPU, training_data=training_data, resume=True)


@pytest.mark.parametrize(
    ("changes", "fold", "message"),
    [
        ({"model": "compact"}, 1, "--init .*first: its network does not fit: .* model=compact, not residual; name .*"),
        ({"features": tiny_recipe().features.replace(n_mels=20)}, 1, "n_mels=20, not 16"),
        ({}, 2, "held out fold 1, so it was trained on the clips of fold 2, which this run is tested on"),
        ({}, 1, None),
    ],
)
def test_what_a_start_refuses(
    tmp_path: Path, data: Dataset, changes: dict[str, object], fold: int, message: str | None
) -> None:
    train(data, tmp_path / "first", tiny_recipe(epochs=1), 1, CPU)
    recipe: Recipe = tiny_recipe(epochs=1).replace(**changes)
    if message is None:
        assert train(data, tmp_path / "next", recipe, fold, CPU, init=tmp_path / "first")["epochs"] == 1
        return
    with pytest.raises(CumelError, match=message):
        train(data, tmp_path / "next", recipe, fold, CPU, init=tmp_path / "first")


@pytest.mark.parametrize("model", ["residual", "compact", "esc50-pool"])
def test_a_frozen_trunk_learns_nothing_not_even_statistics(model: str) -> None:
    net = tiny_recipe(model=model).build(3)
    freeze(net, model)
    training_mode(net)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    optimizer = tiny_recipe().optimizer(net)
    net(torch.randn(4, 1, 16, 63)).sum().backward()
    optimizer.step()
    changed = {name.split(".")[0] for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {MODELS[model].head}


def test_the_command_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(recipes.RECIPES, "quick", tiny_recipe(epochs=2))
    root, first = write_dataset(tmp_path / "data", per_fold=4), tmp_path / "first"
    common = ["train", "--data", str(root), "--fold", "1", "--seconds", "1", "--device", "cpu"]

    def ask(out: str, *more: str) -> tuple[int, str]:
        code = main([*common, "--out", str(tmp_path / out), *more])
        return code, capsys.readouterr().err

    assert ask("first", "--balance", "weights", "--patience", "1", "--validation", "0.2")[0] == 0
    assert Checkpoint.load(first).recipe.balance == "weights"
    assert ask("next", "--init", str(first), "--freeze", "--balance", "sampling", "--loss", "bce")[0] == 0
    for option, value, message in (
        ("--balance", "classes", "balance='classes': must be one of none, weights, sampling"),
        ("--loss", "hinge", "loss='hinge': must be one of cross-entropy, bce"),
        ("--patience", "-1", "patience=-1: must be a whole number, 0 or more"),
        ("--validation", "0.9", "validation=0.9: must be above 0, and 0.5 or less"),
        ("--init", str(tmp_path / "none"), "no checkpoint there"),
    ):
        code, err = ask("bad", option, value)
        assert (code, message in err) == (2, True)
    code, err = ask("bad", "--freeze")
    assert (code, "--freeze: keeps the weights of another run; name it by --init" in err) == (2, True)
