"""Is an audio file whole? libsndfile reads a truncated or damaged WAV, AIFF or OGG as a shorter one, without a word."""

from __future__ import annotations

import os
import stat
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from ...kernels import InputError

UNKNOWN_SIZES = (0, 0x7FFFFFFF, 0xFFFFFFFF)  # what writers to a pipe leave in a WAV header
MOST_CHUNKS = 1 << 16  # that are looked at; zeros read as millions of empty ones
CAPTURE = b"OggS"  # begins a page, RFC 3533
PAGE_HEADER = struct.Struct("<4xxB8xIIIB")  # flags, stream, number, checksum, n_segments
ENDS = 0x04  # flag: the stream's last page
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def check_regular(path: Path) -> None:
    """Refuse a folder, and before it is opened a pipe or a device: that might wait for ever."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        with os.scandir(path):  # one that may not be read says so
            raise InputError(f"{path}: a folder, not a recording; put recordings in it, or leave it out")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: not a regular file; give a recording")


def check_whole(path: Path, file: BinaryIO) -> None:
    """Refuse a file that is empty, or holds less audio than its headers promise, with an `InputError`."""
    n_bytes = os.fstat(file.fileno()).st_size
    if n_bytes == 0:
        raise InputError(f"{path}: the file is empty (0 bytes); fetch or record it again")
    head = file.read(12)
    if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
        _check_chunks(path, file, n_bytes, "<4sI", b"data")
    elif head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        _check_chunks(path, file, n_bytes, ">4sI", b"SSND")
    elif head[:4] == CAPTURE:
        _check_pages(path, file, n_bytes)


def _check_chunks(path: Path, file: BinaryIO, n_bytes: int, header: str, audio: bytes) -> None:
    """Walk from chunk to chunk up to the one that holds the samples."""
    at, long_size = 12, None
    for _ in range(MOST_CHUNKS):
        if at + 8 > n_bytes:
            return
        file.seek(at)
        name, size = struct.unpack(header, file.read(8))
        at += 8
        if name == b"ds64":  # of a WAV beyond 4 GB: sizes that the other headers have no room for
            long_size = int.from_bytes(file.read(16)[8:], "little")
        if name == audio:
            size = long_size if long_size and size in UNKNOWN_SIZES else size
            if size not in UNKNOWN_SIZES and at + size > n_bytes:
                raise InputError(
                    f"{path}: truncated: the header promises {size} bytes of audio, {n_bytes - at} are there; "
                    "fetch or record it again"
                )
            return
        at += size + size % 2


def _check_pages(path: Path, file: BinaryIO, n_bytes: int) -> None:
    """Walk from page to page: each whole, with its checksum, none missing, each stream ended, no second recording."""
    file.seek(0)
    following: dict[int, int] = {}  # number of the next page, of each stream that has not ended
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
        if head[:4] != CAPTURE or _page_checksum(head[:22] + bytes(4) + head[26:] + table + body) != checksum:
            raise InputError(f"{path}: damaged at byte {at}: the page there has changed; fetch or record it again")
        if number != following.get(stream, number):
            raise InputError(f"{path}: damaged at byte {at}: a page is missing before it; fetch or record it again")
        following[stream] = number + 1
        if flags & ENDS:
            del following[stream]
        at = file.tell()
    if file.read(4) == CAPTURE:  # libsndfile would read the first alone
        raise InputError(f"{path}: holds recordings one after another, the second from byte {at}; split them")


def _page_checksum(page: bytes) -> int:
    """CRC-32 of an Ogg page, highest bit first, from that of zlib, which is lowest bit first and inverted."""
    lowest_first = zlib.crc32(page.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(lowest_first.to_bytes(4, "little").translate(REVERSED), "big")
