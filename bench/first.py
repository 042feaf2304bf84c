"""Runs the first minutes on a bare GPU machine: facts, a table of right and wrong, sanitizers, tests, times.

The machine needs python3 with NumPy, torch and CuPy, but neither this project installed nor a network. Each step has
its own time limit within the rest of the budget, and none ends the others. A step that lacks a program or package is
left out, with a line that says so. `--more` runs the steps that need librosa and soundfile, from a folder of wheels.
Logs, tables and rows go into one folder.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
PACKAGES = ("kernels", "esc50", "export")  # the project's folders, installed as cumel.<name>
BUDGET = 540.0  # seconds for all steps
LEAST = 5.0  # seconds that must be left for a step to begin
SANITIZERS = ("memcheck", "racecheck", "synccheck")
ENTRIES = ("frontend", "cut", "features", "finish", "statistics", "mfcc")  # our kernels; torch's are not checked
GPU_TESTS = ("tests/kernels/test_cuda.py", "tests/kernels/test_cuda_graphs.py")
SHOWN = 15  # last lines of a failed step's output, repeated at the end


@dataclass(frozen=True)
class Step:
    """One command."""

    name: str
    seconds: float
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()  # names of programs, and of modules as python:<name>
    environment: dict[str, str] = field(default_factory=dict)

    def lacking(self) -> list[str]:
        """Return the programs and modules that this machine lacks."""
        return [need for need in self.needs if not _is_installed(need)]


def _is_installed(need: str) -> bool:
    kind, _, name = need.rpartition(":")
    return find_spec(name) is not None if kind == "python" else shutil.which(name) is not None


def script(name: str, *options: str) -> tuple[str, ...]:
    """Return the command of a script in this folder."""
    return (sys.executable, str(BENCH / f"{name}.py"), *options)


def pytest(*options: str, report: Path) -> tuple[str, ...]:
    """Return the command that runs tests on the GPU, in several processes where pytest-xdist is installed."""
    several = ("-n", str(min(8, os.cpu_count() or 1))) if find_spec("xdist") else ()
    strict = ("-m", "gpu", "--require-gpu", "-q", "-W", "default", "--maxfail=40", "-p", "no:cacheprovider")
    return (sys.executable, "-m", "pytest", *options, *strict, *several, f"--junitxml={report}")


def sanitized(tool: str, *command: str, only: tuple[str, ...] = ENTRIES) -> tuple[str, ...]:
    """Return a command under a tool of compute-sanitizer that checks our kernels alone."""
    chosen = tuple(word for name in only for word in ("--kernel-regex", f"kne={name}"))
    return (
        "compute-sanitizer",
        "--tool",
        tool,
        "--report-api-errors",
        "no",
        "--error-exitcode",
        "9",
        *chosen,
        *command,
    )


def first(out: Path, backend: str, smoke: tuple[str, ...]) -> Iterator[Step]:
    """Yield the steps of a bare machine; those that find the most faults come first."""
    bare = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}  # torch's pool would hide accesses out of bounds
    yield Step("facts", 60, script("facts"))
    yield Step("smoke", 120, script("smoke", "--backend", backend, "--out", str(out / "smoke.csv"), *smoke))
    for tool in SANITIZERS:
        yield Step(tool, 60, sanitized(tool, *script("gpu", "--check-only")), ("compute-sanitizer",), bare)
    yield Step("tests", 180, pytest(*GPU_TESTS, report=out / "tests.xml"), ("python:pytest",))
    yield Step("calls", 30, script("calls"))
    yield Step("host", 30, script("calls", "--device", "cpu"))
    presets = ("--presets", "esc50", "whisper", "--batches", "1", "256", "4096")
    yield Step("features", 90, script("features", "--device", "cuda", *presets))
    yield Step("levers", 40, script("gpu"))
    kernels = ("-k", "regex:^(frontend|finish)$", "-c", "3")
    profile = ("ncu", "--set", "full", *kernels, "-f", "-o", str(out / "frontend"))
    yield Step("ncu", 60, (*profile, *script("one_launch")), ("ncu",))


def more(out: Path) -> Iterator[Step]:
    """Yield the steps that also need librosa or soundfile."""
    cases = ("tests/kernels/test_librosa_cases.py", "tests/audio/test_resampling.py", "tests/kernels/test_features.py")
    librosa, soundfile = "python:librosa", "python:soundfile"
    yield Step(
        "librosa's cases", 150, pytest(*cases, report=out / "librosa.xml"), ("python:pytest", librosa, soundfile)
    )
    yield Step("accuracy", 60, script("accuracy", "--device", "cuda"), (librosa,))
    yield Step("extract", 60, script("extract", "--device", "cuda"), (librosa, soundfile))
    yield Step("scaling", 90, script("scaling", "--device", "cuda"))
    yield Step("train", 150, script("train", "--recipe", "best", "--device", "cuda"), (soundfile,))
    chosen = ("-m", "gpu", "-k", "a_graph or graphed", "-q", "-W", "default")
    tests = (sys.executable, "-m", "pytest", "tests/kernels/test_cuda_graphs.py", *chosen)
    yield Step("memcheck of graphs", 60, sanitized("memcheck", *tests), ("compute-sanitizer", "python:pytest"))


def importable(place: Path, wheels: Path | None) -> dict[str, str]:
    """Return an environment in which `import cumel` finds this checkout, beside the wheels; needs no network."""
    (place / "cumel").mkdir()
    for name in PACKAGES:
        (place / "cumel" / name).symlink_to(ROOT / name, target_is_directory=True)
    paths = sorted(str(wheel) for wheel in wheels.glob("*.whl")) if wheels is not None and wheels.is_dir() else []
    if paths:
        pip = (sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", "--target")
        subprocess.run([*pip, str(place), *paths], check=False)
    before = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(place), *([before] if before else [])])}


def run(step: Step, limit: float, environment: dict[str, str], log: Path) -> tuple[str, str]:
    """Run a step, and return its outcome and the end of its output."""
    missing = step.lacking()
    if missing:
        return f"left out: no {', '.join(name.rpartition(':')[2] for name in missing)}", ""
    with log.open("a+b") as file:
        file.write(f"\n===== {step.name}: {' '.join(step.command)}\n".encode())
        file.flush()  # the step appends to the same file
        begin = file.tell()
        variables = os.environ | environment | step.environment
        process = subprocess.Popen(
            step.command, stdout=file, stderr=subprocess.STDOUT, env=variables, cwd=ROOT, start_new_session=True
        )
        try:
            state = f"exit code {process.wait(timeout=limit)}"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)  # its children too: the program under a sanitizer would go on
            process.wait()
            state = f"stopped after {limit:.0f} s"
        file.seek(begin)
        output = file.read().decode(errors="replace")
    print(output, end="", flush=True)
    return ("ok" if state == "exit code 0" else state), "\n".join(output.rstrip().splitlines()[-SHOWN:])


def main() -> int:
    """Run the steps, and return the exit code: 0 when each of them is ok, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=BENCH / "gpu-first", help="folder for logs, tables and rows")
    parser.add_argument("--more", action="store_true", help="run the steps that need librosa and soundfile instead")
    parser.add_argument(
        "--wheels", type=Path, default=ROOT / "wheels", help="folder of wheels to install beside, if any"
    )
    parser.add_argument("--backend", choices=("cuda", "emulator", "cpu"), default="cuda", help="backend of the table")
    parser.add_argument("--smoke", nargs=argparse.REMAINDER, default=[], help="options of smoke.py, last in the call")
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds for all steps together")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    log, began, table, ends = out / "log.txt", time.monotonic(), [], []
    log.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as place:
        kept = {"PYTHONUNBUFFERED": "1", "CUMEL_BENCH_RESULTS": str(out), "CUPY_CACHE_DIR": f"{place}/kernels"}
        environment = importable(Path(place), options.wheels) | kept
        sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)  # `lacking` looks for modules here
        steps = more(out) if options.more else first(out, options.backend, tuple(options.smoke))
        for step in steps:
            start = time.monotonic()
            left = options.budget - (start - began)
            print(f"===== {step.name}", flush=True)
            state, end = (
                run(step, min(step.seconds, left), environment, log) if left > LEAST else ("left out: no time", "")
            )
            table.append(f"{step.name:20}{time.monotonic() - start:6.0f} s  {state}")
            ends += [f"\n----- {step.name}: {state}", end] if end and state != "ok" else []
    summary = "\n".join([*ends, "", *table, f"{time.monotonic() - began:.0f} s; everything is in {options.out}"])
    print(summary)
    with log.open("a") as file:
        file.write(summary + "\n")
    return 0 if all(line.endswith("  ok") for line in table) else 1


if __name__ == "__main__":
    raise SystemExit(main())
