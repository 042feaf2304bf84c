"""Features of clips in host memory, computed on a device piece by piece: the same numbers, in bounded device memory."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import plan
from .config import FeatureConfig
from .cuda import Clips, Frontend
from .interchange import check_finite
from .kinds import FEATURES, Feature
from .rules import Normalize
from .tensors import image

SAMPLE_BYTES = 64 * 2**20  # most samples on the device at a time
FEATURE_BYTES = 256 * 2**20  # most features on the device at a time


def stream(frontend: Frontend, device: torch.device, feature: Feature, clips: Clips, cfg: FeatureConfig) -> Tensor:
    """Compute a feature of clips in host memory on a device.

    Returns
    -------
    Tensor [n_clips, n_rows, n_frames]
        In host memory.
    """
    if feature is FEATURES["mel_image"]:
        cfg = cfg.decibels
    most_frames = max(1, FEATURE_BYTES // (plan.n_rows(cfg, feature.stage) * plan.value_bytes(feature.stage)))
    lengths = np.full(clips.n_clips, clips.n_samples) if clips.lengths is None else np.asarray(clips.lengths)
    starts = np.arange(clips.n_clips) * clips.stride if clips.starts is None else clips.starts
    ends = starts + lengths
    parts = []
    for first, last in _groups(starts, ends, clips, most_frames):
        begin, some = int(starts[first]), slice(first, last)
        group = clips._replace(
            n_clips=last - first,
            lengths=None if clips.lengths is None else lengths[some],
            starts=None if clips.starts is None else starts[some] - begin,
            number=first,
            of_clips=clips.n_clips,
        )
        if lengths[first] * clips.samples.itemsize > SAMPLE_BYTES or clips.width > most_frames:
            alone = group._replace(n_samples=int(lengths[first]), lengths=None, starts=None, start=begin)
            parts.append(_long(frontend, device, feature, alone, cfg, most_frames))
        else:
            samples = clips.samples[begin : int(ends[last - 1])].to(device)
            parts.append(feature.on(frontend)(group._replace(samples=samples), cfg).cpu())
    return torch.cat(parts)


def _groups(
    starts: NDArray[np.int64], ends: NDArray[np.int64], clips: Clips, most_frames: int
) -> Iterator[tuple[int, int]]:
    """Yield ranges of clips that fit on the device together; a clip that does not is alone."""
    first, most_samples = 0, SAMPLE_BYTES // clips.samples.itemsize
    for clip, end in enumerate(ends.tolist()):
        if clip > first and (end - starts[first] > most_samples or (clip + 1 - first) * clips.width > most_frames):
            yield first, clip
            first = clip
    yield first, clips.n_clips


def _long(
    frontend: Frontend, device: torch.device, feature: Feature, clip: Clips, cfg: FeatureConfig, most_frames: int
) -> Tensor:
    """Compute a feature of one clip piece by piece; what depends on all of it is done in host memory at the end."""
    if not feature.of_maximum:
        pieces = _pieces(device, clip, cfg, most_frames)
        return torch.cat([feature.on(frontend)(piece, cfg).cpu() for piece in pieces], dim=2)
    alone = cfg.replace(top_db=None)  # what a frame is without the others
    if cfg.is_per_band:
        alone = alone.replace(normalize=None, mean=0.0, std=1.0)
    pieces = _pieces(device, clip, cfg, most_frames)
    db = torch.cat([frontend.log_mel(piece, alone).cpu() for piece in pieces], dim=2)
    peak, span = db.max(), cfg.levels.span
    if feature is FEATURES["mel_image"]:
        check_finite(peak[None], clip.number, clip.of_clips)
    if span < inf:
        db = db.clamp_(min=peak - span) if peak < inf else db.fill_(torch.nan)
    if cfg.is_per_band:
        _normalize(db[0].numpy(), cfg.n_frames(clip.n_samples), cfg)
    if feature is FEATURES["log_mel"]:
        return db
    if feature is FEATURES["mel_image"]:
        return image(db, [cfg.n_frames(clip.n_samples)])
    return torch.cat([frontend.cepstra(part.to(device), cfg).cpu() for part in db.split(most_frames, dim=2)], dim=2)


def _normalize(levels: NDArray[np.float32], n_frames: int, cfg: FeatureConfig) -> None:
    """Do to a clip's levels [n_mels, width] what statistics.cu does, by its formulas; the sums are of float64."""
    by, own = cfg.normalize, levels[:, :n_frames]
    if by is not None:
        for rows in own[:, None] if by.per == "band" else own[None]:  # each group of rows with statistics of its own
            with np.errstate(invalid="ignore"):  # Infinity becomes NaN.
                _centre(rows, by)
    offset, factor = plan.bands(cfg)[..., None]
    levels -= offset
    levels *= factor
    if by is not None:
        levels[:, n_frames:] = 0.0


def _centre(rows: NDArray[np.float32], by: Normalize) -> None:
    """Subtract the mean of all values from them, and divide by their deviation, in place."""
    rows -= rows[0, 0].copy()
    rows -= np.float32(sum(row.sum(dtype=np.float64) for row in rows)) / np.float32(rows.size)
    if by.variance:
        squares = np.float32(sum(np.square(row).sum(dtype=np.float64) for row in rows))
        in_variance, in_deviation = plan.eps(by)
        deviation = np.sqrt(squares / np.float32(max(rows.size - by.ddof, 1)) + in_variance) + in_deviation
        if deviation == 0:
            rows[:] = 0.0
        else:
            rows /= deviation


def _pieces(device: torch.device, clip: Clips, cfg: FeatureConfig, most_frames: int) -> Iterator[Clips]:
    """Cut a clip into frames whose samples fit on the device, with those samples there."""
    start, n_samples = clip.start, clip.n_samples
    most_samples = SAMPLE_BYTES // clip.samples.itemsize
    before = int(cfg.preemphasis > 0 and cfg.preemphasis_of != "frame")  # sample in front that pre-emphasis reads
    dropped, n_left = cfg.n_dropped, n_samples - cfg.n_dropped  # Below, sample 0 is the first that is left.
    step = max(1, min(most_frames, (most_samples - cfg.frame_length - before) // cfg.hop_length))
    last_frame = cfg.n_frames(n_samples) - 1  # The frames after it hold no sample.
    for first_frame in range(0, clip.width, step):
        width = min(step, clip.width - first_frame)
        first = min(first_frame, last_frame) * cfg.hop_length - cfg.edges[0]
        last = min(first_frame + width - 1, last_frame) * cfg.hop_length - cfg.edges[0] + cfg.frame_length
        if last > n_left:  # Mirroring at the end needs samples from further back.
            first = min(first, n_left - 1 - (last - n_left))
        low, high = min(max(first, 0), n_left - 1), min(max(last, 1 - first), n_left)
        low, high = max(0, low + dropped - before), high + dropped
        samples = clip.samples[start + low : start + high].to(device)
        yield clip._replace(samples=samples, width=width, start=-low, first_frame=first_frame)
