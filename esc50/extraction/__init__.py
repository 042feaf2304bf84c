"""Extraction of many recordings' features, on this machine or a Ray cluster."""

from typing import TYPE_CHECKING

from ...kernels.lazy import lazily

if TYPE_CHECKING:
    from .audit import check, holds_store
    from .local import extract, my_share
    from .ray.engine import extract_on_ray
    from .resume.fingerprint import fingerprint

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
