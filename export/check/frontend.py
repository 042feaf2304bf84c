"""The features inside a graph, compared with `kernels.reference`, the float64 oracle.

The oracle's own tests keep it within 1e-7 dB of librosa, so an export needs no librosa.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxscript import ir

from ...kernels import CumelError, FeatureConfig, reference
from ...kernels.tolerance import KINDS, NOISY, db_floor, db_tolerance, mel_ceiling
from ..graph import CLIP_NAME, FEATURES_NAME, IR_VERSION, LOG_MEL, Metadata
from ..runtime import onnxruntime
from .feeds import Clip, given, heard
from .oracle import clip_of, expected

LONGEST = 60  # seconds
RESAMPLED = 1e-5  # share of the loudest sample; 1.3e-6 was measured: five rates, all signals


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
    fits = any(value.name == CLIP_NAME for node in model.graph for value in node.outputs)
    session = _beginning(model, [*outputs, CLIP_NAME] if fits else outputs)
    cfg = metadata.features.decibels if metadata.kind == "image" else metadata.features
    unit = "_db" if cfg == cfg.decibels else ""
    report = {f"noise{unit}": 0.0, f"tonal{unit}": 0.0}
    rounding = 0.0 if metadata.sr == metadata.features.sr else RESAMPLED
    for name, y, got in _answers(session, _cases(metadata), metadata):
        features = got[len(outputs) - 1]
        log_mel = got[0].reshape(features.shape[-2:])
        log_mel = log_mel.T if cfg.time_major else log_mel
        fitted = metadata.fitted(heard(y, metadata))
        if fits:
            clip, loudest = got[-1][0], np.abs(fitted).max(initial=0.0)
            if clip.shape != fitted.shape or not np.abs(clip - fitted).max(initial=0.0) <= rounding * loudest:
                raise CumelError(f"front end: {name}: a clip is fitted to other samples than in training")
            fitted = clip
        error, excess = _compare(log_mel, fitted, cfg) if unit else expected(fitted, cfg).compared(log_mel)
        if not excess <= 1:  # NaN is no pass
            off = f"up to {error:.1e}{unit.replace('_', ' ').replace('db', 'dB')} off"
            raise CumelError(f"front end: {name}: {off}, {excess:.1f} times what float32 explains")
        key = f"{'noise' if name in NOISY else 'tonal'}{unit}"
        report[key] = max(report[key], error)
        image = features.reshape(features.shape[-2:])
        image = image.T if cfg.time_major else image
        if metadata.kind == "image" and np.abs(image - _image(log_mel)).max() > 1:
            raise CumelError(f"front end: {name}: the image is not its decibels stretched over 0..255")
    return report


def _beginning(model: ir.Model, outputs: list[str]) -> Any:
    """Return a session of the part of a model that leads to some of its values."""
    inputs = [str(value.name) for value in model.graph.inputs]
    part = ir.Model(ir.convenience.extract(model.graph, inputs, outputs), ir_version=IR_VERSION)
    return onnxruntime().InferenceSession(ir.to_proto(part).SerializeToString(), providers=["CPUExecutionProvider"])


def _cases(metadata: Metadata) -> dict[str, Clip]:
    """Return clips as the file takes them, by name."""
    n = metadata.interface.samples or metadata.own_samples
    clips = signals(n, metadata.sr)
    return clips | {f"{n} samples": np.resize(clips["noise"], n) for n in lengths(metadata)}


def _answers(session: Any, cases: dict[str, Clip], metadata: Metadata) -> Iterator[tuple[str, Clip, list[Any]]]:
    """Run each clip alone, and where a file takes lengths, all but the longest one as one batch."""
    outputs = [value.name for value in session.get_outputs()]
    for name, y in cases.items():
        yield name, y, session.run(outputs, given([y], metadata))
    if metadata.interface.lengths:
        ragged = {name: y for name, y in cases.items() if len(y) <= 2 * metadata.own_samples}
        together = session.run(outputs, given(list(ragged.values()), metadata))
        for i, (name, y) in enumerate(ragged.items()):
            yield name, y, [value[i : i + 1] for value in together]


def lengths(metadata: Metadata) -> list[int]:
    """Return lengths in samples: from 0 to a minute's, and around the length of the model's clips."""
    if metadata.interface.samples is not None:
        return [metadata.interface.samples]
    n, longest = metadata.own_samples, LONGEST * metadata.sr
    return sorted({0, 1, 2, 3, metadata.features.n_fft // 2, n // 3, n - 1, n + 1, longest})


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
