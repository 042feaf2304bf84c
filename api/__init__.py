"""cumel: recordings to log-mel features, to a trained network, to ONNX, to labels. All public names are here.

Each is imported when it is first used: describing a feature needs no torch.
"""

from typing import TYPE_CHECKING

from .kernels.lazy import lazily

if TYPE_CHECKING:
    from . import kaldi as kaldi, pretrained as pretrained
    from .esc50.audio import load as load_audio
    from .esc50.datasets import Dataset as Dataset
    from .esc50.datasets.stored import extract as extract
    from .esc50.store import FeatureDataset as FeatureDataset, Store as Store, pad as pad
    from .esc50.training import RECIPES as RECIPES, evaluate as evaluate, train as train
    from .export import (
        Interface as Interface,
        Session as Session,
        export_frontend as export_frontend,
        export_module as export_module,
        export_onnx as export_onnx,
        load as load,
        predict as predict,
        write_site as write_site,
    )
    from .kernels import (
        PRESETS as PRESETS,
        CumelError as CumelError,
        FeatureConfig as FeatureConfig,
        FrontEnd as FrontEnd,
        InputError as InputError,
        LogMel as LogMel,
        Normalize as Normalize,
        UnavailableError as UnavailableError,
        log_mel as log_mel,
        mel_image as mel_image,
        melspectrogram as melspectrogram,
        mfcc as mfcc,
        spectrogram as spectrogram,
        stft as stft,
    )

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
