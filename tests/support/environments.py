"""Environments with some packages alone: folders of links to what is installed here. Nothing is downloaded."""

import os
import subprocess
import sys
from functools import cache
from importlib import import_module
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

OURS = "cumel"
SAME = {"onnxruntime": "onnxruntime-gpu"}  # a package that is installed here in place of another


@cache
def closure(extra: str = "") -> set[str]:
    """Return the packages that `pip install cumel[extra]` brings on this machine, by what the packages declare."""
    found: set[tuple[str, str]] = set()
    waiting = [(OURS, extra)]
    while waiting:
        package, asked = waiting.pop()
        if (package, asked) in found or (here := _installed(package)) is None:
            continue
        found.add((package, asked))
        for requirement in map(Requirement, here.requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": asked}):
                waiting += [(requirement.name, inner) for inner in ("", *requirement.extras)]
    return {package for package, _ in found} - {OURS}


def _installed(package: str) -> Distribution | None:
    try:
        return distribution(package)
    except PackageNotFoundError:
        return distribution(SAME[package]) if package in SAME else None


def environment(folder: Path, packages: set[str]) -> Path:
    """Link ours and these packages into a folder, which `run` puts on the path in place of all site-packages."""
    ours = folder / OURS
    ours.mkdir(parents=True)
    for path in Path(import_module(OURS).__path__[0]).glob("*.py"):
        (ours / path.name).symlink_to(path)
    for room in ("kernels", "pretrained", "esc50", "export"):
        (ours / room).symlink_to(import_module(f"{OURS}.{room}").__path__[0])
    for package in packages | {OURS}:
        installed = _installed(package)
        assert installed is not None
        for top in {path.parts[0] for path in installed.files or () if path.parts[0] not in ("..", "__pycache__")}:
            link = folder / top
            if not link.exists() and (package != OURS or top.endswith(".dist-info")):
                link.symlink_to(str(installed.locate_file(top)))
    return folder


def run(site: Path, *arguments: str | Path) -> subprocess.CompletedProcess:
    """Run Python with the packages of an environment alone, warnings being errors."""
    variables = os.environ | {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-S", "-W", "error", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=variables, cwd=site.parent, check=False)
