"""Raw samples from a pipe, such as a microphone's, cut into segments, each as soon as its last sample has come."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from ...esc50.audio import HIGHEST_RATE, LOWEST_RATE, Samples, check_finite, resample_stream, to_mono
from ...kernels import CumelError, InputError
from ..graph import Metadata
from .segments import Segment, from_stream

NAME = "stdin"
DTYPES = {"int16": 32768.0, "float32": 1.0}  # little-endian types, and the value of full scale
MOST_CHANNELS = 1024
PIPE_BYTES = 1 << 16  # capacity of a pipe
HEADERS = (b"RIFF", b"RF64", b"FORM", b"fLaC", b"OggS", b"ID3", b"caff", b".snd", b"\x1aE\xdf\xa3")


@dataclass(frozen=True, kw_only=True)
class RawFormat:
    """How raw samples lie in a stream; a `CumelError` for a field that cannot be."""

    sr: int  # Hz
    channels: int = 1
    dtype: str = "int16"

    def __post_init__(self) -> None:
        """Check every field."""
        if not LOWEST_RATE <= self.sr <= HIGHEST_RATE:
            raise CumelError(f"--sr {self.sr}: must be between {LOWEST_RATE} and {HIGHEST_RATE} Hz")
        if not 1 <= self.channels <= MOST_CHANNELS:
            raise CumelError(f"--channels {self.channels}: must be between 1 and {MOST_CHANNELS}")
        if self.dtype not in DTYPES:
            raise CumelError(f"--dtype {self.dtype}: must be one of {', '.join(DTYPES)}")

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return self.channels * np.dtype(self.dtype).itemsize


def segments_of_raw(
    file: int, layout: RawFormat, metadata: Metadata, hop_seconds: float | None = None
) -> Iterator[Segment]:
    """Yield windows of raw samples, `hop_seconds` apart, or one after another; Ctrl-C ends the stream.

    Parameters
    ----------
    file : int
        A file descriptor.
    layout : RawFormat
    metadata : Metadata
        The model's; the stream is resampled to the rate of its features as one piece.
    hop_seconds : float, optional

    Raises
    ------
    CumelError
        For a stream that begins like an audio file, or like text.
    """
    blocks, target = _samples(file, layout), metadata.features.sr
    resampled = blocks if layout.sr == target else resample_stream(blocks, layout.sr, target)
    return from_stream(NAME, resampled, metadata, hop_seconds or metadata.seconds, layout.sr)


def _samples(file: int, layout: RawFormat) -> Iterator[Samples]:
    """Yield samples as they come, mixed down to one channel."""
    rest, n_read = b"", 0
    with _interruptible() as wait:
        while wait(file) and (read := os.read(file, PIPE_BYTES)):
            rest += read
            if n_read == 0:
                if len(rest) < layout.frame_bytes:
                    continue
                _check_raw(rest)
            whole = len(rest) - len(rest) % layout.frame_bytes
            y = _decode(rest[:whole], layout)
            rest = rest[whole:]
            check_finite(NAME, y, n_read)
            n_read += len(y)
            yield y
    if rest:
        raise InputError(
            f"{NAME}: ends within a sample: {len(rest)} of its {layout.frame_bytes} bytes are there; "
            "check --dtype and --channels"
        )


def _decode(data: bytes, layout: RawFormat) -> Samples:
    y = np.frombuffer(data, np.dtype(layout.dtype).newbyteorder("<")).reshape(-1, layout.channels)
    return to_mono(y.astype(np.float32) / np.float32(DTYPES[layout.dtype]))


def _check_raw(first: bytes) -> None:
    """Raise a `CumelError` for bytes that are no raw samples."""
    if first.startswith(HEADERS):
        raise CumelError(f"{NAME}: begins as a recording in a file does, not with raw samples; name the file instead")
    if len(first) >= 16 and first.isascii() and first.decode().replace("\n", "").isprintable():
        raise CumelError(f"{NAME}: holds text, not raw samples; leave --raw out when it is a list of files")


@contextmanager
def _interruptible() -> Iterator:
    """Yield ``wait(file)``: True when there is something to read, or the end; False once the user pressed Ctrl-C.

    The first Ctrl-C ends the stream, and what has come by then is still classified; the second one stops at once.
    """
    waiting = asked = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        if waiting:
            raise _Asked

    def wait(file: int) -> bool:
        nonlocal waiting
        try:
            waiting = True
            if not asked:
                select.select([file], [], [])
        except _Asked:
            pass
        finally:
            waiting = False
        return not asked

    if threading.current_thread() is not threading.main_thread():
        yield wait
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield wait
    finally:
        signal.signal(signal.SIGINT, before)


class _Asked(Exception):  # noqa: N818
    """Ctrl-C, while waiting."""
