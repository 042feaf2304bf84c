"""The script for a GPU machine's first minutes: every step is reached, none ends the others, and little is needed."""

import csv
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cumel.kernels import FeatureConfig

import first
import smoke

BENCH = Path(__file__).parents[2] / "bench"
# What a bare machine's python3 has: torch with what it needs, NumPy and CuPy.
BARE = (
    "torch", "torchgen", "functorch", "triton", "nvidia", "cuda", "numpy", "numpy.libs", "cupy", "cupyx", "sympy",
    "cupy_backends", "mpmath", "typing_extensions.py", "networkx", "jinja2", "markupsafe", "filelock", "fsspec",
)  # fmt: skip
MISSING = (
    "librosa",
    "soundfile",
    "soxr",
    "pyarrow",
    "rich",
    "typer",
    "onnx",
    "onnxruntime",
    "numba",
    "pytest",
    "scipy",
)
SCRIPTS = ("first", "facts", "smoke", "warm", "gpu", "calls", "features", "scaling", "one_launch", "run_all")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of a bare machine for ``python -S``; `cumel` is found as `first` has it found."""
    place = tmp_path_factory.mktemp("bare")
    site = Path(np.__file__).parents[1]
    for name in BARE:
        if (site / name).exists():
            (place / name).symlink_to(site / name)
    return {"PATH": os.environ["PATH"], "HOME": str(place)} | first.importable(place, None)


def python(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run without what is installed."""
    return subprocess.run([sys.executable, "-S", *map(str, arguments)], capture_output=True, text=True, env=environment)


def test_every_script_is_imported_on_a_bare_machine(bare: dict[str, str]) -> None:
    code = f"""
import importlib.util, sys
sys.path[:0] = [{str(BENCH)!r}]
for name in {MISSING}:
    assert importlib.util.find_spec(name) is None, name
for name in {SCRIPTS}:
    importlib.import_module(name)
import cumel.esc50.audio, cumel.esc50.system.faults, cumel.esc50.system.compiling
print("imported")
"""
    done = python(bare, "-c", code)
    assert done.stdout.strip() == "imported", done.stderr


def test_the_table_is_made_on_a_bare_machine(bare: dict[str, str], tmp_path: Path) -> None:
    options = ("--backend", "cpu", "--plans", "small", "--features", "log_mel", "half", "--out", tmp_path / "table.csv")
    done = python(bare, BENCH / "smoke.py", *options)
    assert done.returncode == 0, done.stderr
    assert "cpu: 8 of 8 cases are right" in done.stdout


