"""The check of a front end's own file: each clip of a ragged batch, and alone, against `kernels.reference`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxscript.ir.passes.common import ShapeInferencePass

from ...kernels import CumelError, FeatureConfig
from ...kernels.tolerance import KINDS
from ..graph import FEATURES_LENS, FEATURES_NAME, WAVEFORMS, WAVEFORMS_LENS
from ..runtime import onnxruntime
from .operators import demand_cuda_kernels, valid_graph
from .oracle import clip_of, expected

Outputs = tuple[NDArray[np.float32], NDArray[np.int64]]


def check_front_end(path: Path, cfg: FeatureConfig, n_samples: int | None = None) -> dict[str, Any]:
    """Compare a front end's file with the reference, on ONNX Runtime's CPU provider.

    Returns
    -------
    dict
        The lengths in samples, the largest difference of a feature in its own unit, and the largest difference as a
        share of what float32 explains.

    Raises
    ------
    CumelError
        For an invalid graph, a node without a CUDA kernel, or features that float32 does not explain.
    """
    model = valid_graph(path)
    ShapeInferencePass()(model)
    demand_cuda_kernels(model.graph)
    session = onnxruntime().InferenceSession(path, providers=["CPUExecutionProvider"])
    clips = clips_of(cfg)
    batch = np.full((len(clips), max(map(len, clips))), np.nan, np.float32)  # What lies behind a clip has no effect.
    for row, y in zip(batch, clips, strict=True):
        row[: len(y)] = y
    together = _run(session, batch, np.array([len(y) for y in clips]))
    worst, share = 0.0, 0.0
    for i, y in enumerate(clips):
        alone = _run(session, y[None], np.array([len(y)]))
        for where, (features, lens), row in (("alone", alone, 0), ("in a batch", together, i)):
            name = f"front end: a clip of {len(y)} samples {where}"
            rows = features[row].T if cfg.time_major else features[row]
            fitted = y if n_samples is None else np.pad(y, (0, max(0, n_samples - len(y))))[:n_samples]
            difference, of_tolerance = _compare(name, rows, int(lens[row]), fitted, cfg)
            worst, share = max(worst, difference), max(share, of_tolerance)
    return {"lengths": sorted({len(y) for y in clips}), "max_difference": worst, "share_of_tolerance": share}


def clips_of(cfg: FeatureConfig) -> list[NDArray[np.float32]]:
    """Return clips from the shortest one with a frame to a second, around the ends of frames, as hard as each other."""
    least, hop = cfg.least_samples, cfg.hop_length
    lengths = {least, least + 1, least + hop - 1, least + hop, least + hop + 1, least + 7 * hop + hop // 2}
    lengths |= {cfg.n_fft // 3, cfg.n_fft + 1, cfg.sr} - set(range(least))
    made = [clip_of(KINDS[i % len(KINDS)], n, cfg.sr) for i, n in enumerate(sorted(lengths))]
    noise = clip_of("noise", cfg.sr, cfg.sr)
    drift = np.linspace(-0.5, 0.8, cfg.sr, dtype=np.float32) + noise
    return [*made, noise, drift]


def _run(session: Any, y: NDArray[np.float32], lengths: NDArray[np.int64]) -> Outputs:
    features, lens = session.run([FEATURES_NAME, FEATURES_LENS], {WAVEFORMS: y, WAVEFORMS_LENS: lengths})
    return features, lens


def _compare(
    name: str, got: NDArray[np.float32], n_frames: int, y: NDArray[np.float32], cfg: FeatureConfig
) -> tuple[float, float]:
    """Return the largest difference of [n_mels, n_frames or more], and the largest share of what is allowed."""
    wanted = expected(y, cfg)
    if n_frames != wanted.values.shape[1]:
        raise CumelError(f"{name} has {n_frames} frames, not {wanted.values.shape[1]}")
    worst, share = wanted.compared(got[:, :n_frames])
    rounding = np.finfo(np.float32).eps * (1 + np.abs(wanted.past).max())
    behind = np.abs(got[:, n_frames:] - wanted.past) / max(_finite_max(wanted.tolerance), rounding)
    share = max(share, float(behind.max(initial=0.0)))
    if not share <= 1:  # NaN is no pass
        raise CumelError(f"{name}: up to {worst:.1e} off, {share:.1f} times what float32 explains")
    return worst, share


def _finite_max(x: NDArray[np.float64]) -> float:
    return float(x.max(initial=0.0, where=np.isfinite(x)))
