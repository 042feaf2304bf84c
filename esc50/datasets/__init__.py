"""Datasets: clips with labels and folds, of any layout that is known; ESC-50's archive; a synthetic one to try out."""

from typing import TYPE_CHECKING

from ...kernels.lazy import lazily

if TYPE_CHECKING:
    from .archive import ESC50_URL, LICENSE_NOTICE, download
    from .dataset import SPLITS, VALID, Clip, Dataset, Fold, held
    from .decoding import waveforms
    from .description import Description
    from .inputs import FEATURES
    from .kept import keep
    from .lengths import AUTO, Lengths, Measured, chosen
    from .stored import extract
    from .synth.dataset import synthesize

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
