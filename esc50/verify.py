"""Features compared with librosa in float64, on the user's recordings."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import torch

from ..kernels import CumelError, FeatureConfig, InputError, log_mel
from ..kernels.arrays import rows_first
from ..kernels.tolerance import MEAN_DB, TONAL_DB
from .audio import load_all
from .system import bar, defaults, describe


@defaults()
def verify(paths: Sequence[Path], cfg: FeatureConfig, device: torch.device, workers: int = 2) -> dict[str, Any]:
    """Compare the log-mel spectrogram of each recording with librosa's.

    Returns
    -------
    dict
        A row per file (max and mean difference in dB, the band and frame of the worst value, error), and the worst of
        all. `passed` is true when every file could be read and lies within TONAL_DB and MEAN_DB.

    Raises
    ------
    CumelError
        For a config that librosa cannot express.
    """
    cfg.librosa_mel()  # what librosa cannot express is no recording's fault
    beyond = cfg.differences(cfg.decibels.replace(offset=0.0, time_major=cfg.time_major))
    if beyond:
        raise CumelError(f"librosa's decibels cannot express {'; '.join(beyond)}; `reference` computes it in float64")
    rows = []
    with bar("verifying", len(paths), "files") as advance:
        for path, loaded in zip(paths, load_all(paths, cfg.sr, workers), strict=True):
            try:
                if isinstance(loaded, InputError):
                    raise loaded
                y, _ = loaded
                rows.append(_row(path, rows_first(log_mel(y, cfg, device=device), cfg), y, cfg))
            except CumelError as error:
                rows.append({"file": str(path), "error": str(error)})
            advance()
    read = [row for row in rows if "error" not in row]
    return {
        "config": cfg.to_dict(),
        "device": describe(device),
        "reference": f"librosa {version('librosa')}, float64",
        "files": len(rows),
        "failed": len(rows) - len(read),
        "max_db": max((row["max_db"] for row in read), default=None),
        "mean_db": float(np.mean([row["mean_db"] for row in read])) if read else None,
        "tolerance": {"max_db": TONAL_DB, "mean_db": MEAN_DB},
        "passed": len(read) == len(rows) and all(row["ok"] for row in read),
        "rows": rows,
    }


def _row(path: Path, features: np.ndarray, y: np.ndarray, cfg: FeatureConfig) -> dict[str, Any]:
    expected = librosa_log_mel(y.astype(np.float64), cfg)
    difference = np.abs(features - expected)
    band, frame = np.unravel_index(difference.argmax(), difference.shape)
    worst, mean = float(difference.max()), float(difference.mean())
    return {
        "file": str(path),
        "seconds": round(len(y) / cfg.sr, 3),
        "max_db": worst,
        "mean_db": mean,
        "worst_at": f"band {band}, frame {frame}",
        "ok": worst <= TONAL_DB and mean <= MEAN_DB,
    }


def librosa_log_mel(y: np.ndarray, cfg: FeatureConfig) -> np.ndarray:
    """Compute the same thing with librosa alone, in the precision of `y`."""
    return librosa_db(librosa_mel(y, cfg), cfg)


def librosa_mel(y: np.ndarray, cfg: FeatureConfig) -> np.ndarray:
    """Compute librosa's mel spectrogram, in the precision of `y`."""
    return librosa.feature.melspectrogram(y=y, dtype=y.dtype, **cfg.librosa_mel())


def librosa_db(mel: np.ndarray, cfg: FeatureConfig) -> np.ndarray:
    """Compute librosa's decibels of a mel spectrogram; for magnitudes its ref and amin are magnitudes."""
    if cfg.power == 1:
        return librosa.amplitude_to_db(mel, ref=cfg.ref**0.5, amin=cfg.amin**0.5, top_db=cfg.top_db)
    return librosa.power_to_db(mel, ref=cfg.ref, amin=cfg.amin, top_db=cfg.top_db)
