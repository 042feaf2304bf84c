"""Faces of packages: public names that are imported when they are first asked for."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from .extras import explained


def lazily(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Make a package's ``__getattr__``, ``__dir__`` and ``__all__`` of the imports under its ``if TYPE_CHECKING:``.

    Type checkers read those imports as they stand; at run time each is made when its name is first used. So the names
    are written once, and ``import cumel`` needs no torch. A name whose packages are not installed is a
    `MissingExtraError` of one line.

    Parameters
    ----------
    package
        The package's ``__name__``.
    file
        The package's ``__file__``.
    """
    source = ast.parse(Path(file).read_text(encoding="utf-8"))
    guarded = next(node.body for node in source.body if isinstance(node, ast.If))
    imports = [node for node in guarded if isinstance(node, ast.ImportFrom)]
    origins = {
        alias.asname or alias.name: (resolve_name("." * node.level + (node.module or ""), package), alias.name)
        for node in imports
        for alias in node.names
    }

    def get(name: str) -> Any:
        if name not in origins:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        source, original = origins[name]
        is_module = source == package  # a module of the package
        try:
            if is_module:
                return import_module(f"{source}.{original}")
            # The name is looked up each time, not kept: a test that replaces it in its module is seen here, and undone.
            return getattr(sys.modules.get(source) or import_module(source), original)
        except ImportError as error:
            raise explained(error, f"{source}.{original}" if is_module else source) from None

    return get, lambda: sorted(origins), sorted(origins)
