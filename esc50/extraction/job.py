"""What an extraction computes, how much memory that takes, and the result for each recording."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ...kernels import CumelError, FeatureConfig
from ...kernels.kinds import KINDS
from ...kernels.tensors import chunk_frames
from ..audio import Header, Waveform
from ..system import Buffers

TOO_LARGE = "a value is too large for {}, or not a number; use --dtype float32"
PIECE_BYTES = 4 << 20  # samples, and features, of one piece of a long recording


@dataclass(frozen=True)
class Job:
    """What to compute, and where."""

    kind: str
    stored: str  # dtype on disk
    cfg: FeatureConfig  # with `time_major` off: what is computed is [n_rows, n_frames]
    device: torch.device
    spill: Path  # folder for temporary files, which hold long recordings' features between two passes
    buffers: Buffers = field(default_factory=Buffers, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Compute in one layout: shards have one, and `Store` gives that of the config."""
        object.__setattr__(self, "cfg", self.cfg.replace(time_major=False))

    @cached_property
    def n_rows(self) -> int:
        """Number of values per frame."""
        return KINDS[self.kind].n_rows(self.cfg)

    @cached_property
    def frame_bytes(self) -> int:
        """Bytes of a frame as computed (float32 or complex64) plus bytes of a frame as stored."""
        computed = 8 * self.n_rows if self.kind == "stft" else 4 * max(self.n_rows, self.cfg.n_mels)
        return computed + self.n_rows * np.dtype(self.stored).itemsize

    def cost(self, header: Header) -> int:
        """Return the bytes of memory that a recording takes when it is read whole."""
        n = -(-header.n_samples * self.cfg.sr // header.sr)
        decoded = header.n_samples * np.dtype(header.dtype(self.cfg.sr)).itemsize * header.n_channels
        mixed = 4 * header.n_samples if header.n_channels > 1 else 0
        resampled = 4 * n if header.sr != self.cfg.sr else 0
        return decoded + mixed + resampled + self.cfg.n_frames(n) * self.frame_bytes

    @cached_property
    def piece_frames(self) -> int:
        """Frames of a piece: whole chunks of the CPU path, so that the numbers are those of the whole recording."""
        chunk = chunk_frames(self.cfg)
        return chunk * max(1, PIECE_BYTES // (chunk * max(4 * self.cfg.hop_length, self.frame_bytes)))

    def as_stored(self, frames: NDArray) -> NDArray:
        """Copy ``frames`` [n, n_rows] to an array of `buffers` as they go to disk.

        Raises
        ------
        CumelError
            For a value that does not fit into the dtype on disk.
        """
        stored = self.buffers.take(frames.shape, self.stored)
        with np.errstate(over="ignore"):  # an overflow becomes infinite, and `checked` refuses it
            np.copyto(stored, frames, casting="same_kind")
        return self.checked(stored)

    def checked(self, stored: NDArray) -> NDArray:
        """Return `stored` itself; a `CumelError` if a value in it is not finite."""
        if not np.isfinite(stored).all():
            raise CumelError(TOO_LARGE.format(self.stored))
        return stored


class Result(NamedTuple):
    """A recording's features, or why there are none.

    `begin` makes it, reading adds `clip`, computing adds the features; `failed` adds an error instead.
    """

    path: Path
    key: str  # absolute path, as text
    size: int  # bytes of the file, -1 if it does not exist
    mtime_ns: int
    n_samples: int = 0  # length at the features' rate
    n_frames: int = 0
    silent: bool = False
    parts: Iterable[NDArray] = ()  # arrays of frames [n, n_rows], as stored
    n_bytes: int = 0  # bytes of memory that this result holds
    error: str | None = None
    clip: Waveform | None = None  # samples, from reading until computing
    name: str = ""  # path below the given folder, or as in the given list
    real: str | None = None  # target of the path, if that is another path
    also: tuple[str, ...] = ()  # other paths to the same file
    fingerprint: int | None = None
    source_sr: int | None = None  # rate of the recording, Hz

    def facts(self, sr: int) -> dict[str, Any]:
        """Return the recording's columns in the index, for features at `sr` Hz."""
        return {
            "path": self.key,
            "name": self.name,
            "real": self.real,
            "also": list(self.also),
            "size": self.size,
            "mtime_ns": self.mtime_ns,
            "fingerprint": self.fingerprint,
            "source_sr": self.source_sr,
            "sr": 0 if self.error is not None else sr,
            "n_samples": self.n_samples,
            "status": "error" if self.error is not None else "silent" if self.silent else "ok",
            "error": self.error,
        }
