"""The command line as a user meets it: outputs, files, one clear line for what is wrong, and the exit code."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from cumel.esc50.cli import main, show
from cumel.esc50.cli.bench import TOPICS
from cumel.esc50.cli.demo import demo
from cumel.esc50.store import Store
from cumel.esc50.training.checkpoint import NAME

from support.recordings import tiny_checkpoint, tiny_recipe, tone, write, write_dataset

FEATURES = ["--sr", "8000", "--n-fft", "256", "--hop-length", "128", "--n-mels", "16", "--fmin", "0", "--fmax", "none"]


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
    shown = python("-m", "cumel", "--help")
    assert all(command in shown for command in ("extract", "train", "predict", "doctor"))


@pytest.mark.parametrize("channels", [1, 2])
def test_extract_says_what_is_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str], channels: int) -> None:
    """Two channels in opposite phase are silent together, though none of their samples is zero."""
    y = np.zeros(8000) if channels == 1 else np.stack([tone(), -tone()], axis=1)
    path = write(tmp_path / "a.wav", y, subtype="FLOAT")
    code, _, err = ask(capsys, "extract", path, "--out", tmp_path / "store", *FEATURES)
    assert code == 0
    assert f"{path}: mixed to one channel, every sample is zero: silence\n" in err


def test_a_label_in_brackets_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"label": "[red]dog[/red]", "clips": 1, "recall": 0.0, "precision": None, "mistaken_for": "[bold]cat"}
    report = dict.fromkeys(("fold", "recipe", "device", "confusion", "report"), "") | {"clips": 1, "classes": [row]}
    numbers = {"accuracy": 0.0, "chance": 0.5, "interval": (0.0, 0.8), "macro_f1": 0.0}
    show.evaluation(report | numbers, json_only=False)
    shown = capsys.readouterr().out
    assert "[red]dog[/red]" in shown
    assert "[bold]cat" in shown


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
    cpu = ("--device", "cpu")  # for a GPU, a network would be compiled for minutes
    quick = ("--data", data, "--features", store, "--epochs", 1, "--batch-size", 4, *cpu)
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
    assert page.count("data:image/png;base64,") == 2 + page.count("<audio")  # learning, confusion, misheard clips
    several = ("--data", data, "--out", tmp_path / "cv", "--folds", "1,4", "--epochs", 1, *cpu)
    code, out, _ = ask(capsys, "cross-validate", *several)
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


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ask(capsys, "doctor", "--json")
    report = json.loads(out)
    assert {check["name"] for check in report["checks"]} >= {"python", "torch", "cumel[predict]", "cuda", "cores"}
    assert code == (0 if report["healthy"] else 3)
    if not report["gpu"]:
        assert ask(capsys, "doctor", "--require-gpu")[0] == 3


def _wrong_calls(tmp: Path, data: Path, model: Path) -> dict[str, tuple[list[object], int, str]]:
    damaged, single, empty = tmp / "damaged.onnx", tmp / "one.wav", tmp / "empty"
    damaged.write_bytes(model.read_bytes()[:1000])
    write(single, tone()[1:2])
    empty.mkdir()
    (tmp / "run").mkdir()
    (tmp / "run" / NAME).write_bytes(b"PK damaged")
    clip = next((data / "audio").iterdir())
    return {
        "no command": (["nosuch"], 2, "nosuch"),
        "no option": (["extract", clip, "--out", tmp / "o", "--mels", "3"], 2, "--mels"),
        "empty argument": (["plot", "", "--out", tmp / "p.png"], 2, "an argument is empty"),
        "missing folder": (["train", "--data", tmp / "gone", "--out", tmp / "o"], 2, "no such folder"),
        "empty folder": (["train", "--data", empty, "--out", tmp / "o"], 2, "empty: not a dataset of a known layout"),
        "folder without audio": (["extract", empty, "--out", tmp / "o"], 2, "no recordings in this folder"),
        "recipe": (["train", "--data", data, "--out", tmp / "o", "--recipe", "slow"], 2, "baseline, quick, best"),
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
        "missing recording": (["predict", model, tmp / "gone.wav"], 1, "gone.wav: No such file"),
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


def test_every_topic_of_bench_has_its_script() -> None:
    folder = Path(__file__).parents[2] / "bench"
    assert [topic for topic in TOPICS if not (folder / f"{topic}.py").is_file()] == []


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
