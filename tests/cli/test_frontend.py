"""`cumel frontend`: the file that it writes, and one line for each wrong call."""

import json
from pathlib import Path

import onnx
import pytest

from cumel import PRESETS, FeatureConfig
from cumel.esc50.cli import main


def ask(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["frontend", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def features(path: Path) -> FeatureConfig:
    props = {prop.key: prop.value for prop in onnx.load(path).metadata_props}
    return FeatureConfig.from_json(props["features"])


def test_a_preset_with_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "fe.onnx"
    code, shown, err = ask(capsys, "--preset", "parakeet", "--n-mels", 40, "--out", out, "--opset", 17, "--json")
    assert (code, err) == (0, "")
    report = json.loads(shown)
    assert report["outputs"] == "features [batch,frames,40] float, features_lens [batch] int64"
    assert (report["sample_rate"], report["opset"]) == (16000, 17)
    assert features(out) == PRESETS["parakeet"].replace(n_mels=40)


def test_a_config_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "fe.onnx"
    code, shown, _ = ask(capsys, "--sr", 8000, "--n-fft", 256, "--hop-length", 80, "--n-mels", 16, "--out", out)
    assert code == 0
    assert "features [batch,16,frames] float" in shown
    assert features(out) == FeatureConfig(sr=8000, n_fft=256, hop_length=80, n_mels=16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "parakit"], "cumel: --preset parakit: did you mean parakeet? It must be one of esc50, compact, "),
        ([], "cumel: no features are named: give --preset, or --sr and what else differs from librosa's defaults"),
        (["--n-mels", "40"], "cumel: no features are named"),
        (["--preset", "parakeet", "--no-center"], "padding=(256, 96): says where frames begin, as center=False does"),
        (["--preset", "kaldi", "--mean", "1,2"], "mean=(1, 2): must be a number, or one for each of n_mels=80"),
        (["--preset", "kaldi", "--log", "none", "--ref", "2"], "ref=2: only decibels have a reference"),
        (["--preset", "parakeet", "--amin", "0", "--offset", "0"], "amin=0: must be above 0"),
        (["--preset", "parakeet", "--win-length", "513"], "win_length=513: must be between 1 and n_fft=512"),
        (["--preset", "parakeet", "--normalize", "{"], "--normalize {: not JSON"),
        (["--preset", "whisper", "--seconds", "0"], "seconds=0.0: must be a number above 0, and at most 3600"),
        (["--preset", "kaldi", "--seconds", "0.02"], "seconds=0.02: 320 samples, fewer than the 400 of one frame"),
        (["--preset", "parakeet", "--opset", "16"], "opset=16: must be 17 or 18"),
        (["--sr", "44100", "--n-fft", "65537"], "n_fft=65537: its transform as matrix products takes "),
    ],
)
def test_wrong_calls(arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ask(capsys, *arguments, "--out", tmp_path / "fe.onnx")
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["fe.onx", "fe", "."])
def test_wrong_names(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = ask(capsys, "--preset", "parakeet", "--out", tmp_path / name)
    assert code == 2
    assert err == f"cumel: {tmp_path / name}: give the name of a file that ends in .onnx\n"


def test_a_missing_name(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = ask(capsys, "--preset", "parakeet")
    assert code == 2
    assert err == "cumel: Missing option '--out' (`cumel frontend --help` says more)\n"
