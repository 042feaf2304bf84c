"""The options of features as a user meets them: help, presets of pretrained models, and what is wrong with a value."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from cumel.esc50.audio import load
from cumel.esc50.cli import main
from cumel.esc50.store import Store
from cumel.kernels import PRESETS, log_mel

from support.recordings import tone, write


def ask(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_brackets_and_switches_of_features_are_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = ask(capsys, "extract", "--help")[1]
    for text in ("Features as [n_frames, n_rows].", "y[n] = x[n] - a x[n - 1].", "--no-time-major", "--no-remove-dc"):
        assert text in shown


def test_a_warning_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write(tmp_path / "a.wav", tone())
    sizes = ("--n-mels", 390, "--n-fft", 512, "--sr", 8000, "--fmax", 4000)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, _, err = ask(capsys, "extract", clip, "--out", tmp_path / "out", *sizes, "--quiet")
    assert code == 0
    (line,) = err.splitlines()
    assert line.startswith("cumel: n_fft=512: ")
    assert "filters have no bin in them" in line


@pytest.mark.parametrize("preset", ["whisper", "kaldi", "seamless", "parakeet", "speechbrain", "passt", "gemma3n"])
def test_a_preset_is_extracted_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str], preset: str) -> None:
    clip, cfg = write(tmp_path / "a.wav", tone(sr=16000), sr=16000), PRESETS[preset]
    code, _, err = ask(capsys, "extract", clip, "--out", tmp_path / "out", "--preset", preset, "--quiet")
    assert (code, err) == (0, "")
    stored = Store(tmp_path / "out")[clip]
    np.testing.assert_array_equal(stored, log_mel(load(clip, cfg.sr)[0], cfg))
    code, _, err = ask(capsys, "plot", clip, "--out", tmp_path / "a.png", "--preset", preset)
    assert (code, err, (tmp_path / "a.png").stat().st_size > 1000) == (0, "", True)


WRONG = {
    "--padding 200": "padding=200: must be two numbers",
    "--padding a,0": "--padding a: must be a number",
    "--padding -1,0": "padding=(-1, 0): must be two numbers",
    "--normalize x": "--normalize x: not JSON",
    "--normalize [1]": "--normalize [1]: give an object such as",
    '--normalize {"per":"row"}': "normalize: per='row': must be band or clip",
    "--log dB": "log='dB': must be db, ln, log10 or None",
    "--mean 1,2": "mean=(1, 2): must be a number, or one for each of n_mels=128 bands",
    "--std 0": "std=0: must be above 0",
    "--amin 0": "amin=0: must be above 0, as the logarithm of silence is infinite",
}


@pytest.mark.parametrize("options", WRONG)
def test_a_wrong_value_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: str) -> None:
    clip = write(tmp_path / "a.wav", tone())
    code, _, err = ask(capsys, "extract", clip, "--out", tmp_path / "out", *options.split())
    (line,) = err.splitlines()
    assert code == 2
    assert line.startswith(f"cumel: {WRONG[options]}")


@pytest.mark.parametrize(("preset", "reason"), [("kaldi", "remove_dc=True"), ("espnet", "log=ln, not db")])
def test_librosa_does_not_verify_what_it_has_no_words_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], preset: str, reason: str
) -> None:
    code, _, err = ask(capsys, "verify", write(tmp_path / "a.wav", tone()), "--preset", preset)
    assert code == 2
    assert re.search(f"^cumel: librosa.* cannot express .*{reason}", err, re.M)
    assert "Traceback" not in err
