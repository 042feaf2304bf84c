"""Files that are made of chunks, each a name, a size and so many bytes; and how much audio a size stands for.

A file is whole, or cut, or its writer did not know its length: a writer to a pipe cannot go back to its header. It
leaves 0 there, all ones, or the most that it thinks the field holds, and the samples go on to the end of the file. So a
size that reaches beyond the end is

- no size, when it is one of `UNKNOWN`, less at most `ROUNDING`: writers are known to leave it, and no recording has it;
- no size, when it is a quarter or more of what its field can hold, and `FAR` times what is there;
- otherwise the size of a recording that was cut.

A size of 0, or below, is no size when something other than another part of the container follows.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ....kernels import InputError

MOST_CHUNKS = 1 << 16  # A damaged file of zeros reads as millions of empty chunks.
LONGEST_FILLING, LONGEST_BEGINNING = 8, 4  # bytes
PRINTABLE = range(32, 127)
BEGINNINGS = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b".snd", b"dns.", b"riff", b"caff", b"fLaC", b"OggS")
UNKNOWN = (0x7F000000, 1 << 31, 1 << 32, 1 << 63, 1 << 64)  # SoX in AIFF; the bounds of signed and unsigned fields
ROUNDING = 1 << 16  # bytes on either side, for headers that are counted in or out, and for whole blocks
FAR = 16  # ratio of a stated size to the bytes that are there
NEARLY = 15 / 16  # share of an `UNKNOWN` size; a file that holds so much was cut by a recorder that splits at 2 GB


class Layout(NamedTuple):
    """How a container writes its chunks."""

    header: struct.Struct  # name, size
    inside: int = 0  # bytes of the header that are counted in the size
    multiple: int = 1  # bytes; padding fills each chunk up to the next multiple


class Chunk(NamedTuple):
    """The name and the place of a chunk."""

    name: bytes
    first: int  # byte behind its header
    size: int


RIFF, RIFX = Layout(struct.Struct("<4sI"), multiple=2), Layout(struct.Struct(">4sI"), multiple=2)
CAF = Layout(struct.Struct(">4sq"))
W64 = Layout(struct.Struct("<16sq"), inside=24, multiple=8)


def chunks(file: BinaryIO, at: int, n_bytes: int, layout: Layout) -> Iterator[Chunk]:
    """Yield the chunks from byte `at` on, up to the end of the file or bytes that are no chunk."""
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
    """Whether bytes follow `chunk` that belong to no chunk.

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
    """Raise an `InputError` when `head` begins a second recording: libsndfile would read the first one alone."""
    if head.startswith(BEGINNINGS):
        raise InputError(f"{path}: holds recordings one after another, the second from byte {at}; split them")


def _after(file: BinaryIO, end: int, n_bytes: int, layout: Layout) -> int:
    """Return the beginning of the next chunk; some writers leave out the byte that makes a size even."""
    if layout.multiple == 2 and end % 2 and end < n_bytes:
        file.seek(end)
        return end if file.read(1)[0] in PRINTABLE else end + 1
    return -(-end // layout.multiple) * layout.multiple


def n_audio(path: Path, n_bytes: int, first: int, size: int, bits: int, *, goes_on: bool) -> int | None:
    """Return the bytes of audio of a file whose header does not state them; None where it does.

    Parameters
    ----------
    path : Path
    n_bytes : int
        Size of the file.
    first : int
        Byte at which the samples begin.
    size : int
        Bytes of samples that the header states.
    bits : int
        Width of the field that states them.
    goes_on : bool
        Whether bytes that are no part of the container follow the samples.

    Raises
    ------
    InputError
        When fewer samples are there than the header states.
    """
    rest = max(0, n_bytes - first)
    if size <= rest:
        return rest if goes_on and (size <= 0 or is_unknown(size, 0, bits)) else None
    if is_unknown(size, rest, bits):
        return rest
    raise InputError(
        f"{path}: truncated: the header promises {size} bytes of audio, {rest} are there; fetch or record it again"
    )


def is_unknown(size: int, rest: int, bits: int) -> bool:
    """Whether a writer that did not know the size left this one."""
    if size + ROUNDING >= 1 << bits:
        return True
    left = any(abs(size - unknown) <= ROUNDING for unknown in UNKNOWN) and rest < NEARLY * size
    return left or (size + ROUNDING >= 1 << (bits - 2) and rest * FAR < size)
