"""A run learns, logs and evaluates; an interrupted one resumes to the same bits, or says why it does not."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cumel.esc50.datasets import Dataset
from cumel.esc50.training.checkpoint import NAME, Checkpoint
from cumel.esc50.training.cross_validation import cross_validate, parse_numbers
from cumel.esc50.training.data import TrainingData, prepare
from cumel.esc50.training.evaluation import evaluate
from cumel.esc50.training.log import LOG, PICTURE, TENSORBOARD
from cumel.esc50.training.loop import SCORES, train
from cumel.esc50.training.metrics import accuracy, confusion_matrix, per_class
from cumel.esc50.training.recipes import RECIPES, Recipe
from cumel.kernels import PRESETS, CumelError

from support.recordings import tiny_checkpoint, tiny_recipe, write_dataset

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Dataset.read(write_dataset(tmp_path_factory.mktemp("data"), per_fold=4))


@pytest.mark.parametrize("name", ["quick", "baseline", "best"])
def test_a_run_learns_logs_and_evaluates(tmp_path: Path, data: Dataset, name: str) -> None:
    changes = {"epochs": 3, "lr": 1e-3} if name == "baseline" else {"epochs": 16, "test_every": 5}
    report = train(data, tmp_path, tiny_recipe(name, **changes), 3, CPU)
    rows = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert len(rows) == report["epochs"] == changes["epochs"]
    if name != "baseline":
        assert [row["epoch"] for row in rows if row["accuracy"] is not None] == [5, 10, 15, 16]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert (tmp_path / PICTURE).read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / TENSORBOARD).is_dir() == (importlib.util.find_spec("tensorboard") is not None)
    assert report["accuracy"] == rows[-1]["accuracy"] >= 0.6  # three tones; chance is a third
    tested, confusion = evaluate(Checkpoint.load(tmp_path), data, CPU)
    assert tested["accuracy"] == pytest.approx(report["accuracy"])
    assert confusion.sum() == tested["clips"] == report["test_clips"] == 12


@pytest.mark.parametrize("name", ["kaldi", "parakeet"])
def test_a_run_learns_from_a_pretrained_models_front_end(tmp_path: Path, data: Dataset, name: str) -> None:
    cfg = PRESETS[name].replace(sr=8000, n_fft=256, win_length=200, hop_length=80, n_mels=16)
    recipe = tiny_recipe(features=cfg, epochs=1, augment="none" if cfg.normalize else "mel")
    report = train(data, tmp_path, recipe, 3, CPU)
    assert report["epochs"] == 1
    stored = Checkpoint.load(tmp_path).recipe
    assert (stored, stored.features) == (recipe, cfg.replace(time_major=False))
    assert evaluate(Checkpoint.load(tmp_path), data, CPU)[0]["accuracy"] == pytest.approx(report["accuracy"])


def test_what_a_run_refuses(tmp_path: Path, data: Dataset) -> None:
    recipe = tiny_recipe(epochs=1)
    train(data, tmp_path, recipe, 1, CPU)
    with pytest.raises(CumelError, match="holds a run already; --resume"):
        train(data, tmp_path, recipe, 1, CPU)
    with pytest.raises(CumelError, match=r"epochs=1, not 2; fold=1, not 2; seed=0, not 3"):
        train(data, tmp_path, recipe.replace(epochs=2), 2, CPU, seed=3, resume=True)
    with pytest.raises(CumelError, match=r"fold 9 is not in .*; it has 1, 2, 3"):
        train(data, tmp_path / "new", recipe, 9, CPU)
    with pytest.raises(CumelError, match="was trained on fold 2; only fold 1 was held out"):
        evaluate(Checkpoint.load(tmp_path), data, CPU, fold=2)
    with pytest.raises(CumelError, match="use a lower --lr"):
        train(data, tmp_path / "hot", tiny_recipe("baseline", lr=1e30), 1, CPU)


def test_a_finished_run_resumes_to_its_own_report(tmp_path: Path, data: Dataset) -> None:
    recipe = tiny_recipe(epochs=2)
    first = train(data, tmp_path, recipe, 1, CPU)
    again = train(data, tmp_path, recipe, 1, CPU, resume=True)
    assert again["accuracy"] == first["accuracy"]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


def _other_fields(path: Path) -> None:
    values = torch.load(path)
    values["recipe"]["dropout"] = 0.1
    torch.save(values, path)


def _other_classes(path: Path) -> None:
    torch.save(torch.load(path) | {"labels": ["a", "b"]}, path)


DAMAGE = {
    "no checkpoint there": Path.unlink,
    "not a usable checkpoint": _cut,
    "checkpoint": lambda path: path.write_bytes(b""),
    "not a usable checkpoint .*": lambda path: path.write_text("weights"),
    "another version's": lambda path: torch.save(torch.load(path) | {"format": 99}, path),
    "dropout.* missing or unknown": _other_fields,
    "do not fit its recipe": _other_classes,
}


@pytest.mark.parametrize("message", DAMAGE)
def test_a_damaged_checkpoint_is_one_line(tmp_path: Path, message: str) -> None:
    tiny_checkpoint(tmp_path, tiny_recipe())
    DAMAGE[message](tmp_path / NAME)
    with pytest.raises(CumelError, match=message) as caught:
        Checkpoint.load(tmp_path).network()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64 vs 0")])
def test_a_full_disk_keeps_the_previous_checkpoint(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_checkpoint(tmp_path, tiny_recipe())
    before = (tmp_path / NAME).read_bytes()

    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CumelError, match="cannot be written"):
        tiny_checkpoint(tmp_path, tiny_recipe())
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert (tmp_path / NAME).read_bytes() == before


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_round_trip_and_build(name: str) -> None:
    recipe = RECIPES[name]
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    small = recipe.replace(features=PRESETS["whisper"], seconds=0.5)
    assert small.build(7)(torch.zeros(2, *small.input_shape)).shape == (2, 7)
    assert recipe.differences(recipe) == []
    for field in ("epochs", "batch_size", "lr", "seconds"):
        with pytest.raises(CumelError, match=field):
            recipe.replace(**{field: 0})


def test_cross_validation_is_a_run_per_fold_and_seed(tmp_path: Path, data: Dataset) -> None:
    recipe = tiny_recipe(epochs=2)
    report, confusion = cross_validate(data, tmp_path, recipe, [1, 3], [0, 5], CPU)
    runs = {(row["seed"], row["fold"]): row["accuracy"] for row in report["runs"]}
    assert list(runs) == [(0, 1), (0, 3), (5, 1), (5, 3)]
    assert [row["accuracies"] for row in report["folds"]] == [[runs[0, 1], runs[5, 1]], [runs[0, 3], runs[5, 3]]]
    means = [np.mean([runs[seed, fold] for fold in (1, 3)]) for seed in (0, 5)]
    assert [row["mean"] for row in report["seeds"]] == pytest.approx(means)
    assert report["seeds"][0]["spread"] == pytest.approx(np.std([runs[0, 1], runs[0, 3]], ddof=1))
    assert (report["mean"], report["spread"]) == pytest.approx((np.mean(means), np.std(means, ddof=1)))
    assert confusion.sum() == 4 * 12  # every held-out clip once per seed
    truth = np.array([clip.target for clip in data.clips if clip.fold == 1])
    scores = [np.load(tmp_path / f"seed-{seed}" / "fold-1" / SCORES) for seed in (0, 5)]
    assert report["folds"][0]["ensemble"] == accuracy(scores[0] + scores[1], truth)
    again, _ = cross_validate(data, tmp_path, recipe, [1, 3], [0, 5], CPU, resume=True)
    assert again["mean"] == report["mean"]
    with pytest.raises(CumelError, match="holds a run already"):
        cross_validate(data, tmp_path, recipe, [3], [5], CPU)
    assert parse_numbers("--folds", "3, 1") == [1, 3]
    for text in ("a", "", "1,,2"):
        with pytest.raises(CumelError, match="--seeds"):
            parse_numbers("--seeds", text)


def test_statistics_come_from_the_training_folds_alone(tmp_path: Path, data: Dataset) -> None:
    """What the held-out fold sounds like changes nothing of what is learnt."""
    recipe = tiny_recipe(epochs=1)
    training_data = prepare(data, recipe, workers=1)
    train(data, tmp_path / "a", recipe, 1, CPU, training_data=training_data)
    loud = training_data.features.copy()
    loud[data.split(1)[1]] += 50.0
    train(data, tmp_path / "b", recipe, 1, CPU, training_data=TrainingData(loud))
    mine, other = (Checkpoint.load(tmp_path / name).model for name in "ab")
    assert all(torch.equal(mine[key], other[key]) for key in mine)
    assert mine["mean"] == pytest.approx(training_data.features[data.split(1)[0]].mean())


def test_counts() -> None:
    scores = np.eye(3)[[0, 1, 1, 2, 0]]
    truth = np.array([0, 1, 0, 2, 0])
    assert accuracy(scores, truth) == 0.8
    confusion = confusion_matrix(scores, truth)
    np.testing.assert_array_equal(confusion, [[2, 1, 0], [0, 1, 0], [0, 0, 1]])
    rows = per_class(confusion, ("a", "b", "c"))
    assert rows[0] == {"label": "a", "clips": 3, "recall": 2 / 3, "precision": 1.0, "f1": 0.8, "mistaken_for": "b"}
    assert rows[1]["precision"] == 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "resnet"}, "model='resnet': must be one of esc50, esc50-pool, compact"),
        ({"kind": "image"}, "spectrograms in dB alone can be augmented"),
        ({"schedule": "cosine"}, "must be one of constant, one-cycle"),
        ({"ema_decay": 1.0}, "ema_decay=1.0"),
    ],
)
def test_a_recipe_is_checked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(CumelError, match=message):
        tiny_recipe(**changes)


def test_the_baselines_network_takes_the_augmented_recipe(tmp_path: Path, data: Dataset) -> None:
    assert train(data, tmp_path, tiny_recipe(model="esc50", epochs=1), 1, CPU)["epochs"] == 1


def test_a_run_does_not_resume_on_other_clips(tmp_path: Path, data: Dataset) -> None:
    train(data, tmp_path, tiny_recipe(epochs=1), 1, CPU)
    fewer = Dataset(data.root, data.clips[:-1], data.labels)
    with pytest.raises(CumelError, match="other clips"):
        train(fewer, tmp_path, tiny_recipe(epochs=1), 1, CPU, resume=True)
