"""The programs in a model card, and what runs them here: Python, Node, and by the environment's word a compiler.

CUMEL_ONNXRUNTIME: an unpacked release of ONNX Runtime, with include/ and lib/, for C++.
CUMEL_NODE_MODULES: a folder with onnxruntime-node; without it, Node runs onnxruntime-web, which `cumel web` has too.
CUMEL_RUST: a Cargo project that depends on ort and serde_json, whose src/main.rs is overwritten.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cumel.export.web.runtime import FILES, PACKAGE, runtime_files
from cumel.kernels import UnavailableError

from support.browser import lack

# onnxruntime-web's build for pages fetches the model, and asks Node for its modules by `require`, which a module lacks.
PAGE = """\
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
globalThis.require = createRequire(import.meta.url);
globalThis.fetch = async (path) => new Response(await readFile(path));
"""
SECONDS = 120  # time limit of one program; Rust and C++ are compiled first
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def programs(card: Path) -> dict[str, str]:
    """Return the programs in a card by their language."""
    return {language: text for language, text in FENCE.findall(card.read_text()) if language != "sh"}


def run(language: str, program: str, folder: Path) -> str:
    """Run a program in a folder, and return what it prints; skip the test where its runtime is not at hand."""
    return {"python": _python, "javascript": _javascript, "cpp": _cpp, "rust": _rust}[language](program, folder)


def _called(command: list[str], folder: Path, **variables: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | variables, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def _python(program: str, folder: Path) -> str:
    (folder / "program.py").write_text(program)
    return _called([sys.executable, "-W", "error", "program.py"], folder)


def _javascript(program: str, folder: Path) -> str:
    node, modules = shutil.which("node"), folder / "node_modules"
    if node is None:
        lack("there is no node here")
    modules.unlink(missing_ok=True) if modules.is_symlink() else shutil.rmtree(modules, ignore_errors=True)
    if installed := os.environ.get("CUMEL_NODE_MODULES"):
        modules.symlink_to(installed)
    else:
        program = program.replace("onnxruntime-node", PACKAGE, 1)
        _unpack(modules / PACKAGE)
    (folder / "page.mjs").write_text(PAGE)
    (folder / "program.mjs").write_text(program)
    return _called([node, "--import", "./page.mjs", "program.mjs"], folder)


def _unpack(package: Path) -> None:
    package.mkdir(parents=True)
    try:
        for name, content in runtime_files().items():
            (package / name).write_bytes(content)
    except UnavailableError as error:
        lack(str(error))
    (package / "package.json").write_text(json.dumps({"name": PACKAGE, "exports": f"./{FILES[0]}"}))


def _cpp(program: str, folder: Path) -> str:
    release, compiler = _named("CUMEL_ONNXRUNTIME"), shutil.which("g++")
    if compiler is None:
        lack("there is no g++ here")
    (folder / "program.cc").write_text(program)
    (library,) = sorted((release / "lib").glob("libonnxruntime.so*"))[:1]
    command = [compiler, "-std=c++17", "-Wall", f"-I{release / 'include'}", "program.cc", str(library), "-o", "program"]
    _called(command, folder)
    return _called([str(folder / "program")], folder, LD_LIBRARY_PATH=str(release / "lib"))


def _rust(program: str, folder: Path) -> str:
    project = _named("CUMEL_RUST")
    (project / "src" / "main.rs").write_text(program)
    return _called(["cargo", "run", "--quiet", "--offline", "--manifest-path", str(project / "Cargo.toml")], folder)


def _named(variable: str) -> Path:
    if variable not in os.environ:
        pytest.skip(f"{variable} names no folder")
    return Path(os.environ[variable])
