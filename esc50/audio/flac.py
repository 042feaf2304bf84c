"""FLAC (RFC 9639): whether STREAMINFO says what its frames are, and how many samples they hold.

libsndfile reads as many samples as STREAMINFO states, at its rate: fewer than are there, or none of a file that was
written to a pipe, which states 0. A frame tells its place, its form and, by two checksums, that it is whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from ...kernels import InputError
from .foreign import convert
from .splice import Splice

SECOND = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")  # how a FLAC file begins; 34 bytes of STREAMINFO follow
STREAMINFO_END = 42
TOTAL_AT = 21  # byte at whose lower half the 36 bits of the total begin
MOST_BLOCKS = 1 << 16  # of metadata
LARGEST_BLOCK = (1 << 16) - 1  # samples
FEWEST_BITS, MOST_BITS = 4, 32
LONGEST_HEADER = 16  # bytes
BESIDE_SAMPLES = 1 << 12  # bytes of a frame, and zeros behind it
PIECE = 1 << 16  # bytes that are searched in one go
DECODED_BITS = (8, 16, 24)  # by libsndfile
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

    is_even: bool  # all blocks but the last are of one size
    sr: int
    n_channels: int
    bits: int
    total: int


class Frame(NamedTuple):
    """A frame's header; 0 stands for what STREAMINFO states."""

    at: int  # byte
    is_variable: bool
    number: int  # of the frame, or of its first sample
    n_samples: int
    sr: int
    n_channels: int
    bits: int

    def contradiction(self, info: Info) -> str:
        """Say in what the frame differs from STREAMINFO."""
        pairs = (
            ("Hz", info.sr, self.sr),
            ("channels", info.n_channels, self.n_channels),
            ("bits a sample", info.bits, self.bits),
        )
        return "; ".join(
            f"{stated} {unit}, but a frame has {own}" for unit, stated, own in pairs if own not in (0, stated)
        )


def flac(path: Path, file: BinaryIO, n_bytes: int, _: bytes) -> Splice | None:
    """Return how to read a FLAC that does not state its length; None for one that does.

    Raises
    ------
    InputError
        When its frames and STREAMINFO contradict each other, the last frame is cut, or another recording follows.
    """
    found = _metadata(file, n_bytes)
    if found is None:
        return None
    info, first = found
    if info.bits not in DECODED_BITS and info.bits >= FEWEST_BITS:
        remedy = convert(path) if info.bits < MOST_BITS else f"decode it with flac 1.4 or later: flac -d {path.name}"
        raise InputError(f"{path}: FLAC of {info.bits} bits a sample, of which libsndfile reads 8, 16 and 24; {remedy}")
    file.seek(first)
    start = _frame(file.read(LONGEST_HEADER), 0)
    if start is None:
        if first >= n_bytes and not info.total:
            raise InputError(f"{path}: holds no samples; record it again, or leave it out")
        return None
    last, is_whole = _last(file, first, n_bytes, info, start)
    _check_alone(path, file, first)
    for frame in (start, last):
        if frame is not None and (contradiction := frame.contradiction(info)):
            raise InputError(f"{path}: STREAMINFO states {contradiction}; encode it again from its source")
    n = _n_samples(last, start) if last is not None else None
    if last is None or n is None or n == info.total or not (info.is_even or last.is_variable):
        return None
    if not is_whole:
        raise InputError(
            f"{path}: truncated: its last frame is cut, after {n - last.n_samples} "
            f"of {info.total or 'an unknown number of'} samples; fetch or record it again"
        )
    if info.total > n:
        raise InputError(
            f"{path}: truncated: STREAMINFO promises {info.total} samples, {n} are there; fetch or record it again"
        )
    if info.total:
        raise InputError(f"{path}: STREAMINFO states {info.total} samples, but its frames hold {n}; {convert(path)}")
    file.seek(0)
    head = bytearray(file.read(STREAMINFO_END))
    head[TOTAL_AT] = head[TOTAL_AT] & 0xF0 | n >> 32
    head[TOTAL_AT + 1 : TOTAL_AT + 5] = (n & 0xFFFFFFFF).to_bytes(4, "big")
    return Splice(bytes(head), STREAMINFO_END, n_bytes)


def last_is_cut(path: Path) -> bool:
    """Whether a FLAC that does not decode ends within a frame."""
    with path.open("rb") as file:
        n_bytes = os.fstat(file.fileno()).st_size
        found = _metadata(file, n_bytes)
        if found is None:
            return False
        info, first = found
        file.seek(first)
        start = _frame(file.read(LONGEST_HEADER), 0)
        return start is not None and not _last(file, first, n_bytes, info._replace(total=0), start)[1]


