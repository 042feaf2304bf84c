"""The shape of the project: who imports whom, how long a file may be, and that the examples in docstrings run."""

import ast
import doctest
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import cumel.esc50
import cumel.export
import cumel.kernels

ROOT = Path(__file__).parents[1]
PACKAGES: dict[str, ModuleType] = {p.__name__: p for p in (cumel.kernels, cumel.esc50, cumel.export)}
FOLDERS = {name: Path(package.__path__[0]) for name, package in PACKAGES.items()}
MODULES = {
    ".".join((name, *path.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__"): path
    for name, folder in FOLDERS.items()
    for path in sorted(folder.rglob("*.py"))
}
SOURCES = ("*.py", "*.cu", "*.cuh", "*.hpp", "*.js")
MAX_LINES = 300
MAX_TRAIN_LINES = 250
OPTIONAL = "cupy"  # a package that a machine without a GPU does without

# Who may import what: the modules in which the import is allowed, by the beginning of their name.
ALLOWED = {
    "cumel.esc50": ("cumel.esc50", "cumel.export"),
    "cumel.esc50.training.loop": ("cumel.esc50",),
    "cumel.export": ("cumel.export", "cumel.esc50.cli"),
    "cupy": ("cumel.kernels", "cumel.export.runtime.session"),
    "onnx": ("cumel.export",),
    "onnxscript": ("cumel.export",),
    "onnxruntime": ("cumel.export",),
    "librosa": ("cumel.esc50.verify",),
    "tests": (),
    "bench": (),
}


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def imports(path: Path, module: str) -> Iterator[str]:
    """Yield the full name of everything that a file imports, anywhere in it."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            outer = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*outer, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (str(a.value) for a in node.args if isinstance(a, ast.Constant))


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_inwards(module: str) -> None:
    names = list(imports(MODULES[module], module))
    for package, importers in ALLOWED.items():
        if not any(within(module, importer) for importer in importers):
            assert [name for name in names if within(name, package)] == []


def test_imports_are_seen() -> None:
    assert "cumel.kernels.config.FeatureConfig" in imports(MODULES["cumel.kernels.features"], "cumel.kernels.features")
    assert "cumel.kernels.config.PRESETS" in imports(MODULES["cumel.kernels"], "cumel.kernels")
    assert any(
        within(name, "cumel.kernels")
        for name in imports(MODULES["cumel.esc50.training.loop"], "cumel.esc50.training.loop")
    )
    assert "librosa" in imports(ROOT / "tests" / "support" / "signals.py", "support.signals")


@pytest.mark.parametrize("module", [module for module in MODULES if within(module, "cumel.kernels")])
def test_kernels_know_no_file_format(module: str) -> None:
    roots = {name.split(".")[0] for name in imports(MODULES[module], module)}
    assert roots <= {*sys.stdlib_module_names, "cumel", "cupy", "cupy_backends", "numpy", "torch"}


def source_files() -> list[Path]:
    folders = [*FOLDERS.values(), ROOT / "tests", ROOT / "bench"]
    return [path for folder in folders for pattern in SOURCES for path in sorted(folder.rglob(pattern))]


def n_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_file_is_too_long() -> None:
    lengths = {str(path): n_lines(path) for path in source_files()}
    assert len(lengths) > len(MODULES)
    assert {path: n for path, n in lengths.items() if n > MAX_LINES} == {}
    assert n_lines(MODULES["cumel.esc50.training.loop"]) <= MAX_TRAIN_LINES


def load(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] != OPTIONAL:
            raise
        pytest.skip(f"{module} needs {OPTIONAL}")


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_run(module: str) -> None:
    assert doctest.testmod(load(module), verbose=False).failed == 0


def test_there_are_examples_in_docstrings() -> None:
    finder = doctest.DocTestFinder()
    kernels = [module for module in MODULES if within(module, "cumel.kernels") and not module.endswith(".launcher")]
    assert sum(len(test.examples) for module in kernels for test in finder.find(load(module))) > 5


def test_describing_a_feature_needs_no_torch() -> None:
    code = "import sys, cumel.kernels; cumel.kernels.FeatureConfig(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
