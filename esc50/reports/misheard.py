"""The clips that a network took for something else, to look at and to listen to."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from ...kernels import FeatureConfig, InputError, log_mel
from ..audio import fit_length, own_part
from ..datasets import Clip, waveforms
from .plots import plot_clip

MOST = 24  # most clips that a page shows


def heard(rows: Sequence[dict[str, Any]], cfg: FeatureConfig, n_samples: int, workers: int) -> list[dict[str, Any]]:
    """Return the first `MOST` of the clips that `evaluate` lists as misheard, each with its picture and its sound.

    The sound is what the network heard: cut, or mirrored at both ends, as the picture marks it.

    Parameters
    ----------
    rows : sequence of dict
        ``file``, ``start``, ``end``, ``labels``, ``said``, ``probability``, ``of_its_own``.
    cfg : FeatureConfig
    n_samples : int
        Length of a clip as the network hears it.
    workers : int
        Threads that decode.
    """
    clips = [Clip(Path(row["file"]), 0, 0, "", row["start"], row["end"]) for row in rows[:MOST]]
    cards: dict[int, dict[str, Any]] = {}
    for i, own in waveforms(clips, cfg.sr, workers):
        row = rows[i]
        card = {
            "name": clips[i].path.name if row["start"] == 0 and row["end"] is None else clips[i].where,
            "labels": ", ".join(row["labels"]),
            "said": row["said"],
            "sure": f"{100 * row['probability']:.0f} %",
            "of_its_own": f"{100 * row['of_its_own']:.0f} %",
            "error": None,
        }
        if isinstance(own, InputError):
            cards[i] = card | {"error": str(own)}
            continue
        y, place = fit_length(own, n_samples), own_part(len(own), n_samples)
        drawn = io.BytesIO()
        plot_clip(y, log_mel(y, cfg), place, cfg, drawn)
        sound, kind = _encoded(y, cfg.sr)
        cards[i] = card | {"picture": _text(drawn.getvalue()), "sound": _text(sound), "kind": kind}
    return [cards[i] for i in sorted(cards)]


def _encoded(y: NDArray[np.float32], sr: int) -> tuple[bytes, str]:
    """Return a sound as MP3, or as WAV at rates that MP3 does not have, and its MIME type."""
    y = np.clip(y, -1.0, 1.0)
    for container, subtype, kind in (("MP3", "MPEG_LAYER_III", "audio/mpeg"), ("WAV", "PCM_16", "audio/wav")):
        file = io.BytesIO()
        try:
            soundfile.write(file, y, sr, format=container, subtype=subtype)
        except soundfile.LibsndfileError:
            continue
        return file.getvalue(), kind
    raise AssertionError("every rate fits into a WAV file")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
