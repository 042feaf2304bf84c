"""The front ends of pretrained models by their own names: Kaldi's functions, configuration files, extractors."""

from typing import TYPE_CHECKING

from ..kernels.lazy import lazily

if TYPE_CHECKING:
    from . import kaldi as kaldi
    from .files import config as config
    from .originals import Original as Original, original as original
    from .wrapping import wrap as wrap

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
