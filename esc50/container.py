"""Is an audio file whole? libsndfile reads a truncated WAV, AIFF or OGG as a shorter one, without a word."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import BinaryIO

from ..kernels import InputError

UNKNOWN_SIZES = (0, 0x7FFFFFFF, 0xFFFFFFFF)  # what writers to a pipe leave in a WAV header
OGG_PAGE_BYTES = 65307  # at most
END_OF_STREAM = 0x04


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
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        _check_chunks(path, file, n_bytes, "<4sI", b"data")
    elif head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        _check_chunks(path, file, n_bytes, ">4sI", b"SSND")
    elif head[:4] == b"OggS":
        _check_last_page(path, file, n_bytes)


def _check_chunks(path: Path, file: BinaryIO, n_bytes: int, header: str, audio: bytes) -> None:
    """Walk from chunk to chunk up to the one that holds the samples."""
    at = 12
    while at + 8 <= n_bytes:
        file.seek(at)
        name, size = struct.unpack(header, file.read(8))
        at += 8
        if name == audio:
            if size not in UNKNOWN_SIZES and at + size > n_bytes:
                raise InputError(
                    f"{path}: truncated: the header promises {size} bytes of audio, {n_bytes - at} are there; "
                    "fetch or record it again"
                )
            return
        at += size + size % 2


def _check_last_page(path: Path, file: BinaryIO, n_bytes: int) -> None:
    """Look for the flag that ends an Ogg stream in its last page."""
    file.seek(max(0, n_bytes - OGG_PAGE_BYTES))
    tail = file.read()
    last = tail.rfind(b"OggS")
    if last < 0 or last + 6 > len(tail) or not tail[last + 5] & END_OF_STREAM:
        raise InputError(f"{path}: truncated: its last page does not end the stream; fetch or record it again")
