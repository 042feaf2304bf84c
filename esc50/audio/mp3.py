"""MP3 that does not say how long it is, for want of a Xing header: libsndfile then guesses, and reads no further.

So its frames are counted here, and it is read with such a header in front, as encoders write it.
Frame headers: ISO/IEC 11172-3, 2.4.1.3, and 13818-3 for the lower rates.
"""

from __future__ import annotations

import io
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ...kernels import InputError

MPEG_1, LAYER_3 = 3, 1  # as headers number them
KBPS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # of MPEG-1
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # of MPEG-2 and 2.5
}
HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
SHARED = 0xFFFE0C00  # bits of a header that are every frame's: sync, version, layer, rate
LENGTHS = (b"Xing", b"Info", b"VBRI")  # tags that state how many frames there are
TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN")  # that may follow the audio
LONGEST_TAG = 11
MOST_TAGS = 1000  # at the beginning, that are looked at
DELAY = 529  # samples that a decoder adds at the beginning
SILENCE = 4608  # samples: whole frames, and whole turns of the decoder's filter bank, so that it rounds the same


class Frames(NamedTuple):
    """An MP3's audio."""

    first: int  # byte at which it begins
    end: int
    n: int  # frames
    header: int  # of the first


def unstated_frames(path: Path, file: BinaryIO, n_bytes: int) -> Frames | None:
    """Count the frames of an MP3 that does not state its length; None for any other file.

    Raises
    ------
    InputError
        When its last frame is cut.
    """
    first = _after_id3(file)
    header = _header(file, first)
    file.seek(first)
    frame = file.read(_size(header))
    if not frame or any(tag in frame[:48] for tag in LENGTHS):
        return None
    at, n = first, 0
    while at + 4 <= n_bytes:
        found = _header(file, at)
        if not _size(found) or (found ^ header) & SHARED:
            file.seek(at)
            if file.read(LONGEST_TAG).startswith(TAGS):
                break
            return None  # no MP3, or a damaged one: the decoder finds its way, or says so
        at += _size(found)
        n += 1
    if at > n_bytes or n_bytes - at in (1, 2, 3):
        raise InputError(f"{path}: truncated: its last frame is cut; fetch or record it again")
    return Frames(first, at, n, header)


class WithLength(io.RawIOBase):
    """An MP3's audio for libsndfile, behind a frame that states its length."""

    def __init__(self, path: Path, frames: Frames) -> None:
        self._file = path.open("rb")
        self._head = _stating(frames)
        self._shift = len(self._head) - frames.first
        self._size = frames.end + self._shift
        self._at = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """Return the byte it is at."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes; fewer where the two parts meet, and at the end."""
        size = min(size if size >= 0 else self._size, self._size - self._at)
        if self._at < len(self._head):
            part = self._head[self._at : self._at + size]
        else:
            self._file.seek(self._at - self._shift)
            part = self._file.read(max(0, size))
        self._at += len(part)
        return part

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer."""
        n = 0
        while n < len(buffer) and (part := self.read(len(buffer) - n)):
            buffer[n : n + len(part)] = part
            n += len(part)
        return n

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def _after_id3(file: BinaryIO) -> int:
    """Return where the audio begins: behind the ID3v2 tags, whose sizes have seven bits a byte."""
    at = 0
    for _ in range(MOST_TAGS):
        file.seek(at)
        head = file.read(10)
        if len(head) < 10 or head[:3] != b"ID3":
            break
        at += 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    return at


def _header(file: BinaryIO, at: int) -> int:
    file.seek(at)
    return int.from_bytes(file.read(4).ljust(4, b"\0"), "big")


@lru_cache(maxsize=4096)
def _size(header: int) -> int:
    """Return the bytes of a layer III frame; 0 where there is none, or it has no fixed size."""
    version, layer, kbps, hz = header >> 19 & 3, header >> 17 & 3, header >> 12 & 15, header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or layer != LAYER_3 or kbps in (0, 15) or hz == 3:
        return 0
    rate = KBPS[version == MPEG_1][kbps] * 1000
    return (144 if version == MPEG_1 else 72) * rate // HZ[version][hz] + (header >> 9 & 1)


def _stating(frames: Frames) -> bytes:
    """Return frames of the audio's kind: a Xing header that states the length, and `SILENCE`.

    With such a header a decoder drops `DELAY` samples and what LAME's part of it says; here that is the silence.
    """
    mpeg_1, in_mono = frames.header >> 19 & 3 == MPEG_1, frames.header >> 6 & 3 == 3
    header = (frames.header & ~0xF200) | 0x19000  # of a rate that leaves room for it; without checksum and padding
    side = (17 if in_mono else 32) if mpeg_1 else (9 if in_mono else 17)
    silence = struct.pack(">I", header).ljust(_size(header), b"\0")
    n_silent = SILENCE // (1152 if mpeg_1 else 576)
    ends = SILENCE - DELAY << 12 | DELAY  # 12 bits each: to drop at the beginning, and at the end
    xing = b"Xing" + struct.pack(">II", 1, frames.n + n_silent)
    lame = b"LAME3.100".ljust(21, b"\0") + ends.to_bytes(3, "big")
    tagged = silence[: 4 + side] + xing + lame
    return tagged + silence[len(tagged) :] + silence * n_silent
