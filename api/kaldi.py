"""`torchaudio.compliance.kaldi.fbank` and `mfcc`: the same arguments and numbers; batches, any device, gradients."""

from typing import TYPE_CHECKING

from .kernels.lazy import lazily

if TYPE_CHECKING:
    from .pretrained.kaldi import fbank as fbank, fbank_config as fbank_config, mfcc as mfcc

__getattr__, __dir__, __all__ = lazily(__package__, __file__)
