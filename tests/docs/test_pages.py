"""Every command and every line of Python in the README and in docs/ runs, on small synthetic recordings.

What cannot run here is in `PARSED` or `COMPILED`, each with the reason. A command there is parsed by the program that
it is for, and the scripts, folders, targets and extras that it names must be there.
"""

import ast
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch
from onnx import TensorProto, helper, numpy_helper

from cumel.esc50.cli import main
from cumel.esc50.training.recipes import RECIPES

from support.documents import PAGES, Block, blocks, check, text_of
from support.exported import lively_run
from support.recordings import tiny_recipe, tone, write, write_dataset

PARSED = {  # beginnings of commands that are parsed, and why they do not run
    "make ": "minutes, or a GPU; CI runs demo, test and check",
    "pip install": "installs",
    "pytest ": "this is what runs here",
    "python bench/": "minutes of measuring; tests/bench runs the scripts on little",
    "python -m http.server": "serves until it is stopped",
    "torchrun ": "two processes; tests/training/test_distributed.py runs them",
    "arecord ": "a microphone; tests/export/test_raw_stream.py feeds a stream",
    "ffmpeg ": "a film; tests/export/test_raw_stream.py feeds a stream",
    "cumel download ": "600 MB; tests/datasets/test_download.py has a server of its own",
    "cumel synth ": "400 clips of 5 s; tests/datasets/test_synth.py makes fewer",
    "cumel cross-validate ": "ten trainings; tests/training runs it",
    "cumel export runs/first --out model.onnx": "the fixture `base` has run it",
    "cumel export runs/first --out small.onnx": "int8; tests/export/test_precision.py has a network for it",
    "cumel export runs/first --out half.onnx": "seconds; tests/export/test_precision.py",
    "cumel export runs/first --out image.onnx": "seconds; tests/export/test_export.py",
    "cumel export runs/first --out fixed.onnx": "seconds; tests/export/test_fitting.py",
    "cumel export runs/first --out old.onnx": "seconds; tests/export/test_opset.py",
    "cumel export runs/first --out wide.onnx": "seconds; tests/export/test_intake.py",
    "cumel export runs/first --out pcm.onnx": "seconds; tests/export/test_intake.py",
    "cumel export runs/first --triton": "seconds; tests/export/test_triton.py",
    "cumel web ": "npm's package; tests/web runs it",
    "cumel extract data/esc50/audio --out data/ray": "starts a cluster; tests/extraction/test_ray.py has one",
    "cumel doctor": "its exit code is that of the machine; tests/cli/test_doctor.py runs it",
}
COMPILED = {  # what such Python contains, and why it does not run
    "torch.cuda.": "needs a GPU; tests/export/test_io_binding.py runs it on one",
    "executorch": "converters bring a torch of their own; tests/kernels/test_portable.py has the module",
    "litert_torch": "as executorch",
    "coremltools": "as executorch",
}
README = "README.md"
SHAPES = {"x": ["n", 1, 64, 101], "y": ["n", 2]}  # of the file of another exporter that docs/onnx.md names
LANGUAGES = {"python", "console", "text"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the files that pages name: labelled sounds, recordings, a run, and the model file of that run."""
    folder = tmp_path_factory.mktemp("base")
    write_dataset(folder / "data" / "esc50", folds=5)
    rng = np.random.default_rng(0)
    for number, label in enumerate(("dog", "cat", "rain")):
        for take in range(10):
            y = tone(hz=300.0 * 2**number) + rng.normal(0, 0.01, 8000).astype(np.float32)
            write(folder / "sounds" / label / f"{take}.wav", y)
    write(folder / "dog.wav", tone(3.0, 44100, 500.0), 44100)
    for name in (
        "day.flac",
        "FOLDER/a.wav",
        "recordings/b.wav",
        *(f"clips/{take}.wav" for take in range(16)),
    ):
        y = tone(3.0, hz=500.0) + rng.normal(0, 0.01, 24000).astype(np.float32)
        write(folder / name, y)
    soundfile.write(folder / "cat.mp3", tone(1.0, 16000), 16000)
    lively_run(folder / "runs" / "first", tiny_recipe())
    assert main(["export", str(folder / "runs" / "first"), "--out", str(folder / "model.onnx")]) == 0
    write_foreign(folder / "theirs.onnx")
    return folder


@pytest.fixture
def workshop(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Go to a copy of these files, where the recipe `quick` trains in a second."""
    shutil.copytree(base, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(RECIPES, "quick", tiny_recipe())
    monkeypatch.setattr(torch, "compile", lambda net, **_: net)  # which takes a minute
    before = torch.random.get_rng_state()
    yield tmp_path
    torch.random.set_rng_state(before)


def write_foreign(path: Path) -> None:
    """Write a network from features [batch, 1, 64, 101] to two values, as another exporter does."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in SHAPES.items())
    weight = numpy_helper.from_array(np.random.default_rng(2).normal(0, 0.01, (64, 2)).astype(np.float32), "weight")
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "weight"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "theirs", [x], [y], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def reason(known: dict[str, str], text: str) -> str | None:
    return next((why for beginning, why in known.items() if text.startswith(beginning)), None)


def run(block: Block, names: dict[str, object]) -> None:
    """Run Python: a comment that begins with a shape is that of the value in its line, and a comparison is true."""
    lines = block.text.splitlines()
    for node in ast.parse(block.text).body:
        if not isinstance(node, ast.Expr):
            exec(compile(ast.Module([node], []), str(block), "exec"), names)
            value = names.get(getattr(getattr(node, "targets", [None])[0], "id", ""))
        else:
            value = eval(compile(ast.Expression(node.value), str(block), "eval"), names)
            if isinstance(node.value, ast.Compare):
                assert value, f"{block}: {ast.unparse(node)}"
        shape = re.search(r"# (\[[\d, ]+\])", lines[node.end_lineno - 1])
        if shape:
            assert list(np.shape(value)) == ast.literal_eval(shape[1]), f"{block}: {ast.unparse(node)}"


@pytest.mark.usefixtures("workshop")
@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    of_the_readme = {command for block in blocks(README) for command in block.commands()}  # each of them runs once
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{block}: name the language: {', '.join(sorted(LANGUAGES))}"
        if block.language == "python":
            if any(word in block.text for word in COMPILED):
                compile(block.text, str(block), "exec")
            else:
                run(block, names)
        elif block.language == "console":
            assert block.commands(), f"{block}: no line begins with $"
            for command in block.commands():
                check(command)
                if not (reason(PARSED, command) or (page != README and command in of_the_readme)):
                    program, *words = shlex.split(command)
                    assert program == "cumel", f"{block}: {command}"
                    code = main(words)
                    assert code == 0, f"{block}: {command}: exit code {code}\n{capsys.readouterr().err}"


def test_what_does_not_run_is_still_written_somewhere() -> None:
    commands = [command for page in PAGES for block in blocks(page) for command in block.commands()]
    unused = [beginning for beginning in PARSED if not any(command.startswith(beginning) for command in commands)]
    assert not unused, f"remove from PARSED: {unused}"
    pythons = [block.text for page in PAGES for block in blocks(page) if block.language == "python"]
    assert all(any(word in text for text in pythons) for word in COMPILED)


def rows_beside() -> list[tuple[str, str, str]]:
    """Return their call, ours and the difference of each line of the page of comparisons."""
    lines = re.findall(r"^\| `(.+?)` \| `(.+?)` \| (.+?) \|$", text_of("docs/coming-from.md"), re.MULTILINE)
    assert len(lines) >= 15
    return lines


@pytest.fixture(scope="module")
def shared_names() -> dict[str, object]:
    names: dict[str, object] = {}
    for block in blocks("docs/coming-from.md"):
        run(block, names)
    return names


@pytest.mark.usefixtures("workshop")
@pytest.mark.parametrize(("theirs", "ours", "by"), rows_beside())
def test_their_call_and_ours_agree(theirs: str, ours: str, by: str, shared_names: dict[str, object]) -> None:
    expected, actual = (np.asarray(eval(code, shared_names)) for code in (theirs, ours))
    scale = np.abs(expected).max() / 100 if by.endswith("%") else 1.0
    assert expected.shape == actual.shape
    difference = np.abs(expected - actual).max()
    assert difference <= float(by.rstrip(" %")) * scale, f"{difference / scale:.1e}"
