"""`cumel predict` as a user meets it: rows, timelines, raw samples, and one clear line for what is wrong."""

import csv
import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from cumel.esc50.cli import main
from cumel.esc50.training.checkpoint import Checkpoint
from cumel.kernels import PRESETS, reference

from support.onnx_models import HZ, save_waveform
from support.recordings import tiny_checkpoint, tiny_recipe, tone, write


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_waveform(tmp_path_factory.mktemp("model") / "model.onnx", tiny_recipe())


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    return [write(folder / f"{i}-{label}.wav", tone(hz=hz)) for i, (label, hz) in enumerate(HZ.items())]


def ask(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def rows_of(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_predict_writes_rows(
    tmp_path: Path, clips: list[Path], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = clips[:3], tmp_path / "bad.wav"
    bad.write_text("no sound")
    code, out, err = ask(capsys, "predict", model, *good, bad, "--format", "jsonl", "--top", 1)
    rows = rows_of(out)
    assert code == 1
    assert [row["file"] for row in rows] == [str(path) for path in (*good, bad)]
    assert [len(row["top"]) for row in rows] == [1, 1, 1, 0]
    assert "4 files, 1 failed; 3 windows" in err  # on stdout are rows alone
    assert "ran on" in err
    code, out, _ = ask(capsys, "predict", model, *good, "--out", tmp_path / "rows.csv")
    assert code == 0
    assert "3 files; 3 windows" in out
    assert "%" not in out
    with (tmp_path / "rows.csv").open(newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [str(path) for path in good]
    code, out, _ = ask(capsys, "predict", model, *good, "--out", tmp_path / "rows.jsonl", "--json")
    assert json.loads(out)["files"] == len(rows_of((tmp_path / "rows.jsonl").read_text())) == 3
    assert "results" not in json.loads(out)


def test_predict_with_a_pretrained_models_front_end(
    tmp_path: Path, clips: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"sr": 8000, "n_fft": 256, "win_length": 200, "hop_length": 80, "n_mels": 16}
    recipe = tiny_recipe(features=PRESETS["seamless"].replace(**small), augment="none")
    names = ("a", "b", "c")
    run, model = tiny_checkpoint(tmp_path / "run", recipe, names), tmp_path / "model.onnx"
    assert ask(capsys, "export", run, "--out", model, "--input", "image")[0] == 0
    frames_first = [f"--{name.replace('_', '-')}={value}" for name, value in small.items()]
    code, out, err = ask(capsys, "predict", model, *clips, "--json", "--preset", "seamless", *frames_first)
    assert code == 0, err
    report = json.loads(out)
    assert report["provider"]["route"] == "kernels"
    net = Checkpoint.load(run).network()
    for row, clip in zip(report["results"], clips, strict=True):
        x = reference.log_mel(soundfile.read(clip)[0], recipe.features)[None, None]
        with torch.no_grad():
            expected = net(torch.from_numpy(x).float()).softmax(dim=1)[0]
        scores = {each["label"]: each["probability"] for each in row["top"]}
        np.testing.assert_allclose([scores[name] for name in names], expected, atol=1e-4)
    assert ask(capsys, "predict", model, clips[0], "--plot", tmp_path / "a.png")[0] == 0


def test_predict_whole_recordings(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = write(
        tmp_path / "long.wav", np.concatenate([tone(2.5, hz=HZ["low"]), np.zeros(8000), tone(1.2, hz=HZ["middle"])])
    )
    picture = tmp_path / "t.png"
    code, out, _ = ask(capsys, "predict", model, long, "--hop-seconds", 0.5, "--plot", picture, "--provider", "cpu")
    lines = [line for line in out.splitlines() if line.startswith("  0:0")]
    assert code == 0
    assert len(lines) == 9
    assert lines[0].startswith("  0:00.0 - 0:01.0   low ")
    assert lines[5] == "  0:02.5 - 0:03.5   silence"
    assert lines[-1].startswith("  0:03.7 - 0:04.7   middle ")
    assert "1 file; 9 windows, 1 of them silent" in out
    assert f"picture: {picture}" in out
    assert picture.read_bytes()[:4] == b"\x89PNG"
    for route in ("graph", "kernels"):
        code, out, _ = ask(capsys, "predict", model, long, "--route", route, "--hop-seconds", 2, "--json")
        assert (code, json.loads(out)["provider"]["route"]) == (0, route)
        assert [row["start"] for row in json.loads(out)["results"]] == pytest.approx([0, 2, 3.7])


def test_predict_raw_samples(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = tmp_path / "samples.raw"
    samples.write_bytes(np.repeat((20000 * tone(2.5, 16000))[:, None], 2, axis=1).astype("<i2").tobytes())
    with samples.open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        code, out, _ = ask(capsys, "predict", model, "-", "--raw", "--sr", 16000, "--channels", 2)
    lines = out.splitlines()
    assert code == 0
    assert [line[:17] for line in lines[:4]] == ["stdin", "  0:00.0 - 0:01.0", "  0:01.0 - 0:02.0", "  0:01.5 - 0:02.5"]
    assert lines[4].startswith("1 file; 3 windows, heard 0:02.5")


def test_a_recording_on_stdin_is_no_list(
    clips: list[Path], model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with clips[0].open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        code, out, err = ask(capsys, "predict", model, "-")
    assert (code, out) == (2, "")
    assert "stdin: holds a recording, not a list of files" in err


def _wrong_calls(tmp: Path, clip: Path, model: Path) -> dict[str, tuple[list[object], int, str]]:
    for name in ("empty.onnx", "zero.wav"):
        (tmp / name).touch()
    header = write(tmp / "lie.wav", tone()).read_bytes()
    (tmp / "lie.wav").write_bytes(header[:40] + struct.pack("<I", 10**8) + header[44:144])
    return {
        "empty model": (["predict", tmp / "empty.onnx", clip], 2, "the file is empty (0 bytes)"),
        "recording as model": (["predict", clip, clip], 2, "not a usable ONNX model"),
        "provider": (["predict", model, clip, "--provider", "rocm"], 2, "must be one of auto, cpu, cuda, tensorrt"),
        "route": (["predict", model, clip, "--route", "fast"], 2, "route=fast: must be one of auto, graph, kernels"),
        "another rate": (["predict", model, clip, "--sr", 44100], 2, "was trained on sr=8000, not 44100"),
        "hop": (["predict", model, clip, "--hop-seconds", 0], 2, "hop_seconds=0: must be"),
        "top": (["predict", model, clip, "--top", 0], 2, "top=0: must be 1 or more"),
        "rows in no format": (["predict", model, clip, "--out", tmp / "r.txt"], 2, "ends in .csv or .jsonl"),
        "rows in no place": (["predict", model, clip, "--out", clip / "r.csv"], 2, "cannot be written"),
        "rows and json": (["predict", model, clip, "--json", "--out", "-"], 2, "--json prints one object"),
        "timeline": (["predict", model, clip, "--hop-seconds", 1, "--plot", tmp / "p.gif"], 2, ".png, .svg or .pdf"),
        "raw without sr": (["predict", model, "-", "--raw"], 2, "--raw needs --sr"),
        "raw sr": (["predict", model, "-", "--raw", "--sr", -1], 2, "--sr -1: must be between 500 and 2000000 Hz"),
        "raw file": (["predict", model, clip, "--raw", "--sr", 8000], 2, "--raw reads stdin alone"),
        "channels of a file": (["predict", model, clip, "--channels", 2], 2, "only --raw samples have one"),
        "header lie": (["predict", model, tmp / "lie.wav"], 1, "the header promises 100000000 bytes of audio"),
        "zero bytes": (["predict", model, tmp / "zero.wav"], 1, "the file is empty (0 bytes)"),
    }  # fmt: skip


def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, clips: list[Path], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, (arguments, code, message) in _wrong_calls(tmp_path, clips[0], model).items():
        given, out, err = ask(capsys, *arguments)
        lines = [line for line in err.splitlines() if message in line]
        assert given == code, f"{name}: exit code {given}: {err}"
        assert len(lines) == 1, f"{name}: {err!r} {out!r}"
        assert len(err.splitlines()) == 1, f"{name}: {err!r}"


@pytest.mark.parametrize("place", ["first", "last", "between"])
def test_calibration_takes_several_paths(tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str) -> None:
    run = tiny_checkpoint(tmp_path / "run", tiny_recipe())
    clips = [write(tmp_path / f"{i}.wav", tone()) for i in range(3)]
    options = ["--out", tmp_path / "m.onnx", "--precision", "int8"]
    arguments = {
        "first": [run, *options, "--calibration", *clips],
        "last": [*options, "--calibration", *clips, run],
        "between": ["--calibration", *clips[:2], *options, f"--calibration={clips[2]}", run],
    }[place]
    code, _, err = ask(capsys, "export", *arguments)
    assert code == 2
    assert err.strip() == "cumel: calibration: 3 recordings; give 16 or more such as the model will classify"
    assert ask(capsys, "export", run, *options, "--calibration")[0] == 2


def test_no_label_is_named_below_a_threshold(
    clips: list[Path], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = json.loads(ask(capsys, "predict", model, *clips, "--json")[1])["results"]
    best = max(row["top"][0]["probability"] for row in rows)
    code, out, _ = ask(capsys, "predict", model, *clips, "--threshold", best, "--json")
    shown = json.loads(out)["results"]
    assert code == 0
    assert [len(row["top"]) for row in shown] == [row["top"][0]["probability"] >= best for row in rows]
    assert not any(row["silent"] for row in shown)
    lines = ask(capsys, "predict", model, *clips, "--threshold", best)[1].splitlines()
    assert lines.count("  none of these") == sum(not row["top"] for row in shown) > 0
    code, _, err = ask(capsys, "predict", model, *clips, "--threshold", 1.5)
    assert (code, err) == (2, "cumel: threshold=1.5: must be a probability, from 0 to 1\n")
