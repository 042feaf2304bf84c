"""The command line as a user meets it: outputs, files, one clear line for what is wrong, and the exit code."""

import csv
import json
import struct
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from cumel.esc50.checkpoint import NAME
from cumel.esc50.cli import main
from cumel.esc50.demo import demo
from cumel.esc50.store import Store

from recordings import tiny_checkpoint, tiny_recipe, tone, write, write_dataset

FEATURES = ["--sr", "8000", "--n-fft", "256", "--hop-length", "128", "--n-mels", "16", "--fmin", "0", "--fmax", "none"]
COMMANDS = [
    "synth",
    "download",
    "extract",
    "verify",
    "train",
    "evaluate",
    "cross-validate",
    "export",
    "predict",
    "plot",
    "bench",
    "doctor",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    run = tiny_checkpoint(folder, tiny_recipe(), ("sound_0", "sound_1", "sound_2"))
    assert main(["export", str(run), "--out", str(folder / "model.onnx")]) == 0
    return folder / "model.onnx"


def ask(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def python(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True).stdout


def test_the_installed_command() -> None:
    shown = python("-m", "cumel.esc50.cli", "--help")
    assert all(command in shown for command in COMMANDS)
    loaded = python(
        "-c", "import sys, cumel.esc50.cli; print({'torch', 'librosa', 'onnx', 'matplotlib'} & {*sys.modules})"
    )
    assert loaded.strip() == "set()", "--help must not wait for these"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, _ = ask(capsys, command, "--help")
    assert code == 0
    assert "--json" in out


def test_extract_verify_and_plot(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ask(capsys, "extract", data / "audio", "--out", tmp_path / "store", *FEATURES, "--json")
    report = json.loads(out)
    assert (code, report["extracted"], report["failed"]) == (0, 18, 0)
    assert Store(tmp_path / "store").config.features.n_mels == 16
    code, out, _ = ask(
        capsys, "extract", data / "audio", "--out", tmp_path / "half", *FEATURES, "--shard", "2/4", "--json"
    )
    assert json.loads(out)["files"] == 5
    code, out, _ = ask(capsys, "verify", data / "audio", *FEATURES, "--json")
    report = json.loads(out)
    assert code == 0
    assert report["passed"]
    assert report["max_db"] <= report["tolerance"]["max_db"]
    code, out, _ = ask(capsys, "verify", data / "audio", *FEATURES)
    assert "within 0.01 and 0.0001" in out
    code, out, _ = ask(capsys, "plot", data / "audio", "--out", tmp_path / "p.png", *FEATURES)
    assert "12 clips, the first 12 of 18" in out
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"


def test_train_evaluate_and_cross_validate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On clips that `synth` made; the compact preset fits one second as well as five."""
    data, store, run = tmp_path / "data", tmp_path / "store", tmp_path / "run"
    assert main(["synth", str(data), "--classes", "3", "--clips-per-class", "5", "--sr", "16000"]) == 0
    assert main(["extract", str(data / "audio"), "--out", str(store), "--preset", "compact"]) == 0
    quick = ("--data", data, "--features", store, "--epochs", 1, "--batch-size", 4)
    code, out, _ = ask(capsys, "train", *quick, "--out", run, "--fold", 2, "--json")
    report = json.loads(out)
    assert (code, report["train_clips"], report["test_clips"], report["epochs"]) == (0, 12, 3, 1)
    code, out, err = ask(capsys, "train", *quick, "--out", run, "--fold", 2)
    assert (code, out) == (2, "")
    assert "holds a run already" in err
    code, out, _ = ask(capsys, "evaluate", run, "--data", data)
    assert code == 0
    assert f"report: {run / 'report.html'}" in out
    page = (run / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    code, out, _ = ask(
        capsys, "cross-validate", "--data", data, "--out", tmp_path / "cv", "--folds", "1,4", "--epochs", 1
    )
    assert code == 0
    assert "mean" in out
    code, _, err = ask(capsys, "train", "--data", data, "--out", tmp_path / "new", "--fold", 6)
    assert code == 2
    assert "fold 6 is not in" in err
    assert "it has 1, 2, 3, 4, 5" in err


def test_predict(tmp_path: Path, data: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = sorted((data / "audio").iterdir())[:2]
    odd = write(tmp_path / "odd.flac", np.tile(tone(0.3, 44100)[:, None], (1, 2)), 44100)
    bad = tmp_path / "bad.wav"
    bad.write_text("no sound")
    code, out, _ = ask(capsys, "predict", model, *good, odd, "--top", 2, "--plot", tmp_path / "p.png", "--json")
    report = json.loads(out)
    assert code == 0
    assert [len(result["top"]) for result in report["results"]] == [2, 2, 2]
    assert report["provider"]["actual"]
    assert (tmp_path / "p.png").stat().st_size > 10_000
    code, out, err = ask(capsys, "predict", model, good[0], bad, odd)
    assert code == 1
    assert out.count("%  sound_") == 6
    assert "bad.wav: not readable as audio" in err


def rows_of(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_predict_writes_rows(tmp_path: Path, data: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = sorted((data / "audio").iterdir())[:3], tmp_path / "bad.wav"
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


def test_predict_whole_recordings(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = write(tmp_path / "long.wav", np.concatenate([tone(2.5), np.zeros(8000), tone(1.2, hz=900)]))
    picture = tmp_path / "t.png"
    code, out, _ = ask(capsys, "predict", model, long, "--hop-seconds", 0.5, "--plot", picture, "--provider", "cpu")
    lines = [line for line in out.splitlines() if line.startswith("  0:0")]
    assert code == 0
    assert len(lines) == 9
    assert lines[0].startswith("  0:00.0 - 0:01.0   sound_")
    assert lines[5] == "  0:02.5 - 0:03.5   silence"
    assert lines[-1].startswith("  0:03.7 - 0:04.7   sound_")
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
    assert lines[4].startswith("1 file; 3 windows, 0:03.0 heard")


def test_a_recording_on_stdin_is_no_list(
    data: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with next((data / "audio").iterdir()).open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        code, out, err = ask(capsys, "predict", model, "-")
    assert (code, out) == (2, "")
    assert "stdin: holds a recording, not a list of files" in err


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ask(capsys, "doctor", "--json")
    report = json.loads(out)
    assert {check["name"] for check in report["checks"]} >= {"python", "torch", "onnx runtime", "cuda", "cores"}
    assert code == (0 if report["healthy"] else 3)
    if not report["gpu"]:
        assert ask(capsys, "doctor", "--require-gpu")[0] == 3


def _wrong_calls(tmp: Path, data: Path, model: Path) -> dict[str, tuple[list[object], int, str]]:
    damaged, silent, single, empty = tmp / "damaged.onnx", tmp / "silent.wav", tmp / "one.wav", tmp / "empty"
    damaged.write_bytes(model.read_bytes()[:1000])
    write(silent, np.zeros(8000))
    write(single, tone()[1:2])
    empty.mkdir()
    (tmp / "run").mkdir()
    (tmp / "run" / NAME).write_bytes(b"PK damaged")
    for name in ("empty.onnx", "zero.wav"):
        (tmp / name).touch()
    header = write(tmp / "lie.wav", tone()).read_bytes()
    (tmp / "lie.wav").write_bytes(header[:40] + struct.pack("<I", 10**8) + header[44:144])
    clip = next((data / "audio").iterdir())
    return {
        "no command": (["nosuch"], 2, "nosuch"),
        "no option": (["extract", clip, "--out", tmp / "o", "--mels", "3"], 2, "--mels"),
        "empty argument": (["plot", "", "--out", tmp / "p.png"], 2, "an argument is empty"),
        "missing folder": (["train", "--data", tmp / "gone", "--out", tmp / "o"], 2, "no such folder"),
        "empty folder": (["train", "--data", empty, "--out", tmp / "o"], 2, "meta/esc50.csv is missing"),
        "folder without audio": (["extract", empty, "--out", tmp / "o"], 2, "no recordings in this folder"),
        "recipe": (["train", "--data", data, "--out", tmp / "o", "--recipe", "slow"], 2, "document, quick, best"),
        "preset": (["extract", clip, "--out", tmp / "o", "--preset", "mp3"], 2, "esc50, compact, librosa"),
        "feature value": (["extract", clip, "--out", tmp / "o", "--n-fft", "0"], 2, "n_fft=0: must be"),
        "feature text": (["extract", clip, "--out", tmp / "o", "--hop-length", "x"], 2, "--hop-length x: must be"),
        "device": (["extract", clip, "--out", tmp / "o", "--device", "tpu"], 2, "--device tpu"),
        "absent gpu": (["extract", clip, "--out", tmp / "o", "--device", "cuda:99"], 3, "CUDA devices"),
        "no checkpoint": (["evaluate", tmp / "nothing", "--data", data], 2, "no checkpoint there"),
        "damaged checkpoint": (["export", tmp / "run", "--out", tmp / "m.onnx"], 2, "not a usable checkpoint"),
        "damaged model": (["predict", damaged, clip], 2, "damaged.onnx"),
        "missing model": (["predict", tmp / "no.onnx", clip], 2, "no.onnx"),
        "wrong preset": (["predict", model, clip, "--preset", "whisper"], 2, "n_mels"),
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
        "missing recording": (["predict", model, tmp / "gone.wav"], 1, "gone.wav: No such file"),
        "silent recording": (["predict", model, silent], 1, "silent.wav: every sample is zero"),
        "single sample": (["predict", model, single], 1, "one.wav"),
        "picture in no place": (["plot", clip, "--out", clip / "p.png"], 2, "cannot be written"),
        "bench": (["bench", "nothing"], 2, "must be one of"),
    }  # fmt: skip


def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, data: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, (arguments, code, message) in _wrong_calls(tmp_path, data, model).items():
        given, out, err = ask(capsys, *arguments)
        lines = [line for line in err.splitlines() if message in line]
        assert given == code, f"{name}: exit code {given}: {err}"
        assert len(lines) == 1, f"{name}: {err!r} {out!r}"
        assert "Traceback" not in err, name


def test_a_closed_pipe_is_no_error() -> None:
    code = "import sys; from cumel.esc50.cli import main; sys.exit(main(['doctor']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait()


def test_the_demo_leaves_a_foreign_folder_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / NAME).write_text("mine")
    assert demo(tmp_path) == 2
    assert "holds something else" in capsys.readouterr().err
    assert (tmp_path / "run" / NAME).read_text() == "mine"


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ask(capsys, "--version")
    assert (code, out.strip()) == (0, version("cumel"))
