"""A newcomer's way: a folder of one's own sounds to a model and its labels, by the commands and in Python."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import cumel
from cumel.esc50.cli import main
from cumel.esc50.datasets import Description
from cumel.esc50.training import Checkpoint
from cumel.kernels import CumelError

from support.recordings import tone, write


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of six sounds, 0.4 to 1.4 s long."""
    root, rng = tmp_path_factory.mktemp("own") / "sounds", np.random.default_rng(0)
    for label, hz in (("hum", 150), ("beep", 900), ("hiss", 3000)):
        for i in range(6):
            y = tone(0.4 + 0.2 * i, 8000, hz)
            write(root / label / f"{i}.wav", y + rng.normal(0, 0.01, len(y)).astype(np.float32))
    return root


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_from_a_folder_to_a_label(sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    code, out, err = call(capsys, "train", "--data", sounds, "--out", run, "--epochs", 2, "--device", "cpu", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert (report["fold"], report["train_clips"] + report["test_clips"]) == (5, 18)
    assert "split: dealt into 5 folds, stratified by label, seed 0" in err
    assert "fitted to 1.5 s (auto: three of four are no longer)" in err
    assert "18 of 18 are mirrored" in err
    with (run / "clips.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"] for row in rows} == {f"{label}/{i}.wav" for label in ("hum", "beep", "hiss") for i in range(6)}
    described = Description.load(run)
    assert described is not None
    assert described.to_dict() == report["data"] | {"rates": {"8000": 18}}
    assert Checkpoint.load(run).recipe.seconds == 1.5

    write(sounds / "hum" / "new.wav", tone(1.0))  # the run did not have it
    code, out, err = call(capsys, "evaluate", run, "--data", sounds, "--device", "cpu", "--json")
    (sounds / "hum" / "new.wav").unlink()
    assert (code, json.loads(out)["clips"]) == (0, report["test_clips"])
    assert "1 clips are not among those of" in err
    assert json.loads(out)["accuracy"] == pytest.approx(report["accuracy"])

    assert call(capsys, "export", run, "--out", tmp_path / "m.onnx")[0] == 0
    assert "- Lengths: clips of 0.4 to 1.4 s, fitted to 1.5 s" in (tmp_path / "m.md").read_text()
    long = write(tmp_path / "long.wav", tone(4.0, 8000, 900))
    code, out, _ = call(capsys, "predict", tmp_path / "m.onnx", long)
    assert code == 0
    assert out.splitlines()[0] == f"{long}  (heard 0:01.5 of 0:04.0)"
    assert "1 file; 1 window, heard 0:01.5 of 0:04.0; --hop-seconds hears all" in out
    events = tmp_path / "events.txt"
    whole = ("--aggregate", "mean", "--events", events, "--event-threshold", 0.1, "--json")
    code, out, _ = call(capsys, "predict", tmp_path / "m.onnx", long, *whole)
    answer = json.loads(out)
    assert (code, answer["windows"], answer["heard_seconds"], len(answer["results"])) == (0, 3, 4.0, 1)
    assert all(len(line.split("\t")) == 3 for line in events.read_text().splitlines())
    assert events.read_text()
    (row,) = cumel.load(tmp_path / "m.onnx", provider="cpu").predict(long, aggregate="mean")
    assert row["top"] == answer["results"][0]["top"]
    with pytest.raises(cumel.InputError, match=r"nowhere\.wav"):
        cumel.load(tmp_path / "m.onnx", provider="cpu").predict(tmp_path / "nowhere.wav")


def test_everything_is_trained_on_where_nothing_is_held_out(
    sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = cumel.RECIPES["quick"].replace(epochs=1, batch_size=9)
    report = cumel.train(sounds, tmp_path / "run", recipe, fold="none", device="cpu", seconds=1)
    assert (report["fold"], report["train_clips"], report["test_clips"], report["accuracy"]) == (None, 18, 0, None)
    assert report["data"]["lengths"]["seconds"] == 1.0
    assert report["data"]["lengths"]["cut_clips"] == 6
    again = cumel.train(sounds, tmp_path / "run", recipe, fold=None, device="cpu", seconds=1, resume=True)
    assert again["epochs"] == 1
    code, _, err = call(capsys, "evaluate", tmp_path / "run", "--data", sounds)
    assert (code, err.count("\n")) == (2, 1)
    assert "was trained on all of its clips, so none is left to test it on" in err
    cumel.export_onnx(tmp_path / "run", tmp_path / "m.onnx")
    assert "| none | 1 |" in (tmp_path / "m.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fold": 9}, "fold 9 is not in .*; it has 1, 2, 3, 4, 5"),
        ({"fold": "test"}, "fold test is not in"),
        ({"seconds": "long"}, "--seconds long: must be auto, or from 0.1 to 3600"),
        ({"seconds": 0.01}, "--seconds 0.01: must be auto"),
        ({"recipe": "best-ever"}, "--recipe best-ever: must be one of"),
        ({"group": "speaker"}, "--group speaker: no such column"),
        ({"root": "."}, "only a table has one"),
    ],
)
def test_what_train_refuses(sounds: Path, tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(CumelError, match=message):
        cumel.train(sounds, tmp_path / "run", device="cpu", **options)
    assert not (tmp_path / "run").exists()
