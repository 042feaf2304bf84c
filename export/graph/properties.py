"""Reading of a file's properties, which may come from anywhere: each is checked, and an error names it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ...kernels import CumelError

MAX_TEXT = 1 << 20  # characters per property
MAX_QUOTED = 200  # characters of a property that an error quotes


def text_of(props: Mapping[str, str], name: str) -> str:
    """Return a property that must be there, and of no absurd length."""
    if name not in props:
        raise CumelError(f"metadata: {name} is missing")
    if len(props[name]) > MAX_TEXT:
        raise CumelError(f"metadata: {name} is {len(props[name])} characters long, {MAX_TEXT} at most")
    return props[name]


def one_of(props: Mapping[str, str], name: str, known: tuple[str, ...]) -> str:
    """Return a property that is one of the known words."""
    text = text_of(props, name)
    if text not in known:
        raise CumelError(f"metadata: {name} is {text[:MAX_QUOTED]!r}, not one of {', '.join(known)}")
    return text


def value_of(props: Mapping[str, str], name: str) -> Any:
    """Return what a property of JSON holds."""
    try:
        return json.loads(text_of(props, name), parse_constant=_refuse)
    except CumelError:
        raise
    except (ValueError, RecursionError) as error:
        raise CumelError(f"metadata: {name} is not JSON ({str(error)[:MAX_QUOTED]})") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def count_of(props: Mapping[str, str], name: str) -> int:
    """Return a property that is a whole number, 0 or more."""
    value = value_of(props, name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 31:
        raise CumelError(f"metadata: {name} is not a whole number, 0 or more")
    return value


def mapping_of(props: Mapping[str, str], name: str, kind: type) -> dict[str, Any]:
    """Return a property that maps names to texts or finite numbers."""
    values = value_of(props, name)
    fit = isinstance(values, dict) and all(isinstance(value, kind) for value in values.values())
    if not fit or (kind is float and not all(map(math.isfinite, values.values()))):
        raise CumelError(f"metadata: {name} does not map names to {'texts' if kind is str else 'numbers'}")
    return values
