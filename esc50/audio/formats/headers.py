"""The lengths that containers other than WAV state: AIFF, 8SVX, CAF, AU, VOC, AVR, NIST and WVE."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ....kernels import InputError
from .chunks import CAF, RIFX, check_alone, chunks, goes_on, n_audio
from .foreign import convert
from .splice import Splice

AU_UNKNOWN = (1 << 32) - 1
AIFF_MOST = (1 << 32) - 64  # bytes of audio
NIST_HEADER = 1024  # bytes that hold the fields needed here
VOC_SAMPLES, VOC_TIME = (1, 2, 9), (3, 6)  # kinds of blocks with samples; with silence or a repetition


def form(path: Path, file: BinaryIO, n_bytes: int, head: bytes) -> Splice | None:
    """Return how to read an AIFF, AIFC or 8SVX of unknown length; None where it states its length."""
    name, before = (
        (b"SSND", 8) if head[8:11] == b"AIF" else (b"BODY", 0)
    )  # an offset and a block size lie before the samples
    for chunk in chunks(file, 12, n_bytes, RIFX):
        if chunk.name == name:
            first, size = chunk.first + before, chunk.size - before
            more = goes_on(path, file, n_bytes, chunk, RIFX) if size >= 0 else first < n_bytes
            n = n_audio(path, n_bytes, first, size, 32, goes_on=more)
            if n is None:
                return None
            if n > AIFF_MOST:
                raise InputError(f"{path}: {n} bytes of audio, but its header has room for 4 GB; split it")
            fields = {4: struct.pack(">I", first + n - 8), chunk.first - 4: struct.pack(">I", n + before)}
            return Splice(_with_fields(file, first, fields), first, first + n)
    return None


def caf(path: Path, file: BinaryIO, n_bytes: int, _: bytes) -> Splice | None:
    """Return how to read a CAF of unknown length, which it states as -1; None where it states its length."""
    for chunk in chunks(file, 8, n_bytes, CAF):
        if chunk.name == b"data":
            first, size = chunk.first + 4, chunk.size - 4  # a count of edits lies before the samples
            more = goes_on(path, file, n_bytes, chunk, CAF) if size >= 0 else first < n_bytes
            n = n_audio(path, n_bytes, first, size, 63, goes_on=more)
            if n is None:
                return None
            return Splice(_with_fields(file, first, {chunk.first - 8: struct.pack(">q", n + 4)}), first, first + n)
    return None


def au(path: Path, file: BinaryIO, n_bytes: int, head: bytes) -> Splice | None:
    """Return how to read a Sun or NeXT AU of unknown length; None where libsndfile reads all of it.

    All ones mean an unknown size, in the format and to libsndfile.
    """
    order = ">" if head[:4] == b".snd" else "<"
    first, size = struct.unpack(order + "II", head[4:12])
    if size == AU_UNKNOWN or n_audio(path, n_bytes, first, size, 32, goes_on=first < n_bytes) is None:
        _check_alone(path, file, first, size)
        return None
    return Splice(_with_fields(file, first, {8: struct.pack(">I", AU_UNKNOWN)}), first, n_bytes)


def small(path: Path, file: BinaryIO, n_bytes: int, head: bytes) -> None:
    """Check AVR, NIST and WVE; where the length is unknown, libsndfile reads to the end of the file."""
    for magic, stated in STATED.items():
        if head.startswith(magic):
            file.seek(0)
            place = stated(file.read(NIST_HEADER).ljust(NIST_HEADER, b"\0"))
            if place is not None:
                n_audio(path, n_bytes, *place, 32, goes_on=False)
                _check_alone(path, file, *place)


def voc(path: Path, file: BinaryIO, n_bytes: int, _: bytes) -> None:
    """Check Creative's VOC: libsndfile takes all bytes behind its first block's header for samples."""
    file.seek(20)
    at, n_blocks = int.from_bytes(file.read(2), "little"), 0
    while at + 4 <= n_bytes:
        file.seek(at)
        kind, size = file.read(1)[0], int.from_bytes(file.read(3), "little")
        if kind == 0:
            break
        at += 4
        if kind in VOC_SAMPLES:
            n_audio(path, n_bytes, at, size, 24, goes_on=False)
        n_blocks += kind in (*VOC_SAMPLES, *VOC_TIME)
        at += size
    if n_blocks > 1:
        raise InputError(f"{path}: a VOC of {n_blocks} blocks, of which libsndfile reads one; {convert(path)}")


def _with_fields(file: BinaryIO, first: int, fields: dict[int, bytes]) -> bytes:
    """Return the bytes before the samples, with some fields replaced."""
    file.seek(0)
    head = bytearray(file.read(first))
    for at, field in fields.items():
        head[at : at + len(field)] = field
    return bytes(head)


def _check_alone(path: Path, file: BinaryIO, first: int, size: int) -> None:
    file.seek(first + size)
    check_alone(path, file.read(4), first + size)


def _avr(head: bytes) -> tuple[int, int]:
    is_stereo, bits, n_frames = struct.unpack_from(">HH10xI", head, 12)
    return 128, n_frames * (2 if is_stereo else 1) * -(-bits // 8)


def _nist(head: bytes) -> tuple[int, int] | None:
    """Read NIST Sphere: lines of a name, a type and a value; None for compressed samples, whose size is not stated."""
    fields = dict(re.findall(rb"^(\w+) -\w+ ([^\n]*)$", head, re.MULTILINE))
    sizes = [fields.get(name, b"") for name in (b"sample_count", b"sample_n_bytes", b"channel_count")]
    lines = head.split(b"\n", 2)
    if b"," in fields.get(b"sample_coding", b"") or not all(size.isdigit() for size in (*sizes, lines[1].strip())):
        return None
    n, width, n_channels = map(int, sizes)
    return int(lines[1]), n * width * n_channels


def _wve(head: bytes) -> tuple[int, int]:
    return 32, int.from_bytes(head[18:22], "big")


STATED: dict[bytes, Callable[[bytes], tuple[int, int] | None]] = {
    b"2BIT": _avr,
    b"NIST_1A\n": _nist,
    b"ALawSoundFil": _wve,
}
