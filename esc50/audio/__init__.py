"""Audio files: decode, mix down, resample, fit to a length; what is damaged is named."""

from typing import TYPE_CHECKING

from ...kernels.lazy import lazily

if TYPE_CHECKING:
    from .formats.extensions import BY_FFMPEG, EXTENSIONS
    from .formats.ffmpeg import installed as ffmpeg
    from .formats.opening import HIGHEST_RATE, LOWEST_RATE
    from .recording import BLOCK_BYTES, Header, Recording, Waveform, load, load_all
    from .resampling import resample_clips, resample_on, resampler_on
    from .samples import (
        Pcm,
        Samples,
        check_finite,
        fit_length,
        own_part,
        resample,
        resample_stream,
        resampled_length,
        to_mono,
    )
    from .windowing import Span, spans, windows

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
