"""What an extraction computes, what that takes in memory, and what comes of each recording."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ...kernels import CumelError, FeatureConfig, log_mel, mel_image, melspectrogram, mfcc, stft
from ...kernels.cpu import chunk_frames
from ..audio import Header, Waveform
from ..store import n_rows_of
from ..system import Buffers

KINDS: dict[str, Callable] = {
    "logmel": log_mel,
    "mel": melspectrogram,
    "stft": stft,
    "mfcc": mfcc,
    "image": mel_image,
}
TOO_LARGE = "a value is too large for {}, or not a number; use --dtype float32"
PIECE_BYTES = 4 << 20  # of samples, and of features, of a recording that is taken piece by piece


@dataclass(frozen=True)
class Job:
    """What to compute, and where."""

    kind: str
    stored: str  # dtype
    cfg: FeatureConfig
    device: torch.device
    spill: Path  # folder for what a long recording's features take until its maximum is known
    buffers: Buffers = field(default_factory=Buffers, compare=False, repr=False)

    @cached_property
    def n_rows(self) -> int:
        """Return the values of a frame."""
        return n_rows_of(self.kind, self.cfg)

    @cached_property
    def frame_bytes(self) -> int:
        """Return the bytes of a frame as it is computed (float32 or complex64) and as it is stored, together."""
        computed = 8 * self.n_rows if self.kind == "stft" else 4 * max(self.n_rows, self.cfg.n_mels)
        return computed + self.n_rows * np.dtype(self.stored).itemsize

    def cost(self, header: Header) -> int:
        """Return the bytes that a recording takes when it is read whole."""
        n = -(-header.n_samples * self.cfg.sr // header.sr)
        decoded = header.n_samples * np.dtype(header.dtype(self.cfg.sr)).itemsize * header.n_channels
        mixed = 4 * header.n_samples if header.n_channels > 1 else 0
        resampled = 4 * n if header.sr != self.cfg.sr else 0
        return decoded + mixed + resampled + self.cfg.n_frames(n) * self.frame_bytes

    @cached_property
    def piece_frames(self) -> int:
        """Return the frames of a piece: whole chunks of the CPU path, so that its numbers are the whole recording's."""
        chunk = chunk_frames(self.cfg)
        return chunk * max(1, PIECE_BYTES // (chunk * max(4 * self.cfg.hop_length, self.frame_bytes)))

    def as_stored(self, frames: NDArray) -> NDArray:
        """Copy ``frames`` [n, n_rows] to an array of `buffers` as they go to disk.

        Raises
        ------
        CumelError
            For a value that does not fit.
        """
        stored = self.buffers.take(frames.shape, self.stored)
        with np.errstate(over="ignore"):  # becomes infinite, and is seen in `checked`
            np.copyto(stored, frames, casting="same_kind")
        return self.checked(stored)

    def checked(self, stored: NDArray) -> NDArray:
        """Return `stored` as it came; a `CumelError` for a value in it that does not fit."""
        if not np.isfinite(stored).all():
            raise CumelError(TOO_LARGE.format(self.stored))
        return stored


class Result(NamedTuple):
    """A recording's features, or why there are none."""

    path: Path
    key: str  # its absolute path, as text
    size: int  # bytes of the file, -1 when it is not there
    mtime_ns: int
    n_samples: int = 0  # at the features' rate
    n_frames: int = 0
    silent: bool = False
    parts: Iterable[NDArray] = ()  # of frames [n, n_rows], as stored
    n_bytes: int = 0  # that it holds in memory
    error: str | None = None
    clip: Waveform | None = None  # read, and not computed yet
    name: str = ""  # below what was given
    real: str | None = None  # what the path leads to, where that is another one
    also: tuple[str, ...] = ()  # other paths that lead there
    fingerprint: int | None = None

    def facts(self, sr: int) -> dict[str, Any]:
        """Return what an index says of the recording, for features at `sr` Hz."""
        return {
            "path": self.key,
            "name": self.name,
            "real": self.real,
            "also": list(self.also),
            "size": self.size,
            "mtime_ns": self.mtime_ns,
            "fingerprint": self.fingerprint,
            "sr": 0 if self.error is not None else sr,
            "n_samples": self.n_samples,
            "status": "error" if self.error is not None else "silent" if self.silent else "ok",
            "error": self.error,
        }
