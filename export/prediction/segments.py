"""Recordings, cut into the segments that a model classifies; decoded ahead of it. A recording that fails says why."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from ...esc50.audio import Recording, Samples, windows
from ...esc50.system import CORES, Hold, ahead, ordered
from ...kernels import FeatureConfig, InputError
from ...kernels.filterbank import window as window_of
from ..graph import Metadata

HELD_BYTES = 64 << 20  # segments that are decoded ahead
FLOAT32_MAX = float(np.finfo(np.float32).max)


class Segment(NamedTuple):
    """A part of a recording that is classified as one clip, or the reason why there is none."""

    file: str
    start: float = 0.0  # s
    end: float = 0.0  # s
    seconds: float | None = None  # length of the recording; None for a stream without end
    sr: int | None = None  # the recording's own rate in Hz
    y: Samples | None = None  # [n_samples] at the model's rate, at most its clip length; None with an error
    silent: bool = False  # True when every sample of `y` is zero
    first: bool = False  # True for the first segment of a recording
    error: str | None = None


def segments_of(paths: Iterable[Path], metadata: Metadata, hop_seconds: float | None = None) -> Generator[Segment]:
    """Yield the segments of recordings, in order: the beginning of each, or windows `hop_seconds` apart.

    However many recordings there are and however long, about 2 * `HELD_BYTES` are held.
    """

    def take(path: Path, hold: Hold) -> Iterable[Segment]:
        if hop_seconds is None:
            hold(4 * metadata.n_samples)
            return [_first(path, metadata)]
        try:
            with Recording(path) as recording:
                seconds = recording.header.n_samples / recording.header.sr
                n_bytes = 4 * metadata.n_samples * (1 + int(seconds / hop_seconds))
                if n_bytes <= HELD_BYTES:
                    hold(n_bytes)
                    return list(_of_recording(recording, metadata, hop_seconds))
        except InputError as error:
            return [Segment(str(path), first=True, error=str(error))]
        return _of_file(path, metadata, hop_seconds)  # A long one is opened again when its turn has come.

    def every() -> Generator[Segment]:
        files = ordered(paths, take, CORES, HELD_BYTES)
        try:
            yield from chain.from_iterable(files)
        finally:
            files.close()

    return ahead(every(), lambda segment: 0 if segment.y is None else segment.y.nbytes, HELD_BYTES)


def _first(path: Path, metadata: Metadata) -> Segment:
    """Read the beginning of a recording, as long as the model's clips."""
    try:
        with Recording(path) as recording:
            header, y = recording.header, recording.beginning(metadata.n_samples, metadata.features.sr)
        seconds = header.n_samples / header.sr
        check_sound(str(path), y, metadata.features)
    except InputError as error:
        return Segment(str(path), first=True, error=str(error))
    end = len(y) / metadata.features.sr
    return Segment(str(path), 0.0, end, seconds, header.sr, y, silent=not y.any(), first=True)


def _of_file(path: Path, metadata: Metadata, hop_seconds: float) -> Iterator[Segment]:
    """Read a recording window by window; the file is opened when the first window is asked for."""
    try:
        with Recording(path) as recording:
            yield from _of_recording(recording, metadata, hop_seconds)
    except InputError as error:
        yield Segment(str(path), first=True, error=str(error))


def _of_recording(recording: Recording, metadata: Metadata, hop_seconds: float) -> Iterator[Segment]:
    header, blocks = recording.header, cast(Iterator[Samples], recording.blocks(metadata.features.sr))
    return from_stream(str(recording.path), blocks, metadata, hop_seconds, header.sr, header.n_samples / header.sr)


def from_stream(
    name: str, blocks: Iterable[Samples], metadata: Metadata, hop_seconds: float, sr: int, seconds: float | None = None
) -> Iterator[Segment]:
    """Yield the windows of samples that come at the model's rate; an error ends them, as the last segment."""
    cfg, end, first = metadata.features, 0.0, True
    hop, failure = max(1, round(hop_seconds * cfg.sr)), ""

    def until_failure() -> Iterator[Samples]:
        nonlocal failure
        try:
            yield from blocks
        except InputError as error:
            failure = str(error)

    try:
        for window in windows(until_failure(), metadata.n_samples, hop):
            check_sound(name, window.y, cfg)
            start, end = window.start / cfg.sr, (window.start + len(window.y)) / cfg.sr
            yield Segment(name, start, end, seconds, sr, window.y, silent=not window.y.any(), first=first)
            first = False
        if first:
            raise InputError(f"{name}: holds no samples; record it again, or leave it out")
    except InputError as error:
        failure = failure or str(error)
    if failure:
        yield Segment(name, end, end, seconds, sr, first=first, error=failure)


def check_sound(name: str, y: Samples, cfg: FeatureConfig) -> None:
    """Refuse samples that are too few or too loud for the features."""
    if len(y) < cfg.n_fft:
        raise InputError(
            f"{name}: {len(y)} samples ({1000 * len(y) / cfg.sr:.1f} ms) at {cfg.sr} Hz is less than one window of "
            f"{cfg.n_fft} samples; give at least {1000 * cfg.n_fft / cfg.sr:.1f} ms"
        )
    if max(y.max(), -y.min()) > _loudest(cfg):
        raise InputError(f"{name}: so loud that its spectrum overflows float32; scale it to -1..1")


@lru_cache(maxsize=8)
def _loudest(cfg: FeatureConfig) -> float:
    """Return an amplitude up to which no bin's power, nor the sum of all, can overflow."""
    gain = cfg.scale * (1.0 + cfg.preemphasis) * (2.0 if cfg.remove_dc else 1.0)  # of samples, before the transform
    return math.sqrt(FLOAT32_MAX / cfg.n_fft) / (gain * float(np.abs(window_of(cfg)).sum()))
