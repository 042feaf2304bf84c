"""MPEG audio in files: frame headers, and the tags around the frames.

Frames: ISO/IEC 11172-3, 2.4.1.3, and 13818-3 for the lower rates. Tags: ID3v1, ID3v2.4, APEv2, Lyrics3, Xing with
LAME's part, VBRI.
"""

from __future__ import annotations

import os
import struct
from functools import lru_cache
from typing import BinaryIO, NamedTuple

KBPS = {
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),  # keys: is it MPEG-1, layer
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # rates of MPEG-1, 2 and 2.5
SHARED = 0xFFFE0C00  # bits of a header that are equal in all frames: sync, version, layer, rate
TAG_REACH = 192  # bytes of a frame that hold all fields of a length tag
DECODER_DELAY = 529  # samples; LAME's delay is counted without them, its padding with them
HAS_FRAMES, HAS_BYTES, HAS_TOC, HAS_QUALITY = 1, 2, 4, 8  # flags of a Xing tag
MOST_TAGS = 1000  # limit of tags before the frames
MOST_CHUNKS = 1 << 16  # limit of chunks before the audio of a WAV
OTHERS = (b"RF64", b"FORM", b"OggS", b"fLaC", b".snd", b"caff", b"riff", b"\x1aE\xdf\xa3", b"\0\0\1\xba")
MPEG_IN_WAV = (b"\x50\0", b"\x55\0")  # format tags: layers I and II, layer III
EXTENSIBLE = b"\xfe\xff"  # a format tag; the codec's own tag follows later
UNRECOGNISED = 1  # libsndfile's code for a format it does not know
LYRICS_REACH = 5100 + 11 + 9  # most bytes of a Lyrics3 v1 tag


class LengthTag(NamedTuple):
    """The fields of a tag (Xing or VBRI) that lies in a frame without audio, before all others."""

    is_xing: bool  # libsndfile uses Xing tags, and ignores VBRI
    n_frames: int  # 0 when not stated
    n_bytes: int | None  # bytes from the tag's own frame on; None when not stated
    skipped: int = 0  # samples to leave out at the beginning
    padding: int = 0  # samples to leave out at the end


def layer(header: int) -> int:
    """Return the layer: 1, 2 or 3."""
    return 4 - (header >> 17 & 3)


def is_mpeg_1(header: int) -> bool:
    """Return whether a header is of MPEG-1, and not of the lower rates of MPEG-2 and 2.5."""
    return header >> 19 & 3 == 3


def n_samples(header: int) -> int:
    """Return the samples of a frame."""
    return {1: 384, 2: 1152, 3: 1152 if is_mpeg_1(header) else 576}[layer(header)]


