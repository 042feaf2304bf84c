"""Recordings to labels."""

from typing import TYPE_CHECKING

from ...kernels.lazy import lazily

if TYPE_CHECKING:
    from .classifier import BATCHES, Result, Tally, check_call, classify, predict
    from .raw_stream import HEADERS, Format, hear
    from .rows import STDOUT, format_of, rows_into
    from .segments import Heard, listen

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
