"""Datasets: ESC-50 and its layout, its archive, and a synthetic one to try everything with."""

from typing import TYPE_CHECKING

from ...kernels.lazy import lazily

if TYPE_CHECKING:
    from .archive import ESC50_URL, LICENSE_NOTICE, download
    from .esc50 import FEATURES, Esc50
    from .synth.dataset import synthesize

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
