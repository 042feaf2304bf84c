"""Features compared with those of the package that a model was trained with, on the user's recordings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..kernels import CumelError, InputError
from ..pretrained import Original
from .audio import load_all
from .system import bar, defaults, describe

# What float32 may be off by, in units of the features; each with the largest that was seen on recordings of ESC-50.
MOST = 2e-2  # 4.5e-3: Parakeet, a band of silence in all but a few frames, whose deviation is small
MEDIAN = 1e-5  # 2.9e-6: Kaldi. Another window, scale, padding or filter is off by 1e-3 and more here.


@defaults()
def verify_against(
    paths: Sequence[Path], original: Original, workers: int = 2, picture: Path | None = None
) -> dict[str, Any]:
    """Compare every value that an original gives of each recording with ours.

    Parameters
    ----------
    paths : sequence of path
    original : Original
    workers : int
        Threads that decode.
    picture : path, optional
        Where to draw the recording with the largest difference: both features, and where they differ.

    Returns
    -------
    dict
        A row per file (largest and median difference, their band and frame, error), and the worst of all. `passed` is
        true when every file could be read and computed, and lies within MOST and MEDIAN.
    """
    rows, worst = [], None
    with bar("verifying", len(paths), "files") as advance:
        for path, loaded in zip(paths, load_all(paths, original.cfg.sr, workers), strict=True):
            try:
                if isinstance(loaded, InputError):
                    raise loaded
                row, pair = _row(path, original, loaded[0])
                rows.append(row)
                if worst is None or row["max"] > worst[0]["max"]:
                    worst = row, pair
            except (CumelError, ValueError) as error:  # Extractors refuse clips by ValueError.
                rows.append({"file": str(path), "error": " ".join(str(error).split())})
            advance()
    if picture is not None and worst is not None:
        from .reports import plot_difference

        plot_difference(*worst[1], Path(worst[0]["file"]).name, original.name, original.cfg, picture)
    read = [row for row in rows if "error" not in row]
    return {
        "config": original.cfg.to_dict(),
        "device": describe(torch.device("cpu")),
        "reference": original.name,
        "files": len(rows),
        "failed": len(rows) - len(read),
        "max": max((row["max"] for row in read), default=None),
        "median": float(np.median([row["median"] for row in read])) if read else None,
        "tolerance": {"max": MOST, "median": MEDIAN},
        "picture": str(picture) if picture is not None and worst is not None else None,
        "passed": len(read) == len(rows) and all(row["ok"] for row in read),
        "rows": rows,
    }


def _row(path: Path, original: Original, y: NDArray[Any]) -> tuple[dict[str, Any], tuple[NDArray, NDArray]]:
    """Compare one recording; also return the two features [n_bands, n_frames]."""
    y = y.astype(np.float32) / 32768.0 if y.dtype == np.int16 else y
    theirs, ours = original.theirs(y), original.ours(y)
    if theirs.keys() != ours.keys():
        raise CumelError(f"the original gives {', '.join(theirs)}, ours {', '.join(ours)}")
    for name in theirs:
        if theirs[name].shape != ours[name].shape:
            raise CumelError(f"{name}: the original has the shape {theirs[name].shape}, ours {ours[name].shape}")
    name, *others = theirs
    unequal = [other for other in others if not np.array_equal(theirs[other], ours[other])]
    pair = tuple(_bands(result[name], original) for result in (theirs, ours))
    difference = np.abs(pair[0].astype(np.float64) - pair[1])
    difference[(pair[0] == pair[1]) | (np.isnan(pair[0]) & np.isnan(pair[1]))] = 0.0
    band, frame = np.unravel_index(difference.argmax(), difference.shape)
    most, median = float(difference.max()), float(np.median(difference))
    row = {
        "file": str(path),
        "seconds": round(len(y) / original.cfg.sr, 3),
        "shape": list(theirs[name].shape),
        "max": most,
        "median": median,
        "worst_at": f"band {band}, frame {frame}",
        "unequal": unequal,
        "ok": most <= MOST and median <= MEDIAN and not unequal,
    }
    return row, (pair[0], pair[1])


def _bands(features: NDArray, original: Original) -> NDArray:
    """Lay features out as [n_bands, n_frames], whatever they are stacked to."""
    flat = features.reshape(-1, *features.shape[-2:]) if features.ndim > 2 else features[None]
    flat = flat if original.cfg.time_major or flat.shape[-1] == original.cfg.n_mels else flat.swapaxes(-1, -2)
    return flat.reshape(-1, flat.shape[-1]).T