def arguments(monkeypatch: pytest.MonkeyPatch, out: Path, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", ["first.py", "--out", str(out), *options])


def test_every_step_is_reached_without_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What there is not is said; what fails is repeated at the end; the table is there, by the emulator."""
    arguments(
        monkeypatch, tmp_path, "--backend", "emulator", "--smoke", "--plans", "small", "--features", "log_mel", "mfcc"
    )
    kept = ("facts", "smoke", "memcheck", "ncu")
    shipped = first.first
    monkeypatch.setattr(
        first,
        "first",
        lambda *arguments: [step for step in shipped(*arguments) if step.name in kept or "sanitizer" in step.needs],
    )
    monkeypatch.setattr(first.shutil, "which", lambda name: None if name in ("ncu", "compute-sanitizer") else name)
    assert first.main() == 1
    said = capsys.readouterr().out
    assert "emulator: 8 of 8 cases are right" in said
    assert "left out: no compute-sanitizer" in said
    assert "left out: no ncu" in said
    for fact in ("python: ", "packages: torch", "tools: ", "CuPy's stream: ", "prime n_fft: ", "registers: "):
        assert fact in said
    assert [line.split()[0] for line in said.splitlines()[-6:-1] if line] == list(kept)
    log = (tmp_path / "log.txt").read_text()
    assert "everything is in" in log
    assert log.index("===== facts") < log.index("python: ") < log.index("===== smoke")
    rows = list(csv.DictReader((tmp_path / "smoke.csv").read_text().splitlines()))
    assert {row["state"] for row in rows} == {"ok"}
    assert len(rows) == 8


def steps(monkeypatch: pytest.MonkeyPatch, *each: first.Step) -> None:
    monkeypatch.setattr(first, "first", lambda *_: iter(each))


def step(name: str, code: str, seconds: float = 30.0, needs: tuple[str, ...] = ()) -> first.Step:
    return first.Step(name, seconds, (sys.executable, "-c", code), needs)


def test_a_step_that_fails_hangs_or_lacks_something_ends_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; print(1); time.sleep(60)'])"
    steps(
        monkeypatch,
        step("bad", "print('why'); raise SystemExit(3)"),
        step("hanging", child, seconds=1.5),
        step("lacking", "print('never')", needs=("python:no_such_module", "no-such-program")),
        step("good", "import cumel.kernels, os; print('variable', os.environ['CUMEL_BENCH_RESULTS'])"),
    )
    arguments(monkeypatch, tmp_path)
    began = time.monotonic()
    assert first.main() == 1
    assert time.monotonic() - began < 30
    said = capsys.readouterr().out
    assert "----- bad: exit code 3\nwhy" in said
    for line in ("exit code 3", "stopped after 2 s", "left out: no no_such_module, no-such-program", "ok"):
        assert line in said
    assert f"variable {tmp_path}" in said
    assert "never" not in said


def test_nothing_begins_when_the_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps(
        monkeypatch,
        step("first", "import time; time.sleep(60)"),
        step("second", f"open({str(tmp_path / 'ran')!r}, 'w')"),
    )
    arguments(monkeypatch, tmp_path, "--budget", str(first.LEAST + 0.5))
    assert first.main() == 1
    assert "left out: no time" in capsys.readouterr().out
    assert not (tmp_path / "ran").exists()


def test_all_that_goes_well_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps(monkeypatch, step("good", "pass"))
    arguments(monkeypatch, tmp_path)
    assert first.main() == 0


def test_our_kernels_alone_are_sanitized_and_every_script_has_its_options() -> None:
    steps = [*first.first(Path("out"), "cuda", ()), *first.more(Path("out"))]
    sources = "".join(path.read_text() for path in (BENCH.parent / "kernels").glob("*.cu"))
    assert all(f"{entry}(" in sources for entry in first.ENTRIES)
    assert sources.count('extern "C"') == len(first.ENTRIES)
    (ours,) = re.findall(r"^OURS := \$\(foreach entry,([^,]*),", (BENCH.parent / "Makefile").read_text(), re.MULTILINE)
    assert ours.split() == list(first.ENTRIES)
    assert {step.command[2] for step in steps if step.command[0] == "compute-sanitizer"} == set(first.SANITIZERS)
    tests = {word for step in steps for word in step.command if word.startswith("tests/")}
    kernels = BENCH.parent / "tests" / "kernels"
    assert {f"tests/kernels/{path.name}" for path in kernels.glob("test_cuda*.py")} == set(first.GPU_TESTS)
    assert all((BENCH.parent / test).exists() for test in tests)
    for step in steps:
        for word in step.command:
            if word.startswith(str(BENCH)) and word.endswith(".py"):
                text = Path(word).read_text()
                after = step.command[step.command.index(word) + 1 :]
                assert all(f'add_argument("{option}"' in text for option in after if option.startswith("--")), step.name
    assert (
        sum(step.seconds for step in first.first(Path("out"), "cuda", ()) if step.name in ("facts", "smoke"))
        < first.BUDGET
    )


def test_a_wrong_result_and_an_exception_are_rows() -> None:
    def wrong(feature: str, y: np.ndarray, cfg: FeatureConfig, lengths: list[int]) -> np.ndarray:
        if feature == "stft":
            raise RuntimeError("CUDA error: misaligned address\nmore")
        out = smoke.on_cpu(feature, y, cfg, lengths).copy()
        out[2, 3, 1] += 1
        return out

    each = [
        smoke.Case("small", feature, dtype, "many")
        for feature in ("stft", "mel_image", "log_mel")
        for dtype in smoke.DTYPES
    ]
    rows = list(smoke.table(each, wrong))
    assert [row[5] for row in rows[:2]] == ["FAILED", "FAILED"]
    assert rows[0][6] == "RuntimeError: CUDA error: misaligned address"
    assert {row[5] for row in rows[4:]} == {"WRONG"}
    assert all(float(row[4]) > 0.9 for row in rows[4:])
    nothing = next(smoke.table(each[4:5], lambda *given: np.full_like(smoke.on_cpu(*given), np.nan)))
    assert nothing[4:6] == ("nan", "WRONG")
