"""Recordings to the windows of them that a model hears, decoded ahead of it; a recording that fails says why."""

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
from ...esc50.training import Recipe
from ...kernels import FeatureConfig, InputError
from ...kernels.filterbank import window

HELD_BYTES = 64 << 20  # of windows on their way to the model
FLOAT32_MAX = float(np.finfo(np.float32).max)


class Heard(NamedTuple):
    """A window of a recording, or why there is none."""

    file: str
    start: float = 0.0  # s
    end: float = 0.0  # s
    seconds: float | None = None  # of the recording; None of a stream without end
    sr: int | None = None  # of the recording, in Hz
    y: Samples | None = None  # at the model's rate, at most its clip length; None where nothing can be heard
    silent: bool = False  # every sample of its `y` is zero
    first: bool = False  # of its recording
    error: str | None = None


def listen(paths: Iterable[Path], recipe: Recipe, hop_seconds: float | None = None) -> Generator[Heard]:
    """Yield what a model hears of recordings, in order: the beginning of each, or windows `hop_seconds` apart.

    However many there are and however long, about 2 * `HELD_BYTES` are held.
    """

    def take(path: Path, hold: Hold) -> Iterable[Heard]:
        if hop_seconds is None:
            hold(4 * recipe.n_samples)
            return [_first(path, recipe)]
        try:
            with Recording(path) as recording:
                seconds = recording.header.n_samples / recording.header.sr
                n_bytes = 4 * recipe.n_samples * (1 + int(seconds / hop_seconds))
                if n_bytes <= HELD_BYTES:
                    hold(n_bytes)
                    return list(_of_recording(recording, recipe, hop_seconds))
        except InputError as error:
            return [Heard(str(path), first=True, error=str(error))]
        return _of_file(path, recipe, hop_seconds)  # opens it again, when its turn has come

    def every() -> Generator[Heard]:
        files = ordered(paths, take, CORES, HELD_BYTES)
        try:
            yield from chain.from_iterable(files)
        finally:
            files.close()

    return ahead(every(), lambda heard: 0 if heard.y is None else heard.y.nbytes, HELD_BYTES)


def _first(path: Path, recipe: Recipe) -> Heard:
    """Read as much of a recording as the model hears."""
    try:
        with Recording(path) as recording:
            header, y = recording.header, recording.beginning(recipe.n_samples, recipe.features.sr)
        seconds = header.n_samples / header.sr
        check_sound(str(path), y, recipe.features)
    except InputError as error:
        return Heard(str(path), first=True, error=str(error))
    end = len(y) / recipe.features.sr
    return Heard(str(path), 0.0, end, seconds, header.sr, y, silent=not y.any(), first=True)


def _of_file(path: Path, recipe: Recipe, hop_seconds: float) -> Iterator[Heard]:
    """Read a recording window by window; it is opened when the first one is asked for."""
    try:
        with Recording(path) as recording:
            yield from _of_recording(recording, recipe, hop_seconds)
    except InputError as error:
        yield Heard(str(path), first=True, error=str(error))


def _of_recording(recording: Recording, recipe: Recipe, hop_seconds: float) -> Iterator[Heard]:
    header, blocks = recording.header, cast(Iterator[Samples], recording.blocks(recipe.features.sr))
    return of_stream(str(recording.path), blocks, recipe, hop_seconds, header.sr, header.n_samples / header.sr)


def of_stream(
    name: str, blocks: Iterable[Samples], recipe: Recipe, hop_seconds: float, sr: int, seconds: float | None = None
) -> Iterator[Heard]:
    """Yield the windows of samples at the model's rate; what goes wrong on the way comes last, after all before it."""
    cfg, end, first = recipe.features, 0.0, True
    hop, failure = max(1, round(hop_seconds * cfg.sr)), ""

    def until_failure() -> Iterator[Samples]:
        nonlocal failure
        try:
            yield from blocks
        except InputError as error:
            failure = str(error)

    try:
        for one in windows(until_failure(), recipe.n_samples, hop):
            check_sound(name, one.y, cfg)
            start, end = one.start / cfg.sr, (one.start + len(one.y)) / cfg.sr
            yield Heard(name, start, end, seconds, sr, one.y, silent=not one.y.any(), first=first)
            first = False
        if first:
            raise InputError(f"{name}: holds no samples; record it again, or leave it out")
    except InputError as error:
        failure = failure or str(error)
    if failure:
        yield Heard(name, end, end, seconds, sr, first=first, error=failure)


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
    return math.sqrt(FLOAT32_MAX / cfg.n_fft) / float(np.abs(window(cfg)).sum())
