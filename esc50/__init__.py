"""ESC-50: recordings, features in bulk, models and training."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .baseline import get_melspectrogram_db, spec_to_image
    from .training.models import ESC50Model

__all__ = ["ESC50Model", "get_melspectrogram_db", "spec_to_image"]


def __getattr__(name: str) -> Any:
    """Import the document's names when they are asked for: the command line starts without torch."""
    if name in ("get_melspectrogram_db", "spec_to_image"):
        from . import baseline

        return getattr(baseline, name)
    if name == "ESC50Model":
        from .training.models import ESC50Model

        return ESC50Model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
