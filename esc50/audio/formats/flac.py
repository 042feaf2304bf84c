"""FLAC (RFC 9639): whether STREAMINFO agrees with the frames, and how many samples they hold.

libsndfile reads as many samples as STREAMINFO states: fewer than a file may hold, and none where a writer to a pipe
left 0 there. A frame has its number, its format and two checksums: it tells whether it is whole, and where it belongs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ....kernels import InputError
from .flac_frames import BEGINS, LONGEST_HEADER, Frame, Info, check_sequence, crc_16, frame_at
from .foreign import convert
from .mpeg import before_tags
from .splice import Splice

STREAMINFO_END = 42
TOTAL_AT = 21  # byte whose lower half begins the 36 bits of the total
MOST_BLOCKS = 1 << 16  # limit of the search through blocks of metadata
LARGEST_BLOCK = (1 << 16) - 1  # samples
FEWEST_BITS, MOST_BITS = 4, 32
BESIDE_SAMPLES = 1 << 12  # bytes of a frame beside its samples, with zeros behind it
DECODED_BITS = (8, 16, 24)  # bits a sample that libsndfile decodes


def flac(path: Path, file: BinaryIO, n_bytes: int, _: bytes) -> Splice | None:
    """Return how to read a FLAC that does not state its length; None for one that does.

    Raises
    ------
    InputError
        When frames and STREAMINFO contradict each other, the last frame is cut, or another recording follows.
    """
    metadata = _metadata(file, n_bytes)
    if metadata is None:
        return None
    info, first = metadata
    if info.bits not in DECODED_BITS and info.bits >= FEWEST_BITS:
        remedy = convert(path) if info.bits < MOST_BITS else f"decode it with flac 1.4 or later: flac -d {path.name}"
        raise InputError(f"{path}: FLAC of {info.bits} bits a sample, of which libsndfile reads 8, 16 and 24; {remedy}")
    file.seek(first)
    start = frame_at(file.read(LONGEST_HEADER), first)
    if start is None:
        if first >= n_bytes and not info.total:
            raise InputError(f"{path}: holds no samples; record it again, or leave it out")
        return None
    last, is_whole = _last(file, first, n_bytes, info, start)
    check_sequence(path, file, start, n_bytes, is_numbered=info.is_even or start.is_variable)
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
        metadata = _metadata(file, n_bytes)
        if metadata is None:
            return False
        info, first = metadata
        file.seek(first)
        start = frame_at(file.read(LONGEST_HEADER), first)
        return start is not None and not _last(file, first, n_bytes, info._replace(total=0), start)[1]


def _metadata(file: BinaryIO, n_bytes: int) -> tuple[Info, int] | None:
    """Read STREAMINFO; returns it, and the byte at which the frames begin."""
    file.seek(0)
    head = file.read(STREAMINFO_END)
    if len(head) < STREAMINFO_END or not head.startswith(BEGINS):
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


def _last(file: BinaryIO, first: int, n_bytes: int, info: Info, start: Frame) -> tuple[Frame | None, bool]:
    """Find the last frame, and whether it is whole: it ends where STREAMINFO says, or its checksum is right."""
    end = before_tags(file, first, n_bytes)  # zeros behind a frame do not change its checksum
    block = LARGEST_BLOCK if start.is_variable else start.n_samples
    low = max(first, end - block * info.n_channels * (info.bits + 1) // 8 - BESIDE_SAMPLES)
    file.seek(low)
    tail, seen = file.read(max(0, end - low)), None
    for at in _syncs(tail, start.is_variable):
        frame = frame_at(tail[at : at + LONGEST_HEADER], low + at)
        if frame is None or frame.number < start.number:
            continue
        if _n_samples(frame, start) == info.total or crc_16(tail[at:]) == 0:
            return frame, True
        if seen is None and not frame.contradiction(info):
            seen = frame
    return seen, False


def _syncs(tail: bytes, is_variable: bool) -> Iterator[int]:
    """Yield the places at which frames may begin, from the end backwards."""
    at, sync = len(tail), b"\xff\xf9" if is_variable else b"\xff\xf8"
    while (at := tail.rfind(sync, 0, at + 1)) >= 0:
        yield at


def _n_samples(frame: Frame, start: Frame) -> int:
    """Count the samples from the first frame to the end of `frame`."""
    n_before = (frame.number - start.number) * (1 if frame.is_variable else start.n_samples)
    return n_before + frame.n_samples