def _metadata(file: BinaryIO, n_bytes: int) -> tuple[Info, int] | None:
    """Read STREAMINFO, which comes first; returns it and where the frames begin."""
    file.seek(0)
    head = file.read(STREAMINFO_END)
    if len(head) < STREAMINFO_END or not head.startswith(SECOND):
        return None
    packed = int.from_bytes(head[18:26], "big")
    info = Info(
        head[8:10] == head[10:12], packed >> 44, (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1, packed & (1 << 36) - 1
    )
    at, is_last = STREAMINFO_END, head[4] & 0x80
    for _ in range(MOST_BLOCKS):
        if is_last or at + 4 > n_bytes:
            break
        file.seek(at)
        block = file.read(4)
        is_last, at = block[0] & 0x80, at + 4 + int.from_bytes(block[1:], "big")
    return info, at


def _frame(raw: bytes, at: int) -> Frame | None:
    """Read the frame header at the beginning of `raw`; None where none is, by its form or its checksum."""
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
    own = int.from_bytes(raw[after + n_block : end], "big")
    sr = RATES[rate] if rate < 12 else own * {12: 1000, 13: 1, 14: 10}[rate]
    return Frame(at, bool(raw[1] & 1), number, n_samples, sr, channels + 1 if channels < 8 else 2, BITS[bits])


def _last(file: BinaryIO, first: int, n_bytes: int, info: Info, start: Frame) -> tuple[Frame | None, bool]:
    """Find the last frame, and whether it is whole: ending where STREAMINFO says, or sound by its checksum."""
    end = _without_tags(file, n_bytes)
    block = LARGEST_BLOCK if start.is_variable else start.n_samples
    low = max(first, end - block * info.n_channels * (info.bits + 1) // 8 - BESIDE_SAMPLES)
    file.seek(low)
    tail, seen = file.read(max(0, end - low)), None
    for at in _syncs(tail, start.is_variable):
        frame = _frame(tail[at : at + LONGEST_HEADER], low + at)
        if frame is None or frame.number < start.number:
            continue
        if _n_samples(frame, start) == info.total or _crc(tail[at:], CRC_16, 16) == 0:
            return frame, True
        if seen is None and not frame.contradiction(info):
            seen = frame
    return seen, False


def _syncs(tail: bytes, is_variable: bool) -> Iterator[int]:
    """Yield where frames may begin, from the end on."""
    at, sync = len(tail), b"\xff\xf9" if is_variable else b"\xff\xf8"
    while (at := tail.rfind(sync, 0, at + 1)) >= 0:
        yield at


def _n_samples(frame: Frame, start: Frame) -> int:
    """Count the samples from the first frame on to the end of another."""
    n_before = (frame.number - start.number) * (1 if frame.is_variable else start.n_samples)
    return n_before + frame.n_samples


def _without_tags(file: BinaryIO, n_bytes: int) -> int:
    """Return where the audio ends: before an ID3v1 and an APE tag. Zeros after a frame leave its checksum as it is."""
    for size, magic in ((128, b"TAG"), (32, b"APETAGEX")):
        file.seek(max(0, n_bytes - size))
        footer = file.read(size)
        if footer.startswith(magic):
            n_bytes -= size
            if magic == b"APETAGEX":  # its size counts the footer, but not the header that a flag speaks of
                n_bytes -= int.from_bytes(footer[12:16], "little") - (0 if footer[23] & 0x80 else size)
    return max(0, n_bytes)


def _check_alone(path: Path, file: BinaryIO, first: int) -> None:
    """Refuse two recordings in one file."""
    overlap, at = len(SECOND[0]) - 1, first
    file.seek(at)
    while len(piece := file.read(PIECE)) > overlap:
        raw = np.frombuffer(piece, np.uint8)
        found = np.flatnonzero(raw[:-overlap] == SECOND[0][0])  # faster than `find`, as most are not
        for n in found[raw[found + 1] == SECOND[0][1]].tolist():
            if piece[n : n + len(SECOND[0])] in SECOND:
                raise InputError(
                    f"{path}: holds recordings one after another, the second from byte {at + n}; split them"
                )
        at += len(piece) - overlap
        file.seek(at)


def _crc(raw: bytes, table: list[int], bits: int) -> int:
    value, shift, mask = 0, bits - 8, (1 << bits) - 1
    for byte in raw:
        value = (value << 8 & mask) ^ table[value >> shift ^ byte]
    return value
