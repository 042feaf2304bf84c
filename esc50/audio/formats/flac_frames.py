"""FLAC's frames: their headers, and whether they follow one another.

A decoder puts zeros in the place of a missing frame, and skips one that comes too late, without an error.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ....kernels import InputError
from .foreign import convert

BEGINS = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")  # a FLAC file; 34 bytes of STREAMINFO follow
LONGEST_HEADER = 16  # bytes
LARGEST_FRAME = 1 << 22  # bytes, more than 8 channels of 32 bits may take
PIECE = 1 << 16  # bytes per read while searching
BEGUN = re.compile(b"|".join(map(re.escape, BEGINS)))
SYNC = {False: re.compile(rb"\xff\xf8"), True: re.compile(rb"\xff\xf9")}  # True: the size of blocks varies
BLOCKS = {1: 192, **{code: 144 << code for code in range(2, 6)}, **{code: 1 << code for code in range(8, 16)}}
RATES = (0, 88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
BITS = (0, 8, 12, 0, 16, 20, 24, 32)


def _table(polynomial: int, bits: int) -> list[int]:
    top, mask = 1 << (bits - 1), (1 << bits) - 1
    table = []
    for byte in range(256):
        value = byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value & top else 0)) & mask
        table.append(value)
    return table


CRC_8, CRC_16 = _table(0x07, 8), _table(0x8005, 16)


class Info(NamedTuple):
    """What STREAMINFO states."""

    is_even: bool  # True when all blocks but the last have one size
    sr: int
    n_channels: int
    bits: int
    total: int


class Frame(NamedTuple):
    """A frame's header; 0 stands for what STREAMINFO states."""

    at: int  # byte of the file
    form: int  # the byte that codes the number of samples and the rate
    is_variable: bool
    number: int  # number of the frame, or of its first sample where `is_variable`
    n_samples: int
    sr: int
    n_channels: int
    bits: int

    @property
    def follows(self) -> int:
        """Number of the next frame."""
        return self.number + (self.n_samples if self.is_variable else 1)

    def contradiction(self, info: Info) -> str:
        """Describe how the frame differs from STREAMINFO; empty when it does not."""
        pairs = (
            ("Hz", info.sr, self.sr),
            ("channels", info.n_channels, self.n_channels),
            ("bits a sample", info.bits, self.bits),
        )
        return "; ".join(
            f"{stated} {unit}, but a frame has {coded}" for unit, stated, coded in pairs if coded not in (0, stated)
        )


def frame_at(raw: bytes, at: int) -> Frame | None:
    """Read the frame header at the beginning of `raw`; None when its format or its checksum is wrong."""
    if len(raw) < 6 or raw[0] != 0xFF or raw[1] & 0xFE != 0xF8:
        return None
    block, rate, channels, bits = raw[2] >> 4, raw[2] & 15, raw[3] >> 4, raw[3] >> 1 & 7
    n_more = next((n for n, top in enumerate((0x80, 0xC0, 0xE0, 0xF0, 0xF8, 0xFC, 0xFE, 0xFF)) if raw[4] < top), 8)
    if block == 0 or rate == 15 or channels > 10 or bits == 3 or raw[3] & 1 or n_more in (1, 8):
        return None
    n_more = max(0, n_more - 1)
    number, after = raw[4] & (0x7F if n_more == 0 else 0x3F >> n_more), 5 + n_more
    for byte in raw[5:after]:
        number = number << 6 | byte & 0x3F
    n_block = {6: 1, 7: 2}.get(block, 0)
    n_rate = {12: 1, 13: 2, 14: 2}.get(rate, 0)
    extra, end = raw[after : after + n_block], after + n_block + n_rate
    if end >= len(raw) or _crc(raw[:end], CRC_8, 8) != raw[end]:
        return None
    n_samples = BLOCKS.get(block) or int.from_bytes(extra, "big") + 1
    hertz = int.from_bytes(raw[after + n_block : end], "big")
    sr = RATES[rate] if rate < 12 else hertz * {12: 1000, 13: 1, 14: 10}[rate]
    return Frame(at, raw[2], bool(raw[1] & 1), number, n_samples, sr, channels + 1 if channels < 8 else 2, BITS[bits])


