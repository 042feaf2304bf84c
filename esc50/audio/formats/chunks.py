"""Files that are made of chunks: each a name, a size and so many bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ....kernels import InputError

MOST_CHUNKS = 1 << 16  # that are looked at; zeros read as millions of empty ones
LONGEST_FILLING, LONGEST_BEGINNING = 8, 4  # bytes
PRINTABLE = range(32, 127)
BEGINNINGS = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b".snd", b"dns.", b"riff", b"caff", b"fLaC", b"OggS")


class Layout(NamedTuple):
    """How a container writes its chunks."""

    header: struct.Struct  # name, size
    inside: int = 0  # bytes of the header that the size counts
    multiple: int = 1  # bytes; a chunk is filled up to the next multiple


class Chunk(NamedTuple):
    """A chunk's place."""

    name: bytes
    first: int  # byte after its header
    size: int


RIFF, RIFX = Layout(struct.Struct("<4sI"), multiple=2), Layout(struct.Struct(">4sI"), multiple=2)
CAF = Layout(struct.Struct(">4sq"))
W64 = Layout(struct.Struct("<16sq"), inside=24, multiple=8)


def chunks(file: BinaryIO, at: int, n_bytes: int, layout: Layout) -> Iterator[Chunk]:
    """Yield the chunks from byte `at` on, up to the end or what is none."""
    for _ in range(MOST_CHUNKS):
        if at + layout.header.size > n_bytes:
            return
        file.seek(at)
        name, size = layout.header.unpack(file.read(layout.header.size))
        if not all(byte in PRINTABLE for byte in name[:4]):
            return
        at += layout.header.size
        size -= layout.inside
        yield Chunk(name, at, size)
        if size < 0:
            return
        at = _after(file, at + size, n_bytes, layout)


def goes_on(path: Path, file: BinaryIO, n_bytes: int, chunk: Chunk, layout: Layout) -> bool:
    """Whether bytes follow that belong to no chunk.

    Raises
    ------
    InputError
        When another recording follows.
    """
    at = chunk.first + max(0, chunk.size)
    if at >= n_bytes:
        return False
    file.seek(at)
    near = file.read(LONGEST_FILLING + LONGEST_BEGINNING)
    for n in range(LONGEST_FILLING):
        check_alone(path, near[n:], at + n)
    at = _after(file, at, n_bytes, layout)
    for following in chunks(file, at, n_bytes, layout):
        check_alone(path, following.name, following.first - layout.header.size)
        at = _after(file, following.first + max(0, following.size), n_bytes, layout)
    return not n_bytes <= at < n_bytes + layout.multiple


def check_alone(path: Path, head: bytes, at: int) -> None:
    """Refuse a file in which a second recording begins with `head`: libsndfile would read the first alone."""
    if head.startswith(BEGINNINGS):
        raise InputError(f"{path}: holds recordings one after another, the second from byte {at}; split them")


def _after(file: BinaryIO, end: int, n_bytes: int, layout: Layout) -> int:
    """Return where the next chunk begins; some writers leave out the byte that makes a size even."""
    if layout.multiple == 2 and end % 2 and end < n_bytes:
        file.seek(end)
        return end if file.read(1)[0] in PRINTABLE else end + 1
    return -(-end // layout.multiple) * layout.multiple
