"""The samples of clips: each recording is decoded once, however many parts of it are clips."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...kernels import InputError
from ..audio import Samples, load_all
from .dataset import Clip


def waveforms(clips: Sequence[Clip], sr: int, workers: int) -> Iterator[tuple[int, Samples | InputError]]:
    """Decode clips on `workers` threads, at `sr` Hz; a part is cut out of its whole resampled recording.

    Yields
    ------
    tuple of int and ndarray [n_samples]
        A position in `clips` and its samples, or the error of its recording; clips of one recording follow each other.
    """
    of_path: dict[Path, list[int]] = defaultdict(list)
    for i, clip in enumerate(clips):
        of_path[clip.path].append(i)
    for numbers, loaded in zip(of_path.values(), load_all(of_path, sr, workers), strict=True):
        for i in numbers:
            yield i, loaded if isinstance(loaded, InputError) else _part(clips[i], loaded[0], sr)


def _part(clip: Clip, y: Samples, sr: int) -> Samples | InputError:
    first = round(clip.start * sr)
    part = y[first : None if clip.end is None else round(clip.end * sr)]
    return (
        part
        if len(part)
        else InputError(f"{clip.where}: begins behind the end of its recording, at {len(y) / sr:g} s; mend its start")
    )
