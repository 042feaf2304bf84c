"""The features inside a graph, compared with `kernels.reference`, the float64 oracle.

The oracle's own tests keep it within 1e-7 dB of librosa, so an export needs no librosa.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxscript import ir

from ...esc50.audio import fit_length
from ...esc50.training import Recipe
from ...kernels import CumelError, FeatureConfig, reference
from ...kernels.filterbank import mel_matrix
from ..graph import FEATURES_NAME, IR_VERSION, LOG_MEL, WAVEFORM
from ..runtime import onnxruntime

# The error of float32 is a share of the loudest amplitude. In dB it grows with the depth of a value below its filter's
# ceiling: the output of the filter if all its bins were as loud as the clip's loudest bin.
STEPS_DB = 4e-5  # worst measured 2.4e-5; at -100 dB a float32 has steps of 0.8e-5
AMPLITUDE = 2e-7  # share of the ceiling; worst measured 0.7e-7 (esc50, chirp)
DEPTH_DB = 80.0  # depth below the ceiling; deeper values are rounding noise of the loudest bin
LONGEST = 60  # seconds
NOISE = ("noise", "quiet", "clicks", "silence")


def check_frontend(model: ir.Model, recipe: Recipe) -> dict[str, float]:
    """Compare the ``features`` of a model that takes waveforms with the oracle's.

    Returns
    -------
    dict
        The largest errors in dB, down to DEPTH_DB: ``noise_db`` (noise, clicks, silence), ``tonal_db`` (tone, chirp).

    Raises
    ------
    CumelError
        For errors that are larger than float32 explains.
    """
    outputs = [LOG_MEL, FEATURES_NAME] if recipe.kind == "image" else [FEATURES_NAME]
    part = ir.Model(ir.convenience.extract(model.graph, [WAVEFORM], outputs), ir_version=IR_VERSION)
    session = onnxruntime().InferenceSession(ir.to_proto(part).SerializeToString(), providers=["CPUExecutionProvider"])
    report = {"noise_db": 0.0, "tonal_db": 0.0}
    clips = signals(recipe.n_samples, recipe.features.sr)
    cases = list(clips.items()) + [(f"{n} samples", np.resize(clips["noise"], n)) for n in lengths(recipe)]
    for name, y in cases:
        got: list[Any] = session.run(outputs, {WAVEFORM: y[None]})
        log_mel = got[0].reshape(got[-1].shape[-2:])
        error, excess = _compare(log_mel, fit_length(y, recipe.n_samples), recipe.features)
        if not excess <= 1:  # NaN is no pass
            raise CumelError(f"front end: {name}: up to {error:.1e} dB off, {excess:.1f} times what float32 explains")
        key = "noise_db" if name in NOISE else "tonal_db"
        report[key] = max(report[key], error)
        if recipe.kind == "image" and np.abs(got[1][0, 0] - _image(log_mel)).max() > 1:
            raise CumelError(f"front end: {name}: the image is not its decibels stretched over 0..255")
    return report


def lengths(recipe: Recipe) -> list[int]:
    """Return lengths in samples: from 1 to a minute's, and around the length of the model's clips."""
    n, longest = recipe.n_samples, LONGEST * recipe.features.sr
    return sorted({1, 2, 3, recipe.features.n_fft // 2, n // 3, n - 1, n + 1, longest} - {0})


def signals(n_samples: int, sr: int) -> dict[str, NDArray[np.float32]]:
    """Return seeded clips [n_samples], each difficult in its own way."""
    rng, t = np.random.default_rng(5), np.arange(n_samples) / sr
    clicks = np.zeros(n_samples)
    clicks[::997], clicks[::1511] = 1.0, -0.7
    clips = {
        "noise": 0.3 * rng.standard_normal(n_samples),
        "quiet": rng.integers(-3, 4, n_samples) / 32768.0,  # 80 dB below full scale
        "clicks": clicks,
        "silence": np.zeros(n_samples),
        "tone": 0.8 * np.sin(2 * np.pi * 440.0 * t),
        "chirp": 0.5 * np.sin(2 * np.pi * (50.0 * t + (0.45 * sr - 50.0) * sr / (2 * n_samples) * t**2)),
    }
    return {name: y.astype(np.float32) for name, y in clips.items()}


def _compare(log_mel: NDArray[np.float32], y: NDArray[np.float32], cfg: FeatureConfig) -> tuple[float, float]:
    """Return the largest error of [n_mels, n_frames] in dB, and the largest multiple of the allowed error."""
    expected = reference.log_mel(y, cfg)
    loudest = np.abs(reference.stft(y, cfg)).max()
    ceiling = loudest**2 * mel_matrix(cfg).sum(axis=1, keepdims=True) ** (2 / cfg.power)  # power
    deepest = 10 * np.log10(np.maximum(cfg.amin, ceiling * 10 ** (-DEPTH_DB / 10))) - cfg.db_of_ref
    depth = 10 * np.log10(np.maximum(cfg.amin, ceiling)) - cfg.db_of_ref - np.maximum(expected, deepest)
    error = np.abs(np.maximum(log_mel, deepest) - np.maximum(expected, deepest))
    allowed = STEPS_DB + 20 / np.log(10) * AMPLITUDE * 10 ** (depth / 20)
    return float(error.max()), float((error / allowed).max())


def _image(log_mel: NDArray[np.float32]) -> NDArray[np.float64]:
    """Stretch decibels over 0..255 as the oracle does."""
    db = log_mel.astype(np.float64)
    span = np.ptp(db)
    return np.zeros_like(db) if span < reference.FLAT_DB else np.floor(255.0 * (db - db.min()) / span)
