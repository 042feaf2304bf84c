"""Waveform to features: librosa's log-mel spectrogram and its kin, on the CPU and on CUDA devices."""

from typing import TYPE_CHECKING

from .lazy import lazily

if TYPE_CHECKING:
    from . import (
        arrays as arrays,
        config as config,
        cores as cores,
        dft as dft,
        extras as extras,
        filterbank as filterbank,
        interchange as interchange,
        kinds as kinds,
        lazy as lazy,
        native as native,
        normalization as normalization,
        precision as precision,
        reference as reference,
        rules as rules,
        tensors as tensors,
        tolerance as tolerance,
    )
    from .config import FeatureConfig as FeatureConfig
    from .dispatch import unchecked_image as unchecked_image
    from .errors import (
        CumelError as CumelError,
        InputError as InputError,
        MissingExtraError as MissingExtraError,
        UnavailableError as UnavailableError,
    )
    from .extras import Later as Later, need as need
    from .features import (
        Array as Array,
        config_of as config_of,
        log_mel as log_mel,
        mel_image as mel_image,
        melspectrogram as melspectrogram,
        mfcc as mfcc,
        spectrogram as spectrogram,
        stft as stft,
    )
    from .layer import LogMel as LogMel
    from .portable import FrontEnd as FrontEnd
    from .presets import PRESETS as PRESETS
    from .rules import Normalize as Normalize

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
