"""NumPy arrays in host memory, without torch: by the path in C++, or by NumPy's FFT where that path is not there."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import native, numpy_fft
from .arrays import Lengths, check_array, check_layout, check_output, feature_shape, host_lengths, rows_first
from .config import FeatureConfig
from .filterbank import dct_matrix
from .kinds import Feature
from .native import Clips


def computes(cfg: FeatureConfig) -> bool:
    """Tell whether this module computes NumPy arrays of a config: where the C++ path does, or torch is not there."""
    return native.computes(cfg) or find_spec("torch") is None


def compute(
    feature: Feature, y: NDArray[Any], cfg: FeatureConfig, lengths: Lengths, out: NDArray[Any] | None, dtype: str | None
) -> NDArray[Any]:
    """Check ``y`` [..., n_samples], and compute a feature of it; see `features` for what is taken and returned."""
    check_array(y)
    if lengths is None:
        check_layout(y.shape, cfg)
    n_samples, packed = host_lengths(lengths, y.shape, cfg)
    longest = y.shape[-1]
    shape = feature_shape(y.shape, n_samples, feature.n_rows(cfg), cfg, packed=packed)
    if out is not None:
        check_output(out, y, shape, dtype or feature.dtype)
    if 0 in y.shape[:-1]:
        return np.empty(shape, dtype or feature.dtype) if out is None else out
    samples = np.asarray(y) if packed else np.asarray(y).reshape(-1, longest)
    if cfg.time_major and out is None:
        out = np.empty(shape, dtype or feature.dtype)
    flat = None if out is None else rows_first(out.reshape(-1, *shape[-2:]), cfg)
    # An `out` whose batch axes cannot be joined without a copy, or that may overlap the samples, is filled at the end.
    direct = flat is not None and np.may_share_memory(flat, out) and not np.may_share_memory(flat, samples)
    result = rows_first(of_clips(feature, Clips.of(samples, n_samples), cfg, flat if direct else None, dtype), cfg)
    if out is None:
        return result.reshape(shape)
    if not direct:
        out[...] = result.reshape(shape)
    return out


def of_clips(
    feature: Feature, clips: Clips, cfg: FeatureConfig, out: NDArray[Any] | None = None, dtype: str | None = None
) -> NDArray[Any]:
    """Compute a feature of a batch.

    Parameters
    ----------
    feature : Feature
    clips : Clips
    cfg : FeatureConfig
    out : ndarray [n_clips, n_rows, n_frames], optional
        Where the result goes; of any strides, and of the result's dtype.
    dtype : str, optional
        dtype of the result; None: the feature's.

    Returns
    -------
    ndarray [n_clips, n_rows, n_frames]
    """
    backend = native if native.computes(cfg) else numpy_fft
    kind = dtype or feature.dtype
    if feature.function == "mel_image":
        shape = (len(clips.lengths), cfg.n_mels, cfg.n_frames(clips.longest))
        image = out if out is not None and out.flags.c_contiguous else np.empty(shape, np.uint8)
        image.fill(0)  # past a clip's end, where the backends write nothing
        backend.compute(clips, cfg, feature.stage, image=image)
        result: NDArray[Any] = image
    elif feature.function == "mfcc":
        result = _cepstra(backend.compute(clips, cfg, feature.stage), clips.lengths, cfg)
    else:
        into = out if out is not None and out.dtype == feature.dtype else None
        result = backend.compute(clips, cfg, feature.stage, into)
    if out is None:
        return result.astype(kind, copy=False)
    if result is not out:
        out[...] = result
    return out


@lru_cache(maxsize=32)
def _dct(cfg: FeatureConfig) -> NDArray[np.float32]:
    return dct_matrix(cfg).astype(np.float32)


def _cepstra(log_mel: NDArray[np.float32], lengths: NDArray[np.int64], cfg: FeatureConfig) -> NDArray[np.float32]:
    """Compute [n_clips, n_mfcc, n_frames] of a log-mel spectrogram [n_clips, n_mels, n_frames]."""
    out = np.empty((len(log_mel), cfg.n_mfcc, log_mel.shape[2]), np.float32)
    for clip, n_frames in enumerate(map(cfg.n_frames, lengths.tolist())):  # The shape of the clip alone gives its bits.
        out[clip, :, :n_frames] = _dct(cfg) @ np.ascontiguousarray(log_mel[clip, :, :n_frames])
        out[clip, :, n_frames:] = _dct(cfg) @ np.ascontiguousarray(log_mel[clip, :, n_frames:][:, :1])
    return out
