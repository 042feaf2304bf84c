"""Audio files: decode, mix down, resample, fit to a length; what is damaged is named."""

from .extensions import EXTENSIONS
from .recording import Samples, fit_length, load, load_all, resample

__all__ = ["EXTENSIONS", "Samples", "fit_length", "load", "load_all", "resample"]
