"""Recordings for extraction: whole where they are short, as a stream of blocks where they are long.

The samples are those of `audio.load`, to the last bit. 16-bit PCM in one channel at the right rate stays int16.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import ceil, inf
from pathlib import Path
from typing import Literal, NamedTuple, cast

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray

from ...kernels import InputError
from .recording import check_numbers, mono, opened, resample, truncated
from .resampling import Samples, resample_blocks

BLOCK_BYTES = 4 << 20  # of decoded samples, all channels
MOST_SAMPLES = 2**40  # what a header may promise

Pcm = NDArray[np.int16] | Samples
Dtype = Literal["int16", "float32"]
Memory = Callable[[int, Dtype], NDArray]


class Header(NamedTuple):
    """What a recording says of itself."""

    sr: int  # Hz
    n_samples: int
    n_channels: int
    is_int16: bool  # 16-bit PCM in one channel

    def dtype(self, sr: int) -> Dtype:
        """Return what to decode to for features at `sr` Hz: int16 needs no conversion, but is not resampled."""
        return "int16" if self.is_int16 and self.sr == sr else "float32"


class Clip(NamedTuple):
    """A recording that was read whole."""

    y: Pcm  # [n_samples], one channel
    sr: int  # Hz


def header_of(path: Path, sound: soundfile.SoundFile) -> Header:
    """Read the header of an opened recording; an `InputError` for one that promises no samples, or too many."""
    if sound.frames > MOST_SAMPLES:
        raise InputError(f"{path}: its header claims no length, or an impossible one; repair or cut it")
    if sound.frames < 1:
        raise InputError(f"{path}: holds no samples; record it again, or leave it out")
    is_int16 = sound.subtype == "PCM_16" and sound.channels == 1
    return Header(int(sound.samplerate), sound.frames, sound.channels, is_int16)


def read(
    path: Path, sr: int, admit: Callable[[Header], bool], *, resampled: bool = True, memory: Memory = np.empty
) -> Clip | None:
    """Read a recording whole, unless it is too long for that.

    Parameters
    ----------
    path : Path
    sr : int
        Hz of the features.
    admit : callable
        Is given the header; waits until there is memory, and returns whether to read the recording whole.
    resampled : bool
        Resample to `sr` with soxr HQ; otherwise a recording of another rate keeps its own.
    memory : callable
        Is given a number of samples and their dtype; returns the array that they are decoded into.

    Raises
    ------
    InputError
        As `audio.load`.
    """
    with opened(path) as sound:
        header = header_of(path, sound)
        if not admit(header):
            return None
        y = _whole(sound, header, header.dtype(sr), memory)
    if len(y) < header.n_samples:
        raise truncated(path, len(y), header.n_samples)
    check_numbers(path, y)
    if header.sr == sr or not resampled:
        return Clip(y, header.sr)
    return Clip(resample(np.asarray(y, np.float32), header.sr, sr), sr)


def stream(path: Path, sr: int, device: torch.device | None = None) -> Iterator[Pcm]:
    """Yield the samples that `read` would return, in blocks; resampled on `device`, or with soxr without one."""
    return begin(path, sr, device)[1]


def begin(
    path: Path, sr: int, device: torch.device | None = None, *, most_seconds: float = inf
) -> tuple[Header, Iterator[Pcm]]:
    """Open a recording; returns its header, and what `stream` yields in blocks of at most `most_seconds`."""
    opening = _blocks(path, sr, most_seconds)
    header = cast(Header, next(opening))
    blocks = cast(Iterator[Pcm], opening)
    if header.sr == sr:
        return header, blocks
    resampled = (
        resample_soxr(blocks, header.sr, sr) if device is None else resample_blocks(device, blocks, header.sr, sr)
    )
    return header, resampled


def beginning(path: Path, sr: int, n_samples: int) -> tuple[Samples, Header]:
    """Read the first `n_samples` at `sr` Hz as float32, or all when they are fewer; what follows is not decoded."""
    header, blocks = begin(path, sr, most_seconds=1.0)
    parts, n = [], 0
    for block in blocks:
        parts.append(as_float(block))
        n += len(block)
        if n >= n_samples:
            break
    return np.concatenate(parts)[:n_samples], header


def as_float(y: Pcm) -> Samples:
    """Return samples as float32; int16 as the decoder would have scaled them."""
    return y.astype(np.float32) * np.float32(1 / 32768) if y.dtype == np.int16 else cast(Samples, y)


def _blocks(path: Path, sr: int, most_seconds: float) -> Iterator[Header | Pcm]:
    """Yield the header, then the samples."""
    with opened(path) as sound:
        header = header_of(path, sound)
        yield header
        dtype, n_read = header.dtype(sr), 0
        size = max(1, int(min(BLOCK_BYTES // 4 // header.n_channels, most_seconds * header.sr)))
        while n_read < header.n_samples:
            y = _next(sound, min(size, header.n_samples - n_read), dtype)  # not what may follow a FLAC
            if not len(y):
                raise truncated(path, n_read, header.n_samples)
            check_numbers(path, y, n_read)
            n_read += len(y)
            yield y


def _whole(sound: soundfile.SoundFile, header: Header, dtype: Dtype, memory: Memory) -> Pcm:
    """Read all samples of an opened recording into `memory`, as one channel; less when they end early."""
    if header.n_channels == 1:
        return cast(Pcm, sound.read(out=memory(header.n_samples, dtype)))
    y = _next(sound, header.n_samples, dtype)
    if memory is np.empty:
        return y
    there = memory(len(y), dtype)
    there[:] = y
    return there


def _next(sound: soundfile.SoundFile, n_samples: int, dtype: Dtype) -> Pcm:
    """Read the next samples of an opened recording, as one channel."""
    return mono(np.asarray(sound.read(n_samples, dtype=dtype, always_2d=True)))


def resample_soxr(blocks: Iterable[Pcm], sr: int, target: int) -> Iterator[Samples]:
    """Resample block by block: the bits of `audio.resample`, whose one call works in the same way inside."""
    state = soxr.ResampleStream(sr, target, 1, dtype="float32", quality="HQ")
    n_in = n_out = 0
    for block in blocks:
        n_in += len(block)
        y = state.resample_chunk(block)
        n_out += len(y)
        yield y
    n_left = ceil(n_in * target / sr) - n_out
    assert n_left >= 0  # soxr holds back more than it rounds up
    last = state.resample_chunk(np.empty(0, np.float32), last=True)[:n_left]
    yield np.pad(last, (0, n_left - len(last)))
