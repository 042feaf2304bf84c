"""Everything between a file and a trained network; named after the first dataset it was made for."""

from typing import TYPE_CHECKING

from ..kernels.lazy import lazily

if TYPE_CHECKING:
    from .baseline import get_melspectrogram_db, spec_to_image
    from .training import ESC50Model

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
