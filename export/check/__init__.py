"""Checks of a model file: its graph, its features, its answers."""

from typing import TYPE_CHECKING

from ...kernels.lazy import lazily

if TYPE_CHECKING:
    from .feeds import features_of, given
    from .model import BATCHES, check
    from .ragged import check_front_end

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
