"""What is optional: which extra of the package each part of it needs, and the one line that says so.

`pip install cumel` brings NumPy alone. The faces of packages (`lazy`), and every function that imports a package of an
extra, turn a failed import into a `MissingExtraError` here.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from .errors import MissingExtraError

# The longest name of a part counts. Where a part imports another, the error names the extra of the one that was
# asked for: `cumel.train` says train, although it is torch that its networks miss.
EXTRAS = {
    "cumel.kernels": "torch",
    "cumel.kernels.launcher": "gpu",
    "cumel.esc50.audio": "audio",
    "cumel.esc50.inputs": "audio",
    "cumel.esc50.store": "extract",
    "cumel.esc50.store.formats": "convert",
    "cumel.esc50.extraction": "extract",
    "cumel.esc50.extraction.ray": "ray",
    "cumel.esc50.datasets": "train",
    "cumel.esc50.datasets.stored": "extract",
    "cumel.esc50.reports": "plot",
    "cumel.esc50.training": "train",
    "cumel.esc50.baseline": "train",
    "cumel.esc50.verify": "verify",
    "cumel.esc50.cli": "cli",
    # The commands, for what they need of parts that have no extra of their own.
    "cumel.esc50.cli.synth": "train",
    "cumel.esc50.cli.download": "train",
    "cumel.esc50.cli.extract": "extract",
    "cumel.esc50.cli.convert": "extract",
    "cumel.esc50.cli.verify": "verify",
    "cumel.esc50.cli.train": "train",
    "cumel.esc50.cli.evaluate": "train",
    "cumel.esc50.cli.cross-validate": "train",
    "cumel.esc50.cli.export": "export",
    "cumel.esc50.cli.frontend": "export",
    "cumel.esc50.cli.predict": "predict",
    "cumel.esc50.cli.web": "export",
    "cumel.esc50.cli.plot": "plot",
    "cumel.export.graph": "export",
    "cumel.export.to_front_end": "export",
    "cumel.export.to_module": "export",
    "cumel.export.to_onnx": "export",
    "cumel.export.written": "export",
    "cumel.export.check": "export",
    "cumel.export.web": "export",
    "cumel.export.runtime": "predict",
    "cumel.export.runtime.io_binding": "gpu",
    "cumel.export.prediction": "predict",
    "cumel.pretrained.nemo": "pretrained",
    "cumel.pretrained.originals": "pretrained",
    "cumel.pretrained.wrapping": "pretrained",
}


def extra_of(part: str) -> str | None:
    """Return the extra that a part of the package needs, by its full name; None for one that needs none."""
    while part:
        if part in EXTRAS:
            return EXTRAS[part]
        part = part.rpartition(".")[0]
    return None


def need(module: str, part: str) -> Any:
    """Import a module for a part of the package, which is one of `EXTRAS` or below it.

    Raises
    ------
    MissingExtraError
        When the module, or one that it imports, is not installed; says how to install it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise explained(error, part, module) from None


class Later:
    """A module of an extra, imported when one of its names is first used; `need` says what is missing then.

    For a module of ours that does without it most of the time.
    """

    def __init__(self, module: str, part: str) -> None:
        self._module, self._part = module, part

    def __getattr__(self, name: str) -> Any:
        return getattr(need(self._module, self._part), name)


def explained(error: ImportError, part: str, module: str = "") -> ImportError:
    """Return the error for a part of the package that failed to import `module`: itself where no extra mends it."""
    package, extra = (error.name or module).partition(".")[0], extra_of(part)
    if not extra or package in sys.stdlib_module_names or package in ("", __name__.partition(".")[0]):
        return error
    if isinstance(error, MissingExtraError):
        fault = error.fault
    elif isinstance(error, ModuleNotFoundError):
        fault = f"{package} is not installed"
    else:
        fault = f"{package} cannot be imported ({' '.join(str(error).split())})"
    mended = MissingExtraError(f"{fault}: pip install 'cumel[{extra}]'")
    mended.name, mended.fault, mended.extra = package, fault, extra
    return mended
