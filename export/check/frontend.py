"""The features inside a graph, compared with `kernels.reference`, the float64 oracle.

The oracle's own tests keep it within 1e-7 dB of librosa, so an export needs no librosa.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxscript import ir

from ...kernels import CumelError, FeatureConfig, reference
from ...kernels.tolerance import KINDS, NOISY, db_floor, db_tolerance, mel_ceiling
from ..graph import FEATURES_NAME, IR_VERSION, LOG_MEL, WAVEFORM, Metadata
from ..runtime import onnxruntime
from .oracle import clip_of, expected

LONGEST = 60  # seconds


def check_frontend(model: ir.Model, metadata: Metadata) -> dict[str, float]:
    """Compare the ``features`` of a model that takes waveforms with the oracle's.

    Returns
    -------
    dict
        The largest errors in dB, down to `tolerance.DEPTH_DB`: ``noise_db`` of NOISY clips, ``tonal_db`` of the others;
        ``noise`` and ``tonal``, in the features' own unit, of a config that does not end in decibels.

    Raises
    ------
    CumelError
        For errors that are larger than float32 explains.
    """
    outputs = [LOG_MEL, FEATURES_NAME] if metadata.kind == "image" else [FEATURES_NAME]
    part = ir.Model(ir.convenience.extract(model.graph, [WAVEFORM], outputs), ir_version=IR_VERSION)
    session = onnxruntime().InferenceSession(ir.to_proto(part).SerializeToString(), providers=["CPUExecutionProvider"])
    cfg = metadata.features.decibels if metadata.kind == "image" else metadata.features
    unit = "_db" if cfg == cfg.decibels else ""
    report = {f"noise{unit}": 0.0, f"tonal{unit}": 0.0}
    clips = signals(metadata.n_samples, metadata.features.sr)
    cases = list(clips.items()) + [(f"{n} samples", np.resize(clips["noise"], n)) for n in lengths(metadata)]
    for name, y in cases:
        got: list[Any] = session.run(outputs, {WAVEFORM: y[None]})
        log_mel = got[0].reshape(got[-1].shape[-2:])
        fitted = metadata.fitted(y)
        error, excess = _compare(log_mel, fitted, cfg) if unit else expected(fitted, cfg).compared(log_mel)
        if not excess <= 1:  # NaN is no pass
            off = f"up to {error:.1e}{unit.replace('_', ' ').replace('db', 'dB')} off"
            raise CumelError(f"front end: {name}: {off}, {excess:.1f} times what float32 explains")
        key = f"{'noise' if name in NOISY else 'tonal'}{unit}"
        report[key] = max(report[key], error)
        if metadata.kind == "image" and np.abs(got[1][0, 0] - _image(log_mel)).max() > 1:
            raise CumelError(f"front end: {name}: the image is not its decibels stretched over 0..255")
    return report


def lengths(metadata: Metadata) -> list[int]:
    """Return lengths in samples: from 1 to a minute's, and around the length of the model's clips."""
    n, longest = metadata.n_samples, LONGEST * metadata.features.sr
    return sorted({1, 2, 3, metadata.features.n_fft // 2, n // 3, n - 1, n + 1, longest} - {0})


def signals(n_samples: int, sr: int) -> dict[str, NDArray[np.float32]]:
    """Return the clips [n_samples] of `tolerance.signal`, as a model takes them."""
    return {kind: clip_of(kind, n_samples, sr) for kind in KINDS}


def _compare(log_mel: NDArray[np.float32], y: NDArray[np.float32], cfg: FeatureConfig) -> tuple[float, float]:
    """Return the largest error of [n_mels, n_frames] in dB, and the largest one as a multiple of what is allowed."""
    expected, ceiling = reference.log_mel(y, cfg), mel_ceiling(y, cfg)
    floor = db_floor(ceiling, cfg)
    error = np.abs(np.maximum(log_mel, floor) - np.maximum(expected, floor))
    return float(error.max()), float((error / db_tolerance(expected, ceiling, cfg)).max())


def _image(log_mel: NDArray[np.float32]) -> NDArray[np.float64]:
    """Stretch decibels over 0..255 as the oracle does."""
    db = log_mel.astype(np.float64)
    span = np.ptp(db)
    return np.zeros_like(db) if span < reference.FLAT_DB else np.floor(255.0 * (db - db.min()) / span)
