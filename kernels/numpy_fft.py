"""The features by NumPy alone: without torch, where the path in C++ is missing or has no plan for the n_fft."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import not_finite
from .config import CHUNK_SAMPLES, FLAT_DB, INT16_SCALE, ROUNDED_UP, FeatureConfig
from .filterbank import mel_rows, window
from .native import Clips
from .plan import Stage, n_rows


def compute(
    clips: Clips,
    cfg: FeatureConfig,
    stage: Stage,
    out: NDArray[Any] | None = None,
    *,
    image: NDArray[np.uint8] | None = None,
) -> NDArray[Any]:
    """Compute a batch up to `stage`, as `native.compute` does; same parameters, result and errors."""
    lengths = clips.lengths.tolist()
    kind = np.complex64 if stage == Stage.SPECTRUM else np.float32
    shape = (len(lengths), n_rows(cfg, stage), cfg.n_frames(clips.longest))
    out = np.empty(shape, kind) if out is None else out
    for clip, (start, length) in enumerate(zip(clips.starts.tolist(), lengths, strict=True)):
        n_frames = cfg.n_frames(length)
        _transform(clips.samples.reshape(-1)[start : start + length], cfg, stage, out[clip, :, :n_frames])
        out[clip, :, n_frames:] = 0
        if stage == Stage.DECIBEL:
            if not np.isfinite(out[clip]).all():
                raise not_finite(clip, len(lengths))
            _decibels(out[clip], cfg)
            if image is not None:
                image[clip, :, :n_frames] = _stretched(out[clip, :, :n_frames])
    return out


def _transform(y: NDArray[Any], cfg: FeatureConfig, stage: Stage, out: NDArray[Any]) -> None:
    """Write the STFT, its magnitude or power, or mel values of one clip to ``out`` [n_rows, n_frames]."""
    samples = y.astype(np.float32) * np.float32(INT16_SCALE) if y.dtype == np.int16 else y
    padded = np.pad(samples, cfg.edges[0], mode=cfg.pad_mode) if cfg.edges[0] else samples
    frames = np.lib.stride_tricks.sliding_window_view(padded, cfg.n_fft)[:: cfg.hop_length]
    analysis, rows = window(cfg).astype(np.float32), mel_rows(cfg) if stage >= Stage.MEL else None
    step = max(1, CHUNK_SAMPLES // cfg.n_fft)
    for first in range(0, len(frames), step):
        spectrum = np.fft.rfft(frames[first : first + step] * analysis)
        part = out[:, first : first + step]
        if stage == Stage.SPECTRUM:
            part[...] = spectrum.T
            continue
        strength = np.abs(spectrum) if cfg.power == 1 else spectrum.real**2 + spectrum.imag**2
        if rows is None:
            part[...] = strength.T
        else:
            weighted = strength[:, rows.bins] * rows.weights.astype(np.float32)
            part[...] = np.add.reduceat(weighted, rows.offsets[:-1], axis=1).T


def _decibels(mel: NDArray[np.float32], cfg: FeatureConfig) -> None:
    """Turn the mel values of one clip into dB where they lie, at most `top_db` below their maximum."""
    np.maximum(mel, np.float32(cfg.least), out=mel)
    np.log10(mel, out=mel)
    mel *= np.float32(cfg.db_per_decade)
    if cfg.top_db is not None:
        np.maximum(mel, mel.max() - np.float32(cfg.top_db), out=mel)
    mel -= np.float32(cfg.db_of_ref)


def _stretched(db: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Stretch decibels over 0..255 and round down; zeros where all are the same."""
    span = db.max() - db.min()
    if span < FLAT_DB:
        return np.zeros(db.shape, np.uint8)
    return ((db - db.min()) * np.float32(255.0 / span * ROUNDED_UP)).astype(np.uint8)
