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

import cumel

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "cumel": "api",
    "cumel.kernels": "kernels",
    "cumel.esc50": "esc50",
    "cumel.export": "export",
    "cumel.pretrained": "pretrained",
}
PATHS = {name: Path(importlib.import_module(name).__path__[0]) for name in FOLDERS}
MODULES = {
    ".".join((name, *path.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__"): path
    for name, folder in PATHS.items()
    for path in sorted(folder.glob("*.py") if name == "cumel" else folder.rglob("*.py"))
}
PACKAGES = [name for name, path in MODULES.items() if path.name == "__init__.py"]
SOURCES = ("*.py", "*.cu", "*.cuh", "*.cc", "*.h", "*.hpp", "*.js")
MAX_LINES = 300
MAX_TRAIN_LINES = 250
OPTIONAL = "cupy"  # a package that a machine without a GPU does without
LOOP = "cumel.esc50.training.loop"

# Who may import what: the modules in which the import is allowed, by the beginning of their name.
ALLOWED = {
    "cumel.esc50": ("cumel.esc50", "cumel.export"),
    "cumel.export": ("cumel.export", "cumel.esc50.cli"),
    "cupy": ("cumel.kernels", "cumel.export.runtime.session"),
    "onnx": ("cumel.export",),
    "onnxscript": ("cumel.export",),
    "onnxruntime": ("cumel.export",),
    "librosa": ("cumel.esc50.verify",),
    "tests": (),
    "bench": (),
}

# The road of a clip: a room imports what lies before it, never what lies behind.
ROAD = (
    "cumel.kernels",
    "cumel.pretrained",
    "cumel.esc50.system",
    "cumel.esc50.audio",
    "cumel.esc50.inputs",
    "cumel.esc50.store",
    "cumel.esc50.extraction",
    "cumel.esc50.datasets",
    "cumel.esc50.reports",
    "cumel.esc50.training",
    "cumel.export.graph",
    "cumel.export.runtime",
    "cumel.export.check",
    "cumel.export.prediction",
    "cumel.export.web",
    "cumel.esc50.cli",
)
FACES = {room: set(importlib.import_module(room).__all__) for room in ROAD}


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


@pytest.mark.parametrize("module", [module for module in MODULES if module.split(".")[1:] not in ([], ["__main__"])])
def test_imports_point_inwards(module: str) -> None:
    names = list(imports(MODULES[module], module))
    for package, importers in ALLOWED.items():
        if not any(within(module, importer) for importer in importers):
            assert [name for name in names if within(name, package)] == []


def test_imports_are_seen() -> None:
    assert "cumel.kernels.config.FeatureConfig" in imports(MODULES["cumel.kernels.features"], "cumel.kernels.features")
    assert "cumel.kernels.presets.PRESETS" in imports(MODULES["cumel.kernels"], "cumel.kernels")
    assert any(within(name, "cumel.kernels") for name in imports(MODULES[LOOP], LOOP))
    assert "librosa" in imports(MODULES["cumel.esc50.verify"], "cumel.esc50.verify")


def room_of(name: str) -> str | None:
    return next((room for room in ROAD if within(name, room)), None)


@pytest.mark.parametrize("module", [module for module in MODULES if room_of(module)])
def test_a_room_imports_what_lies_before_it(module: str) -> None:
    before = ROAD[: ROAD.index(str(room_of(module))) + 1]
    entered = {room_of(name) for name in imports(MODULES[module], module)} - {None}
    assert entered <= set(before)


@pytest.mark.parametrize("module", [module for module in MODULES if module != "cumel"])
def test_rooms_are_entered_by_their_faces(module: str) -> None:
    others = [name for name in imports(MODULES[module], module) if room_of(name) not in (None, room_of(module))]
    past = [name for name in others if name.removeprefix(f"{room_of(name)}.").split(".")[0] not in FACES[room_of(name)]]
    assert past == []


def test_faces_are_seen() -> None:
    assert "log_mel" in FACES["cumel.kernels"]
    assert "Store" in FACES["cumel.esc50.store"]
    assert "launcher" not in FACES["cumel.kernels"]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_face_names_what_is_there(package: str) -> None:
    face = importlib.import_module(package)
    modules = {name.rpartition(".")[2] for name in MODULES if name.rpartition(".")[0] == package}
    for name in getattr(face, "__all__", []):
        value = getattr(face, name)
        assert isinstance(value, ModuleType) == (name in modules)  # a function would hide the module of its name
    assert set(getattr(face, "__all__", [])) <= set(dir(face))


def test_a_face_has_nothing_else() -> None:
    with pytest.raises(AttributeError, match="module 'cumel' has no attribute 'log_mels'"):
        _ = cumel.log_mels


@pytest.mark.parametrize("module", [module for module in MODULES if within(module, "cumel.kernels")])
def test_kernels_know_no_file_format(module: str) -> None:
    roots = {name.split(".")[0] for name in imports(MODULES[module], module)}
    assert roots <= {*sys.stdlib_module_names, "cumel", "cupy", "cupy_backends", "numpy", "torch"}


def test_what_tests_and_benchmarks_import_is_there() -> None:
    """Also inside functions that no test calls."""
    scripts = [path for folder in ("tests", "bench") for path in sorted((ROOT / folder).rglob("*.py"))]
    names = {name for path in scripts for name in imports(path, path.stem) if within(name, "cumel")}
    assert len(names) > 100
    assert [name for name in sorted(names - PATHS.keys()) if not _resolves(name)] == []


def _resolves(name: str) -> bool:
    package, _, last = name.rpartition(".")
    return name in MODULES or hasattr(load(package), last)


def source_files() -> list[Path]:
    folders = [*PATHS.values(), ROOT / "tests", ROOT / "bench"]
    return [path for folder in folders for pattern in SOURCES for path in sorted(folder.rglob(pattern))]


def n_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_file_is_too_long() -> None:
    lengths = {str(path): n_lines(path) for path in source_files()}
    assert len(lengths) > len(MODULES)
    assert {path: n for path, n in lengths.items() if n > MAX_LINES} == {}
    assert n_lines(MODULES[LOOP]) <= MAX_TRAIN_LINES


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
    code = "import sys, cumel; cumel.FeatureConfig(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
