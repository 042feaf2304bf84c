"""The features by NumPy alone: without torch, where the path in C++ is missing or has no plan for the n_fft."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import not_finite
from .config import CHUNK_SAMPLES, FLAT_DB, ROUNDED_UP, FeatureConfig
from .filterbank import mel_rows
from .native import Clips
from .plan import Stage, n_rows, scaled_window


@np.errstate(invalid="ignore", over="ignore")  # of a clip with infinity, which reads NaN or is refused, as elsewhere
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
            _levels(out[clip], n_frames, cfg)
            if image is not None:
                image[clip, :, :n_frames] = _stretched(out[clip, :, :n_frames])
    return out


def _transform(y: NDArray[Any], cfg: FeatureConfig, stage: Stage, out: NDArray[Any]) -> None:
    """Write the STFT, its magnitude or power, or mel values of one clip to ``out`` [n_rows, n_frames]."""
    samples = _emphasized(y, cfg) if cfg.preemphasis and cfg.preemphasis_of != "frame" else y
    left, right = cfg.edges
    padded = np.pad(samples, (left, max(right, 0)), mode=cfg.pad_mode) if left or right > 0 else samples
    every = np.lib.stride_tricks.sliding_window_view(padded, cfg.frame_length)[:: cfg.hop_length]
    analysis = scaled_window(cfg, int16=y.dtype == np.int16)[: cfg.frame_length]
    rows = mel_rows(cfg) if stage >= Stage.MEL else None
    step = max(1, CHUNK_SAMPLES // cfg.n_fft)
    for first in range(0, out.shape[1], step):
        frames = _prepared(every[first : min(first + step, out.shape[1])], cfg)
        spectrum = np.fft.rfft(frames * analysis.astype(frames.dtype), cfg.n_fft)
        part = out[:, first : first + step]
        if stage == Stage.SPECTRUM:
            part[...] = spectrum.T
            continue
        strength = spectrum.real**2 + spectrum.imag**2
        if cfg.bin_offset:
            strength += np.float32(cfg.bin_offset)
        if cfg.power == 1:
            np.sqrt(strength, out=strength)
        if rows is None:
            part[...] = strength.T
        else:
            weighted = strength[:, rows.bins] * rows.weights.astype(np.float32)
            part[...] = _sums(weighted, rows.offsets).T


def _emphasized(y: NDArray[Any], cfg: FeatureConfig) -> NDArray[np.float32]:
    """Pre-emphasise a clip, in float64 for a few samples at a time: of a large mean little is left."""
    out = np.empty(len(y) - cfg.n_dropped, np.float32)
    rest = out if cfg.n_dropped else out[1:]
    out[: 1 - cfg.n_dropped] = y[: 1 - cfg.n_dropped]
    for first in range(0, len(rest), CHUNK_SAMPLES):
        part = y[first : first + CHUNK_SAMPLES + 1].astype(np.float64)
        rest[first : first + CHUNK_SAMPLES] = part[1:] - cfg.preemphasis * part[:-1]
    return out


def _prepared(frames: NDArray[Any], cfg: FeatureConfig) -> NDArray[np.floating]:
    """Return frames less their mean and pre-emphasised, in float64 where there is either to do, else in float32."""
    of_frame = cfg.preemphasis > 0 and cfg.preemphasis_of == "frame"
    if not (cfg.remove_dc or of_frame):
        return frames.astype(np.float32, copy=False)
    exact = frames.astype(np.float64)
    if cfg.remove_dc:
        exact -= exact.mean(axis=1, keepdims=True)
    if of_frame:
        exact[:, 1:] -= cfg.preemphasis * exact[:, :-1]
        exact[:, 0] *= 1.0 - cfg.preemphasis
    return exact


def _sums(weighted: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[np.float32]:
    """Add up the weighted bins [n_frames, n_nonzero] of each filter [n_frames, n_mels]; of an empty one, 0."""
    out = np.zeros((len(weighted), len(offsets) - 1), np.float32)
    filled = offsets[:-1] < offsets[1:]
    if filled.any():
        out[:, filled] = np.add.reduceat(weighted, offsets[:-1][filled], axis=1)
    return out


def _levels(mel: NDArray[np.float32], n_frames: int, cfg: FeatureConfig) -> None:
    """Turn the mel values of one clip [n_mels, width] into its log-mel spectrogram where they lie."""
    levels = cfg.levels
    if levels.offset:
        mel += np.float32(levels.offset)
    np.maximum(mel, np.float32(levels.least), out=mel)
    if levels.log:
        np.log10(mel, out=mel)
    if levels.gain != 1:
        mel *= np.float32(levels.gain)
    if levels.shift:
        mel -= np.float32(levels.shift)
    np.maximum(mel, np.float32(max(levels.silence, mel.max() - levels.span)), out=mel)
    if cfg.is_per_band:
        _normalize(mel, n_frames, cfg)


def _normalize(values: NDArray[np.float32], n_frames: int, cfg: FeatureConfig) -> None:
    """Normalize one clip [n_mels, width] by the statistics of its own frames; then mean and std of each band."""
    by, own = cfg.normalize, values[:, :n_frames]
    centre, scale = np.zeros(len(values)), np.ones(len(values))
    if by is not None:
        values[:, n_frames:] = 0
        groups = [slice(None)] if by.per == "clip" else range(len(values))
        for group in groups:
            exact = own[group].astype(np.float64, order="C")  # so that the layout of `out` makes no difference
            first = exact.flat[0]  # near the mean: what is left of a band that never changes is exactly 0
            centre[group] = first + (exact - first).mean()
            if by.variance:
                variance = ((exact - centre[group].flat[0]) ** 2).sum() / max(exact.size - by.ddof, 1)
                deviation = math.sqrt(variance + by.eps) if by.eps_in == "var" else math.sqrt(variance) + by.eps
                scale[group] = 1.0 / deviation if deviation else 0.0
    shift = np.broadcast_to(np.asarray(cfg.mean) / np.asarray(cfg.std), len(values))
    scale /= np.asarray(cfg.std)
    for band, row in enumerate(own if by is not None else values):
        row[...] = (row - centre[band]) * scale[band] - shift[band]


def _stretched(db: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Stretch decibels over 0..255 and round down; zeros where all are the same."""
    span = db.max() - db.min()
    if span < FLAT_DB:
        return np.zeros(db.shape, np.uint8)
    return ((db - db.min()) * np.float32(255.0 / span * ROUNDED_UP)).astype(np.uint8)
