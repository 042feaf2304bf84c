"""Ogg: pages with checksums and numbers, RFC 3533. libsndfile reads a truncated or damaged file as a shorter one."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from ....kernels import InputError
from .foreign import in_ogg

CAPTURE = b"OggS"  # begins a page
PAGE_HEADER = struct.Struct("<4xxB8xIIIB")  # flags, stream, number, checksum, n_segments
PAGE_AND_MAGIC = 36  # bytes of a page header, and of the name of the codec behind it
ENDS = 0x04  # flag: the stream's last page
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def ogg(path: Path, file: BinaryIO, n_bytes: int, _: bytes) -> None:
    """Check all pages: each is whole, none is missing, each stream is ended, and no second recording follows."""
    file.seek(0)
    if (gap := in_ogg(path, file.read(PAGE_AND_MAGIC))) is not None:
        raise InputError(f"{path}: {gap}")
    file.seek(0)
    following: dict[int, int] = {}  # number of the next page, by stream, until the stream ends
    at = 0
    while following or at == 0:
        head = file.read(27)
        if not head or at + 27 > n_bytes:
            raise InputError(f"{path}: truncated: its last page does not end the stream; fetch or record it again")
        flags, stream, number, checksum, n_segments = PAGE_HEADER.unpack(head)
        table = file.read(n_segments)
        body = file.read(sum(table))
        if head[:4] == CAPTURE and at + 27 + n_segments + sum(table) > n_bytes:
            raise InputError(f"{path}: truncated: its last page is cut; fetch or record it again")
        if head[:4] != CAPTURE or page_checksum(head[:22] + bytes(4) + head[26:] + table + body) != checksum:
            raise InputError(f"{path}: damaged at byte {at}: the page there has changed; fetch or record it again")
        if number != (expected := following.get(stream, number)):
            where = f"damaged at byte {at}: page {number} lies where page {expected} belongs"
            raise InputError(f"{path}: {where}; fetch or record it again")
        following[stream] = number + 1
        if flags & ENDS:
            del following[stream]
        at = file.tell()
    if file.read(4) == CAPTURE:  # libsndfile would read the first recording alone
        raise InputError(f"{path}: holds recordings one after another, the second from byte {at}; split them")


def page_checksum(page: bytes) -> int:
    """Return the CRC-32 of an Ogg page, highest bit first; zlib's is lowest bit first, and inverted."""
    lowest_first = zlib.crc32(page.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(lowest_first.to_bytes(4, "little").translate(REVERSED), "big")
