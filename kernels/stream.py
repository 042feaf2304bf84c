"""Clips in host memory through a device, a piece at a time: the numbers of one piece, in bounded device memory."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Literal

import torch
from torch import Tensor

from . import plan
from .checks import check_finite
from .config import FeatureConfig
from .cpu import image
from .frontend import Clips, Frontend
from .plan import Stage

SAMPLE_BYTES = 64 * 2**20  # of samples that are on the device at a time, and
FEATURE_BYTES = 256 * 2**20  # of their features

Feature = Literal["stft", "spectrogram", "melspectrogram", "log_mel", "mfcc", "mel_image"]
STAGES = {"stft": Stage.SPECTRUM, "spectrogram": Stage.STRENGTH}


def stream(frontend: Frontend, device: torch.device, feature: Feature, clips: Clips, cfg: FeatureConfig) -> Tensor:
    """Compute a feature of clips in host memory on a device.

    Returns
    -------
    Tensor [n_clips, n_rows, n_frames]
        In host memory.
    """
    stage = STAGES.get(feature, Stage.MEL)
    most_frames = max(1, FEATURE_BYTES // (plan.n_rows(cfg, stage) * plan.value_bytes(stage)))
    parts = []
    for first, last in _groups(clips, most_frames):
        lengths = clips.lengths[first:last]
        some = clips._replace(
            starts=clips.starts[first:last], lengths=lengths, number=first, of_clips=len(clips.lengths)
        )
        if lengths[0] * clips.samples.itemsize > SAMPLE_BYTES or clips.width > most_frames:
            parts.append(_long(frontend, device, feature, some, cfg, most_frames))
        else:
            begin, end = some.starts[0], some.starts[-1] + lengths[-1]
            starts = tuple(start - begin for start in some.starts)
            there = some._replace(samples=clips.samples[begin:end].to(device), starts=starts)
            parts.append(getattr(frontend, feature)(there, cfg).cpu())
    return torch.cat(parts)


def _groups(clips: Clips, most_frames: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of clips that fit on the device together; a clip that does not is alone."""
    first, most_samples = 0, SAMPLE_BYTES // clips.samples.itemsize
    for clip, (start, n) in enumerate(zip(clips.starts, clips.lengths, strict=True)):
        too_many = start + n - clips.starts[first] > most_samples or (clip + 1 - first) * clips.width > most_frames
        if clip > first and too_many:
            yield first, clip
            first = clip
    yield first, len(clips.starts)


def _long(
    frontend: Frontend, device: torch.device, feature: Feature, clip: Clips, cfg: FeatureConfig, most_frames: int
) -> Tensor:
    """Compute a feature of one clip piece by piece; what depends on its maximum is done in host memory at the end."""
    if feature in ("stft", "spectrogram", "melspectrogram"):
        pieces = _pieces(device, clip, cfg, most_frames)
        return torch.cat([getattr(frontend, feature)(piece, cfg).cpu() for piece in pieces], dim=2)
    unlimited = cfg.replace(top_db=None)
    pieces = _pieces(device, clip, cfg, most_frames)
    db = torch.cat([frontend.log_mel(piece, unlimited).cpu() for piece in pieces], dim=2)
    peak = db.max()
    if feature == "mel_image":
        check_finite(peak[None], clip.number, clip.of_clips)
    if cfg.top_db is not None:
        db = db.clamp_(min=peak - cfg.top_db) if peak < inf else db.fill_(torch.nan)
    if feature == "log_mel":
        return db
    if feature == "mel_image":
        return image(db, [cfg.n_frames(clip.lengths[0])])
    return torch.cat([frontend.cepstra(part.to(device), cfg).cpu() for part in db.split(most_frames, dim=2)], dim=2)


def _pieces(device: torch.device, clip: Clips, cfg: FeatureConfig, most_frames: int) -> Iterator[Clips]:
    """Cut a clip into frames whose samples fit on the device, with those samples there."""
    (start,), (n_samples,) = clip.starts, clip.lengths
    most_samples = SAMPLE_BYTES // clip.samples.itemsize
    step = max(1, min(most_frames, (most_samples - cfg.n_fft) // cfg.hop_length))
    last_frame = cfg.n_frames(n_samples) - 1  # those behind it hear nothing
    for first_frame in range(0, clip.width, step):
        width = min(step, clip.width - first_frame)
        first = min(first_frame, last_frame) * cfg.hop_length - cfg.padding
        last = min(first_frame + width - 1, last_frame) * cfg.hop_length - cfg.padding + cfg.n_fft
        if last > n_samples:  # what is mirrored at the end lies further back
            first = min(first, n_samples - 1 - (last - n_samples))
        low, high = min(max(first, 0), n_samples - 1), min(max(last, 1 - first), n_samples)
        samples = clip.samples[start + low : start + high].to(device)
        yield Clips(samples, (-low,), clip.lengths, width, first_frame)
