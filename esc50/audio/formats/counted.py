"""An MP3 whose frames were counted: libsndfile decodes it, and its own guess of the length does not matter."""

from __future__ import annotations

import io
from bisect import bisect_left, bisect_right
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from ....kernels import InputError
from . import mpeg
from .mp3 import Mp3

GRANULE = 576  # samples; layer III decodes all of them or none
SEEN_BEFORE, SEEN_BEHIND = 8, 64  # samples around the beginning of a granule
FADED = 1e-7  # share of full scale; a signal that stays below it decodes to zeros
ENDLESS = 1 << 40  # bytes; with a file so long libsndfile's guess of the length is never too short


class Forward(soundfile.SoundFile):
    """A file that is read from its beginning to its end.

    `SoundFile.read` seeks before it reads; for MP3 that changes the last bits. A file that claims not to be seekable
    stops it.
    """

    def seekable(self) -> bool:
        """Return False."""
        return False


class Counted(Forward):
    """An MP3 that is read to its last counted sample; a frame that does not decode is an `InputError`."""

    def __init__(self, path: Path, file: Any, mp3: Mp3) -> None:
        super().__init__(file, closefd=False)
        self._path = path
        self._n_samples = self._left = mp3.n_samples
        self._added = self._decoded = mp3.skipped  # number of the next sample that the decoder gives
        self._skip = 0 if mp3.tag is not None else mp3.skipped  # libsndfile skips them itself where it reads a tag
        self._last: NDArray | None = None  # the samples before the next one
        self._granule = GRANULE if mpeg.layer(mp3.header) == 3 else None

    @property
    def frames(self) -> int:
        """Samples of a channel."""
        return self._n_samples

    def guess(self) -> int:
        """Return how many samples libsndfile would read."""
        return super().frames - self._skip

    def read(
        self, frames: int = -1, dtype: Any = "float64", always_2d: bool = False, fill_value: Any = None, out: Any = None
    ) -> Any:
        """Read at most `frames` samples."""
        if self._skip:
            super().read(self._skip, dtype)
            self._skip = 0
        y = super().read(min(frames, self._left), dtype, always_2d, fill_value, out)
        self._left -= len(y)
        if self._granule:
            self._check(y, self._granule)
        return y

    def _check(self, y: NDArray, granule: int) -> None:
        """Raise an `InputError` for a granule of zeros that the samples before it do not fade into.

        libmpg123 leaves such zeros in the place of a frame that does not decode.
        """
        first, y = self._decoded, y if y.ndim == 2 else y[:, None]
        self._decoded += len(y)
        if self._last is not None:
            y, first = np.concatenate([self._last, y]), first - len(self._last)
        self._last = y[-SEEN_BEFORE - SEEN_BEHIND :]
        at = np.arange(-(-(first + SEEN_BEFORE) // granule) * granule - first, len(y) - SEEN_BEHIND + 1, granule)
        for behind in (1, SEEN_BEHIND):
            at = at[~y[at[:, None] + np.arange(behind)].any(axis=(1, 2))]
        before = np.abs(y[at[:, None] + np.arange(-SEEN_BEFORE, 0)]).max(axis=(1, 2), initial=0)
        broken = at[before > FADED]
        if broken.size:
            where = max(0, first + int(broken[0]) - self._added) / self.samplerate
            raise InputError(
                f"{self._path}: damaged at {where:.3f} s: a frame there does not decode; fetch or record it again"
            )


class Frames(io.RawIOBase):
    """The frames of an MP3 as a file, without other bytes; silent frames follow, as the decoder looks ahead."""

    def __init__(self, path: Path, mp3: Mp3) -> None:
        self._file = path.open("rb")
        self._starts: list[int] = []  # byte of this file at which each part begins
        self._parts: list[tuple[int, bytes]] = []  # byte of the MP3; and the bytes to read instead, if they differ
        self._at = self._end = 0
        changed = sorted(mp3.changed)
        for low, high in mp3.stretches:
            for at in changed[bisect_left(changed, low) : bisect_left(changed, high)]:
                self._append(low, b"", at - low)
                self._append(at, mp3.changed[at], len(mp3.changed[at]))
                low = at + len(mp3.changed[at])
            self._append(low, b"", high - low)
        self._silence = mpeg.silent(mp3.header)

    def _append(self, at: int, changed: bytes, n: int) -> None:
        if n:
            self._starts.append(self._end)
            self._parts.append((at, changed))
            self._end += n

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: ENDLESS}[whence]
        return self._at

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer."""
        n = 0
        while n < len(buffer):
            part = self._read(len(buffer) - n)
            buffer[n : n + len(part)] = part
            n += len(part)
        return n

    def _read(self, n: int) -> bytes:
        """Read at most `n` bytes from one part."""
        if self._at >= self._end:
            skipped = (self._at - self._end) % len(self._silence)
            read = self._silence[skipped : skipped + n]
        else:
            number = bisect_right(self._starts, self._at) - 1
            skipped = self._at - self._starts[number]
            at, changed = self._parts[number]
            if changed:
                read = changed[skipped : skipped + n]
            else:
                end = self._starts[number + 1] if number + 1 < len(self._starts) else self._end
                self._file.seek(at + skipped)
                read = self._file.read(min(n, end - self._at))
        self._at += len(read)
        return read

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def open_counted(path: Path, mp3: Mp3, files: ExitStack) -> soundfile.SoundFile:
    """Open for reading, until `files` closes.

    Where possible libsndfile reads the file by its descriptor: it then decodes without taking the GIL.
    """
    if mp3.tag is not None:
        sound = files.enter_context(Counted(path, _at(path, mp3.tag, files), mp3))
        if sound.guess() == sound.frames:
            return sound
        mp3 = mp3._replace(tag=None)
    alone = mp3.skipped + mp3.n_samples == mpeg.n_samples(mp3.header)  # libsndfile accepts no single frame
    if len(mp3.stretches) == 1 and not mp3.changed and not alone:
        sound = files.enter_context(Counted(path, _at(path, mp3.stretches[0][0], files), mp3))
        if sound.guess() >= sound.frames:
            return sound
    return files.enter_context(Counted(path, files.enter_context(Frames(path, mp3)), mp3))


def _at(path: Path, at: int, files: ExitStack) -> int:
    """Open a file at a byte; returns its descriptor."""
    file = files.enter_context(path.open("rb", buffering=0))
    file.seek(at)
    return file.fileno()