def check_sequence(path: Path, file: BinaryIO, start: Frame, n_bytes: int, *, is_numbered: bool) -> None:
    """Raise an `InputError` for frames that are out of order, and for a second recording behind the first.

    Parameters
    ----------
    path : Path
    file : file
    start : Frame
        The first frame.
    n_bytes : int
        Size of the file.
    is_numbered : bool
        Whether the number of a frame tells how many samples are before it.
    """
    last, expected = start.at, start.follows
    other: Frame | None = None  # bytes that look like a frame out of order; they may be audio
    for at, header in _begun(file, start, n_bytes) if is_numbered else ():
        if header[2] == start.form and not start.is_variable and header.startswith(_coded(expected), 4):
            last, expected = at, expected + 1
            continue
        frame = frame_at(header, at)
        if frame is None:
            continue
        if frame.number == expected:
            last, expected = at, frame.follows
            continue
        check_alone(path, file, last, at)
        wrong = other if other is not None and frame.number == other.follows else frame
        if wrong is other or _is_whole(file, last, at):
            unit = "sample" if start.is_variable else "frame"
            raise InputError(
                f"{path}: damaged at byte {wrong.at}: {unit} {wrong.number} lies where {unit} {expected} belongs; "
                f"fetch it again, or {convert(path)}"
            )
        other = frame
    check_alone(path, file, last, n_bytes)


def check_alone(path: Path, file: BinaryIO, low: int, high: int) -> None:
    """Raise an `InputError` when another FLAC begins between two bytes."""
    overlap = len(BEGINS[0]) - 1
    while low < high - overlap:
        file.seek(low)
        piece = file.read(min(PIECE, high - low))
        if len(piece) <= overlap:
            return
        if (match := BEGUN.search(piece)) is not None:
            at = low + match.start()
            raise InputError(f"{path}: holds recordings one after another, the second from byte {at}; split them")
        low += len(piece) - overlap


def crc_16(raw: bytes) -> int:
    """Return the checksum that ends a frame; of a frame with its checksum it is 0."""
    return _crc(raw, CRC_16, 16)


def _begun(file: BinaryIO, start: Frame, n_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield the places behind the first frame at which frames may begin, and the bytes there."""
    sync, at = SYNC[start.is_variable], start.at + 1
    while True:
        file.seek(at)
        piece = file.read(PIECE)
        n = len(piece) if at + len(piece) >= n_bytes else len(piece) - LONGEST_HEADER
        if n <= 0:
            return
        for match in sync.finditer(piece, 0, n + 1):
            begin = match.start()
            yield at + begin, piece[begin : begin + LONGEST_HEADER]
        at += n


def _is_whole(file: BinaryIO, at: int, end: int) -> bool:
    """Whether the bytes between two places are one whole frame."""
    if end - at > LARGEST_FRAME:
        return False
    file.seek(at)
    return crc_16(file.read(end - at)) == 0


def _coded(number: int) -> bytes:
    """Encode a number as in a frame header, which extends UTF-8."""
    if number <= sys.maxunicode:
        return chr(number).encode("utf-8", "surrogatepass")
    n_more = next(n for n in range(1, 7) if number < 1 << 5 * n + 6)
    rest = bytes(0x80 | number >> 6 * place & 0x3F for place in reversed(range(n_more)))
    return bytes([0xFF00 >> n_more + 1 & 0xFF | number >> 6 * n_more]) + rest


def _crc(raw: bytes, table: list[int], bits: int) -> int:
    value, shift, mask = 0, bits - 8, (1 << bits) - 1
    for byte in raw:
        value = (value << 8 & mask) ^ table[value >> shift ^ byte]
    return value
