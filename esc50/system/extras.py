"""Libraries that only some commands need, and only some people install."""

from __future__ import annotations

import importlib
from typing import Any

from ...kernels import UnavailableError


def need(module: str, extra: str) -> Any:
    """Import a module of an extra of this package.

    Raises
    ------
    UnavailableError
        When it is not installed; says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UnavailableError(f"{module} cannot be imported ({error}); pip install 'cumel[{extra}]'") from None
