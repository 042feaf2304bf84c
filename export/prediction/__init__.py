"""Recordings to labels."""

from typing import TYPE_CHECKING

from ...kernels.lazy import lazily

if TYPE_CHECKING:
    from .aggregate import AGGREGATES, THRESHOLD, Event, aggregated, check_aggregate, events_of, with_events
    from .call import Source, Target
    from .classifier import BATCH_SIZES, Counts, Prediction, check_call, classify, predict
    from .events import check_events, events_into
    from .loaded import Predictor, load
    from .raw_stream import RawFormat, segments_of_raw
    from .rows import STDOUT, rows_into
    from .segments import Segment, segments_of

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
