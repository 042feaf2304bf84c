"""Audio files: decode, mix down, resample, fit to a length; what is damaged is named."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .formats.extensions import EXTENSIONS
    from .recording import Samples, fit_length, load, load_all, resample

__all__ = ["EXTENSIONS", "Samples", "fit_length", "load", "load_all", "resample"]


def __getattr__(name: str) -> Any:
    """Import decoders when they are asked for: resampling on a device needs none."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "EXTENSIONS":
        from .formats.extensions import EXTENSIONS

        return EXTENSIONS
    from . import recording

    return getattr(recording, name)
