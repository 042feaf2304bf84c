"""Pictures and pages."""

from typing import TYPE_CHECKING

from ...kernels.lazy import lazily

if TYPE_CHECKING:
    from .clips import draw_files, draw_results
    from .difference import plot_difference
    from .html import page, picture, table, write_cross_validation, write_report
    from .misheard import heard
    from .plots import MAX_CLIPS, check_picture, plot_confusion, plot_learning
    from .timeline import MOST_TRACKS, Track, plot_timelines

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
