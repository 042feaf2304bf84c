"""Python's own values for those of NumPy, torch or any other library, and how a message shows them."""

from __future__ import annotations

from decimal import Decimal
from numbers import Real
from typing import Any

LONGEST = 60  # characters of a value in a message


def as_python(value: Any, *, whole: bool = False, real: bool = False) -> Any:
    """Return Python's own value for a scalar, or an array or tensor of one element; anything else as it is.

    Parameters
    ----------
    value : object
    whole, real : bool
        Whether a number is to be an int (when it is one), or a float.

    Examples
    --------
    >>> import numpy as np
    >>> as_python(np.float64(44100), whole=True), as_python(np.float32(20), real=True)
    (44100, 20.0)
    >>> as_python(np.str_("hann")), as_python(np.True_)
    ('hann', True)
    """
    item = getattr(value, "item", None)
    if callable(item) and not isinstance(value, type):
        try:
            value = item()
        except (TypeError, ValueError, RuntimeError):  # It has several elements, or none.
            return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool) or not isinstance(value, Real | Decimal) or not (whole or real):
        return value
    number: Any = value
    try:
        number = int(number) if whole else float(number)
    except (OverflowError, ValueError):  # It is infinite, no number, or beyond float64.
        return value
    return number if real or number == value else value


def shown(value: Any) -> str:
    """Return a value as one short line."""
    scalar = as_python(value)
    if callable(scalar):
        return getattr(scalar, "__name__", type(scalar).__name__)
    text = " ".join(repr(scalar).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def relative(ref: Any) -> str:
    """Say what to write instead of a librosa `ref` that is a function of the clip, such as np.max."""
    name = ref if isinstance(ref, str) else getattr(ref, "__name__", "ref")
    if name in ("max", "amax"):
        return "must be above 0; for librosa's ref=np.max take db - db.max() of each clip's db = log_mel(y, cfg)"
    function = f"np.{name}" if getattr(ref, "__module__", None) == "numpy" else "ref"
    level = f"np.log10(max(cfg.least, {function}(melspectrogram(y, cfg))))"
    return f"must be above 0; for librosa's ref={function} take log_mel(y, cfg) - cfg.db_per_decade * {level} per clip"
