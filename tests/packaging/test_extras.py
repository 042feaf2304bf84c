"""NumPy alone does what it has to; each extra is complete; and what is missing is named in one line."""

import json
import re
from pathlib import Path

import pytest

from support.environments import closure, environment, run
from support.onnx_models import HZ, save_waveform
from support.recordings import tiny_recipe, tone, write

HERE = Path(__file__).parent
COMMANDS = {  # calls that end before they do anything, with the extra that they need
    "synth data --classes 0": "train",
    "download data --url nowhere:": "train",
    "extract no.wav --out store": "extract",
    "convert no --to npy --out files": "extract",
    "verify no.wav": "verify",
    "train --data no --out run": "train",
    "evaluate no --data no": "train",
    "cross-validate --data no --out runs": "train",
    "export no --out model.onnx": "export",
    "predict no.onnx no.wav": "predict",
    "web no.onnx --out site": "export",
    "plot no.wav --out picture.png": "plot",
    "doctor --json": "cli",
}
RUN_THEM = """
import contextlib, io, json, sys
from cumel.esc50.cli import main
said = {}
for call in sys.argv[1:]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(call.split())
    said[call] = code, err.getvalue(), out.getvalue()
print(json.dumps(said))
"""


def test_numpy_alone(tmp_path: Path) -> None:
    assert closure() == {"numpy"}
    done = run(environment(tmp_path / "site", closure()), HERE / "bare.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("NumPy ")


@pytest.mark.parametrize("extra", ["cli", "plot", "extract", "verify", "train", "predict", "export"])
def test_an_extra_has_all_that_its_commands_need(extra: str, tmp_path: Path) -> None:
    packages = closure(extra)
    done = run(environment(tmp_path / "site", packages), "-c", RUN_THEM, *COMMANDS)
    assert done.returncode == 0, done.stderr
    for call, (code, said, out) in json.loads(done.stdout).items():
        remedy = re.search(r"pip install '(.*)'$", said)
        complete = closure(COMMANDS[call]) <= packages
        assert not (complete and remedy), said
        assert complete or remedy or extra != "cli", call
        if remedy:
            assert (code, said.count("\n"), remedy[1]) == (3, 1, f"cumel[{COMMANDS[call]}]"), said
        if call.startswith("doctor"):
            checks = {check["name"]: check for check in json.loads(out)["checks"]}
            assert code == 0, out
            assert checks[f"cumel[{extra}]"]["state"] == "ok"
            assert (checks["cumel[train]"]["state"] == "ok") == (closure("train") <= packages)


PREDICT = """
import sys
from cumel.esc50.cli import main
code = main(sys.argv[1:])
print([name for name in ("torch", "pyarrow", "matplotlib") if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize("options", [(), ("--hop-seconds", "0.5"), ("--route", "graph")], ids=" ".join)
def test_predict_is_the_same_without_torch(options: tuple[str, ...], tmp_path: Path) -> None:
    """Also where torch, Arrow and matplotlib are installed, none of them is imported."""
    model = save_waveform(tmp_path / "model.onnx", tiny_recipe())
    for number, (seconds, sr) in enumerate([(0.4, 8000), (1.0, 16000), (2.3, 44100)]):
        write(tmp_path / "clips" / f"{number}.wav", tone(seconds, sr, list(HZ.values())[number]), sr)
    call = ("-c", PREDICT, "predict", model, tmp_path / "clips" / "*.wav", "--format", "jsonl", *options)
    light = run(environment(tmp_path / "site", closure("predict")), *call)
    whole = run(environment(tmp_path / "all", closure("all")), *call)
    for done in (light, whole):
        assert done.returncode == 0, done.stderr
        assert done.stderr.splitlines()[-1] == "[]"
    assert light.stdout == whole.stdout
    assert len(light.stdout.splitlines()) == (3 if "--hop-seconds" not in options else 6)


def test_a_picture_names_its_extra(tmp_path: Path) -> None:
    site = environment(tmp_path / "site", closure("predict"))
    write(tmp_path / "a.wav", tone())
    model = save_waveform(tmp_path / "model.onnx", tiny_recipe())
    done = run(site, "-c", PREDICT, "predict", model, "a.wav", "--plot", "a.png")
    assert done.returncode == 3
    assert done.stderr.startswith("cumel: matplotlib is not installed: pip install 'cumel[plot]'\n")
