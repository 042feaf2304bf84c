"""Audio files: decode, mix down, resample, fit to a length; what is damaged is named."""

from typing import TYPE_CHECKING

from ...kernels.lazy import lazily

if TYPE_CHECKING:
    from .formats.extensions import EXTENSIONS
    from .reading import BLOCK_BYTES, Clip, Header, Pcm, begin, beginning, read, resample_soxr, stream
    from .recording import HIGHEST_RATE, LOWEST_RATE, Samples, check_numbers, fit_length, load, load_all, mono, resample
    from .resampling import resample_clips, resample_on, resampled_length, resampler_on
    from .windowing import spans, windows

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
