"""The one door into a recording: open, check, decode to mono, resample. Bit-identical to `librosa.load`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import numpy as np
import soundfile
from numpy.typing import NDArray

from ...kernels import InputError
from .formats.opening import naming, opened
from .samples import Pcm, Samples, check_finite, resample, resample_stream, to_mono

if TYPE_CHECKING:
    import torch

MOST_SAMPLES = 2**40  # a header that promises more is damaged
BLOCK_BYTES = 4 << 20  # decoded samples of a block, all channels

Dtype = Literal["int16", "float32"]
Memory = Callable[[int, Dtype], NDArray]


class Header(NamedTuple):
    """What a recording's header states."""

    sr: int  # Hz
    n_samples: int  # samples of one channel
    n_channels: int
    is_int16: bool  # True for 16-bit PCM in one channel

    def dtype(self, sr: int) -> Dtype:
        """Return what to decode to for features at `sr` Hz: int16 where no sample needs to be changed, else float32."""
        return "int16" if self.is_int16 and self.sr == sr else "float32"


class Waveform(NamedTuple):
    """Samples of one channel, and their rate."""

    y: Pcm  # [n_samples]
    sr: int  # Hz


class Recording:
    """An audio file that is open for reading; use it in a ``with`` statement.

    Its container, its length and its format are checked when it is opened. Its samples are decoded once, from the first
    to the last: either by one `read`, or by `blocks`, or by `beginning`.

    Parameters
    ----------
    path : path
        WAV, FLAC, OGG, MP3 or AIFF, of any rate and channel count.

    Attributes
    ----------
    path : Path
    header : Header

    Raises
    ------
    InputError
        For a file that is missing, unreadable, no audio, truncated or empty; `read`, `blocks` and `beginning` raise it
        for samples that do not decode, or are NaN or infinite.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        with naming(self.path), ExitStack() as files:
            self._sound = opened(self.path, files)
            self.header = _header(self.path, self._sound)
            self._files = files.pop_all()

    def __enter__(self) -> Recording:
        """Return the recording."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        with naming(self.path):
            self._files.close()

    def read(self, sr: int | None = None, *, dtype: Dtype = "float32", memory: Memory = np.empty) -> Waveform:
        """Read the whole recording.

        Parameters
        ----------
        sr : int, optional
            Rate to resample to, in Hz (soxr HQ); None keeps the file's own.
        dtype : {"float32", "int16"}
            int16 only where `Header.dtype` allows it.
        memory : callable
            Takes a number of samples and their dtype; returns the array that they are decoded into.

        Returns
        -------
        Waveform
            ``y`` [n_samples], the mean of the channels, and its rate.
        """
        header, target = self.header, self.header.sr if sr is None else sr
        self._check(dtype, target)
        with naming(self.path):
            y = self._whole(dtype, memory)
        if len(y) < header.n_samples:
            raise self._truncated(len(y))
        check_finite(self.path, y)
        return Waveform(y if header.sr == target else resample(cast(Samples, y), header.sr, target), target)

    def blocks(
        self,
        sr: int | None = None,
        *,
        dtype: Dtype = "float32",
        device: torch.device | None = None,
        most_seconds: float = inf,
    ) -> Iterator[Pcm]:
        """Yield the samples that `read` returns, in blocks.

        Parameters
        ----------
        sr, dtype
            As for `read`.
        device : torch.device, optional
            The device that resamples (torchaudio); without one, soxr does.
        most_seconds : float
            Length of a block at most, before it is resampled.

        Yields
        ------
        ndarray [n]
        """
        target = self.header.sr if sr is None else sr
        self._check(dtype, target)
        blocks = self._blocks(dtype, most_seconds)
        if self.header.sr == target:
            return blocks
        floats = cast(Iterator[Samples], blocks)
        if device is None:
            return resample_stream(floats, self.header.sr, target)
        from .resampling import resample_blocks  # imports torchaudio

        return resample_blocks(device, floats, self.header.sr, target)

    def beginning(self, n_samples: int, sr: int) -> Samples:
        """Read the first `n_samples` at `sr` Hz as float32, or all when they are fewer; the rest is not decoded."""
        blocks, n = [], 0
        for block in self.blocks(sr, most_seconds=1.0):
            blocks.append(block)
            n += len(block)
            if n >= n_samples:
                break
        return np.concatenate(blocks)[:n_samples]

    def _check(self, dtype: Dtype, sr: int) -> None:
        if dtype == "int16" and self.header.dtype(sr) != dtype:
            raise ValueError(f"{self.path}: int16 is for 16-bit PCM in one channel at its own rate; read float32")

    def _blocks(self, dtype: Dtype, most_seconds: float) -> Iterator[Pcm]:
        header, n_read = self.header, 0
        size = max(1, int(min(BLOCK_BYTES // 4 // header.n_channels, most_seconds * header.sr)))
        while n_read < header.n_samples:  # a FLAC may have other bytes behind its samples
            with naming(self.path):
                y = self._next(min(size, header.n_samples - n_read), dtype)
            if not len(y):
                raise self._truncated(n_read)
            check_finite(self.path, y, n_read)
            n_read += len(y)
            yield y

    def _whole(self, dtype: Dtype, memory: Memory) -> Pcm:
        """Decode all samples into `memory`, as one channel; fewer when they end early."""
        if self.header.n_channels == 1:
            return cast(Pcm, self._sound.read(out=memory(self.header.n_samples, dtype)))
        y = self._next(self.header.n_samples, dtype)
        if memory is np.empty:
            return y
        placed = memory(len(y), dtype)
        placed[:] = y
        return placed

    def _next(self, n_samples: int, dtype: Dtype) -> Pcm:
        """Decode the next samples, as one channel."""
        return to_mono(np.asarray(self._sound.read(n_samples, dtype=dtype, always_2d=True)))

    def _truncated(self, n_read: int) -> InputError:
        promised = self.header.n_samples
        return InputError(f"{self.path}: truncated: {n_read} of {promised} samples decode; fetch or record it again")


def load(path: Path | str, sr: int | None = None) -> tuple[Samples, int]:
    """Read one recording as mono float32.

    Parameters
    ----------
    path : path
        WAV, FLAC, OGG, MP3 or AIFF, of any rate and channel count.
    sr : int, optional
        Rate to resample to, in Hz (soxr HQ); None keeps the file's own.

    Returns
    -------
    y : ndarray [n_samples], float32
        Mean of the channels.
    sr : int
        Its rate in Hz.

    Raises
    ------
    InputError
        For a file that is missing, unreadable, no audio, truncated, empty, or holds NaN or infinity.
    """
    with Recording(path) as recording:
        y, rate = recording.read(sr)
    return cast(Samples, y), rate


def load_all(paths: Iterable[Path], sr: int | None, workers: int) -> Iterator[tuple[Samples, int] | InputError]:
    """`load` many files on `workers` threads, in order; a file that fails yields its error.

    At most ``2 * workers + 16`` recordings are held, however many there are.
    """

    def loaded_or_error(path: Path) -> tuple[Samples, int] | InputError:
        try:
            return load(path, sr)
        except InputError as error:
            return error

    with ThreadPoolExecutor(workers) as pool:
        pending: deque = deque()
        try:
            for path in paths:
                pending.append(pool.submit(loaded_or_error, path))
                if len(pending) >= 2 * workers + 16:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for job in pending:
                job.cancel()


def _header(path: Path, sound: soundfile.SoundFile) -> Header:
    """Read the header; an `InputError` for one that promises no samples, or too many."""
    if sound.frames > MOST_SAMPLES:
        raise InputError(f"{path}: its header claims no length, or an impossible one; repair or cut it")
    if sound.frames < 1:
        raise InputError(f"{path}: holds no samples; record it again, or leave it out")
    is_int16 = sound.subtype == "PCM_16" and sound.channels == 1
    return Header(int(sound.samplerate), sound.frames, sound.channels, is_int16)
