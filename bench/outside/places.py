"""Environments with some packages alone, made once in a folder: by venv and pip, or by npm."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock

SECONDS = 900  # limit for one download and installation
DONE = "done"  # a file that an environment has once it is whole


class NoPlaceError(Exception):
    """An environment cannot be made here; the text says why."""


def of_user() -> Path:
    """Return the folder for environments in the user's cache, by the XDG Base Directory Specification."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "cumel" / "runtimes"


def python(root: Path, requirements: Sequence[str]) -> Path:
    """Return the interpreter of a virtual environment with these packages, which is made under `root` if missing.

    Raises
    ------
    NoPlaceError
        Where pip cannot install them.
    """

    def make(place: Path) -> None:
        _call([sys.executable, "-m", "venv", str(place)], place)
        pip = [str(_interpreter(place)), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        _call([*pip, *requirements], place)

    return _interpreter(_made(root, [f"python {sys.version}", *requirements], make))


def node(root: Path, packages: Sequence[str]) -> Path:
    """Return a folder with these npm packages in ``node_modules``, which is made under `root` if missing.

    Raises
    ------
    NoPlaceError
        Where there is no Node, or npm cannot install them.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise NoPlaceError("there is no node and npm here")

    def make(place: Path) -> None:
        # Scripts of packages would fetch more: onnxruntime-node's, the provider for CUDA.
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--prefix", str(place)]
        _call([npm, "install", *options, *packages], place)

    return _made(root, list(packages), make)


def _interpreter(place: Path) -> Path:
    return place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _made(root: Path, asked: list[str], make: Callable[[Path], None]) -> Path:
    place = root.resolve() / hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.with_suffix(".lock")):
        if not (place / DONE).exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            make(place)
            (place / DONE).write_text("\n".join(asked))
    return place


def _call(command: list[str], place: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd=place, timeout=SECONDS, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise NoPlaceError(f"{' '.join(command[-3:])}: {last}")