@lru_cache(maxsize=4096)
def size(header: int) -> int:
    """Return the bytes of a frame; 0 for four bytes that are no header, and for a frame of free format."""
    version, kbps, hz = header >> 19 & 3, header >> 12 & 15, header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or layer(header) == 4 or kbps in (0, 15) or hz == 3:
        return 0
    rate, padding = KBPS[version == 3, layer(header)][kbps] * 1000, header >> 9 & 1
    if layer(header) == 1:
        return (12 * rate // HZ[version][hz] + padding) * 4
    return n_samples(header) // 8 * rate // HZ[version][hz] + padding


def is_free(header: int) -> bool:
    """Return whether a header is of free format: only the place of the next frame tells the size."""
    return header >> 12 & 15 == 0 and size(header | 0x1000) > 0


def in_mono(header: int) -> bool:
    """Return whether a frame has one channel."""
    return header >> 6 & 3 == 3


def alike(header: int, other: int) -> bool:
    """Return whether two frames can belong to one recording."""
    return not (header ^ other) & SHARED and in_mono(header) == in_mono(other)


def side_size(header: int) -> int:
    """Return the bytes of side information in a layer III frame."""
    if is_mpeg_1(header):
        return 17 if in_mono(header) else 32
    return 9 if in_mono(header) else 17


def reservoir(header: int) -> int:
    """Return how many bytes of audio before it a layer III frame can refer to."""
    return 511 if is_mpeg_1(header) else 255


def before_audio(header: int) -> int:
    """Return the bytes of a layer III frame that are header, checksum and side information."""
    return 4 + (0 if header >> 16 & 1 else 2) + side_size(header)


def refers_back(beginning: bytes) -> int:
    """Return how many bytes of audio before it a layer III frame refers to, given its first `before_audio` bytes."""
    header = int.from_bytes(beginning[:4], "big")
    side = len(beginning) - side_size(header)
    return int.from_bytes(beginning[side : side + 2], "big") >> 7 if is_mpeg_1(header) else beginning[side]


def silenced(beginning: bytes, reserve: int) -> bytes:
    """Return the beginning of a frame, changed to code silence and refer to at most `reserve` bytes before it."""
    header = int.from_bytes(beginning[:4], "big")
    back = (reserve << 7).to_bytes(2, "big") if is_mpeg_1(header) else bytes([reserve])
    side = len(beginning) - side_size(header)
    return (beginning[:side] + back).ljust(len(beginning), b"\0")


def silent(header: int) -> bytes:
    """Return a silent frame with the format of `header`."""
    return (header | 0x10000).to_bytes(4, "big").ljust(size(header), b"\0")


def length_tag(frame: bytes) -> LengthTag | None:
    """Read the first `TAG_REACH` bytes of a layer III frame; None for one that holds audio."""
    header = int.from_bytes(frame[:4], "big")
    if layer(header) != 3:
        return None
    if frame[36:40] == b"VBRI":
        n_bytes, n_frames = struct.unpack(">II", frame[46:54].ljust(8, b"\0"))
        return LengthTag(False, n_frames, n_bytes)
    at = 4 + side_size(header)
    if frame[at : at + 4] not in (b"Xing", b"Info") or any(frame[6:at]):
        return None
    flags = int.from_bytes(frame[at + 4 : at + 8], "big")
    stated, at = {}, at + 8
    for flag, n in ((HAS_FRAMES, 4), (HAS_BYTES, 4), (HAS_TOC, 100), (HAS_QUALITY, 4)):
        if flags & flag:
            stated[flag] = int.from_bytes(frame[at : at + n], "big")
            at += n
    lame = frame[at : min(at + 24, size(header))]
    ends = int.from_bytes(lame[21:24], "big") if len(lame) == 24 and lame[0] else 0
    skipped, padding = (ends >> 12) + DECODER_DELAY, max(0, (ends & 0xFFF) - DECODER_DELAY)
    return LengthTag(True, stated.get(HAS_FRAMES, 0), stated.get(HAS_BYTES), skipped, padding)


def bounds(file: BinaryIO) -> tuple[int, int] | None:
    """Return where the search for the first frame begins, and where the last frame ends at the latest."""
    n_bytes = os.fstat(file.fileno()).st_size
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"RIFF":
        return _bounds_in_wav(file, n_bytes) if head[8:] == b"WAVE" else None
    if head.startswith(OTHERS) or head[4:8] == b"ftyp":
        return None
    start = after_tags(file)
    return start, before_tags(file, start, n_bytes)


def _bounds_in_wav(file: BinaryIO, n_bytes: int) -> tuple[int, int] | None:
    at, is_mpeg = 12, False
    for _ in range(MOST_CHUNKS):
        if at + 8 > n_bytes:
            break
        file.seek(at)
        name, size = file.read(4), int.from_bytes(file.read(4), "little")
        at += 8
        if name == b"fmt ":
            fmt = file.read(26)
            is_mpeg = (fmt[24:] if fmt[:2] == EXTENSIBLE else fmt[:2]) in MPEG_IN_WAV
        if name == b"data" and is_mpeg:
            return at, min(at + size, n_bytes) if size else n_bytes
        if name in (b"data", b"fmt ") and not is_mpeg:
            break
        at += size + size % 2
    return None


def after_tags(file: BinaryIO) -> int:
    """Return the end of the tags at the beginning of a file."""
    at = 0
    for _ in range(MOST_TAGS):
        n = tag_size(file, at)
        if not n:
            break
        at += n
    return at


def tag_size(file: BinaryIO, at: int) -> int:
    """Return the bytes of the tag that begins at a byte; 0 where none does."""
    file.seek(at)
    head = file.read(32)
    if head[:3] == b"ID3" and len(head) >= 10:
        return 10 + _synchsafe(head[6:10]) + (10 if head[5] & 0x10 else 0)  # A flag tells of a footer.
    if head[:3] == b"TAG":
        file.seek(at + 227)
        return 227 if head[3:4] == b"+" and file.read(3) == b"TAG" else 128
    if head[:8] == b"APETAGEX" and len(head) == 32:
        return 32 + int.from_bytes(head[12:16], "little")
    return 0


def before_tags(file: BinaryIO, start: int, end: int) -> int:
    """Return the beginning of the tags that end at `end`."""
    while start < end and (n := _closing_tag(file, start, end)):
        end -= n
    return end


def _closing_tag(file: BinaryIO, start: int, end: int) -> int:
    """Return the bytes of the tag that ends at a byte; 0 where none does."""
    low = max(start, end - LYRICS_REACH)
    file.seek(low)
    last = file.read(end - low)
    n = 0
    if last[-128:-125] == b"TAG":
        n = 128 + (227 if last[-355:-351] == b"TAG+" else 0)
    elif last[-32:-24] == b"APETAGEX":
        n = int.from_bytes(last[-20:-16], "little") + (32 if last[-9] & 0x80 else 0)
        file.seek(max(start, end - n))
        if last[-9] & 0x80 and file.read(8) != b"APETAGEX":
            n = 0  # A wrong size would reach into the audio.
    elif last[-10:-7] == b"3DI":
        n = 20 + _synchsafe(last[-4:])
    elif last[-9:] == b"LYRICS200" and last[-15:-9].isdigit():
        n = int(last[-15:-9]) + 15
    elif last[-9:] == b"LYRICSEND" and b"LYRICSBEGIN" in last:
        n = len(last) - last.rfind(b"LYRICSBEGIN")
    return n if n <= end - start else 0


def _synchsafe(size: bytes) -> int:
    """Decode a number of seven bits a byte."""
    return sum((byte & 0x7F) << shift for byte, shift in zip(size, (21, 14, 7, 0), strict=True))
