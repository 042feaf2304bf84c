"""From recordings to a picture: `cumel plot` and `cumel predict --plot`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...kernels import FeatureConfig, InputError, log_mel
from ...kernels.arrays import rows_first
from ..audio import Recording, fit_length, load, own_part
from .plots import MAX_CLIPS, plot_clips


def draw_files(paths: Sequence[Path], cfg: FeatureConfig, out: Path) -> dict[str, Any]:
    """Draw the first recordings of `paths`; those that cannot be read are listed in the report."""
    clips, failures = [], []
    for path in paths[:MAX_CLIPS]:
        try:
            y, _ = load(path, cfg.sr)
            clips.append({"name": path.name, "y": y, "log_mel": rows_first(log_mel(y, cfg), cfg)})
        except InputError as error:
            failures.append({"path": str(path), "error": str(error)})
    if clips:
        plot_clips(clips, cfg, out)
    return {
        "plot": str(out) if clips else None,
        "clips": len(clips),
        "left_out": len(paths[MAX_CLIPS:]),
        "failures": failures,
    }


def draw_results(results: list[dict[str, Any]], cfg: FeatureConfig, n_samples: int, out: Path) -> Path | None:
    """Draw the first classified recordings as the network saw them, each with its labels; None when there are none."""
    clips = []
    for result in [result for result in results if result["error"] is None][:MAX_CLIPS]:
        with Recording(result["file"]) as recording:
            heard = recording.beginning(n_samples, cfg.sr)
        y, own = fit_length(heard, n_samples), own_part(len(heard), n_samples)
        name = Path(result["file"]).name
        clips.append({"name": name, "y": y, "log_mel": log_mel(y, cfg), "top": result["top"], "own": own})
    return plot_clips(clips, cfg, out) if clips else None
