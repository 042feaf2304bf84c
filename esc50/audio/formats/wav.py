"""WAV in all its forms (RIFF, RIFX, RF64, BW64, W64): its length, and samples in wider containers."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
import soundfile

from ....kernels import InputError
from .chunks import RIFF, RIFX, W64, Chunk, Layout, chunks, goes_on, is_unknown, n_audio
from .mpeg import UNRECOGNISED
from .splice import Splice

Order = Literal["<", ">"]

PCM, EXTENSIBLE = 1, 0xFFFE  # format tags
MPEG = (0x50, 0x55)  # format tags; the frames of these codecs are counted elsewhere
WAVS = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff")
UNDERSTOOD = (b"RIFF", b"RIFX", b"RF64")  # forms that libsndfile reads, beside W64
MOST_32 = (1 << 32) - 1
LONGEST_FORMAT = 1 << 16
WAVPACK = b"wvpk"  # beginning of WavPack's samples, which keep the header of the WAV
PIECE = 1 << 20  # containers per read


class FormatChunk(NamedTuple):
    """A `fmt ` chunk."""

    raw: bytes
    order: Order
    tag: int
    n_channels: int
    byte_rate: int
    sr: int
    block: int  # bytes of one sample of every channel
    bits: int
    valid: int  # bits that are used, where the chunk states them; else `bits`
    extensible: bool

    @classmethod
    def parse(cls, raw: bytes, order: Order) -> FormatChunk | None:
        """Read a chunk; None for one that is too short."""
        if len(raw) < 16:
            return None
        tag, n_channels, sr, byte_rate, block, bits = struct.unpack(order + "HHIIHH", raw[:16])
        extensible = tag == EXTENSIBLE and len(raw) >= 40
        valid = bits
        if extensible:
            valid, tag, other = struct.unpack(order + "H4xHH", raw[18:28])
            tag = tag or other  # A big-endian tag has two bytes, as SoX writes it, or four.
        return cls(raw, order, tag, n_channels, byte_rate, sr, block, bits, valid or bits, extensible)

    @property
    def width(self) -> int:
        """Bytes that hold `bits`."""
        return -(-self.bits // 8)

    @property
    def container(self) -> int:
        """Bytes of a sample, by the size of a block; `width` where that is no whole number."""
        return self.block // self.n_channels if self.n_channels and self.block % self.n_channels == 0 else self.width

    def in_containers_of(self, n_bytes: int) -> FormatChunk:
        """Return the plain format of samples that fill containers of `n_bytes`."""
        block = self.n_channels * n_bytes
        raw = struct.pack(
            self.order + "HHIIHH", self.tag, self.n_channels, self.sr, self.sr * block & MOST_32, block, 8 * n_bytes
        )
        return self._replace(raw=raw, block=block, bits=8 * n_bytes, valid=8 * n_bytes, extensible=False)


class WavChunks(NamedTuple):
    """The chunks of a WAV that matter."""

    fmt: FormatChunk | None
    audio: Chunk | None
    long_size: int | None  # bytes of audio in 64 bits, where a WAV beyond 4 GB states them
    layout: Layout


def wav_chunks(file: BinaryIO, n_bytes: int, head: bytes) -> WavChunks:
    """Find the chunks that matter."""
    is_w64, order = head[:4] == b"riff", ">" if head[:4] == b"RIFX" else "<"
    layout = W64 if is_w64 else RIFX if order == ">" else RIFF
    fmt = long_size = None
    for chunk in chunks(file, 40 if is_w64 else 12, n_bytes, layout):
        name = chunk.name[:4]
        if name == b"ds64":
            long_size = int.from_bytes(file.read(16)[8:], "little")
        elif name == b"fmt " and fmt is None:
            fmt = FormatChunk.parse(file.read(max(0, min(chunk.size, LONGEST_FORMAT))), order)
        elif name == b"data":
            return WavChunks(fmt, chunk, long_size, layout)
    return WavChunks(fmt, None, long_size, layout)


def wav(path: Path, file: BinaryIO, n_bytes: int, head: bytes) -> Splice | None:
    """Return how to read a WAV whose own header would mislead; None where it may be read as it is.

    Raises
    ------
    InputError
        When the file is cut, or its samples are not where its header says.
    """
    fmt, chunk, long_size, layout = wav_chunks(file, n_bytes, head)
    if chunk is None:
        return None
    file.seek(chunk.first)
    if file.read(len(WAVPACK)) == WAVPACK:
        raise soundfile.LibsndfileError(UNRECOGNISED)
    is_w64 = layout is W64
    bits = 64 if is_w64 else 32
    if long_size is not None and (chunk.size == 0 or is_unknown(chunk.size, 0, bits)):
        chunk, bits = chunk._replace(size=long_size), 64
    more = goes_on(path, file, n_bytes, chunk, layout)
    stated = n_audio(path, n_bytes, chunk.first, chunk.size, bits, goes_on=more)
    if fmt is None or fmt.tag in MPEG:
        return None
    first, end = chunk.first, chunk.first + (chunk.size if stated is None else stated)
    kept, container = _kept(path, file, fmt, first, end), fmt.container
    if fmt.extensible and (is_w64 or fmt.order == ">"):  # libsndfile reads floats of W64 as integers, and none of RIFX
        is_known, plain = False, fmt.in_containers_of(container)
    else:
        is_known, plain = is_w64 or (head[:4] in UNDERSTOOD and long_size in (None, chunk.size)), fmt
    is_filled_up = first % 2 == 0  # Then every odd chunk before the audio is filled up to an even size.
    if kept is not None:
        fmt = fmt.in_containers_of(len(range(container)[kept]))
        return Splice(_head(path, fmt, (end - first) // container * fmt.container), first, end, container, kept)
    return None if stated is None and is_known and is_filled_up else Splice(_head(path, plain, end - first), first, end)


def _head(path: Path, fmt: FormatChunk, n: int) -> bytes:
    """Return the header of a WAV with `n` bytes of samples, RF64 (EBU Tech 3306) where they need it."""
    body = b"fmt " + struct.pack(fmt.order + "I", len(fmt.raw)) + fmt.raw + bytes(len(fmt.raw) % 2) + b"data"
    size = 4 + len(body) + 4 + n
    if size <= MOST_32:
        name = b"RIFF" if fmt.order == "<" else b"RIFX"
        return name + struct.pack(fmt.order + "I", size) + b"WAVE" + body + struct.pack(fmt.order + "I", n)
    if fmt.order == ">":
        raise InputError(f"{path}: {n} bytes of audio in a big-endian WAV, which holds 4 GB; split it")
    ds64 = struct.pack("<4sIQQQI", b"ds64", 28, size + 36, n, n // max(1, fmt.block), 0)
    return struct.pack("<4sI4s", b"RF64", MOST_32, b"WAVE") + ds64 + body + struct.pack("<I", MOST_32)


def _kept(path: Path, file: BinaryIO, fmt: FormatChunk, first: int, end: int) -> slice | None:
    """Return which bytes of each container to read; None where libsndfile finds the samples itself.

    Samples lie in the high bits, with zeros below, as the specification says, or (ALSA's S24_LE) in the low bits. Only
    the samples themselves tell which.
    """
    container = fmt.container
    if fmt.tag != PCM or container < fmt.width or (fmt.valid >= 8 * container and container == fmt.width):
        return None
    high, low = _justified(file, fmt, first, end)
    if high == low and fmt.byte_rate == fmt.sr * fmt.n_channels * fmt.width:
        return None  # The samples are packed, and the stated size of a block is wrong.
    if high and fmt.valid > 8:
        return None if container == fmt.width else slice(None)
    if low and fmt.valid > 8 and fmt.valid % 8 == 0:
        n = fmt.valid // 8
        return slice(n) if fmt.order == "<" else slice(container - n, container)
    if container == fmt.width and (
        high or not low
    ):  # The samples fill the container, whatever number of bits is stated.
        return None
    raise InputError(
        f"{path}: {fmt.valid}-bit samples in {container} bytes each, in no way that is known; "
        "write it again with 16, 24 or 32 bits a sample"
    )


def _justified(file: BinaryIO, fmt: FormatChunk, first: int, end: int) -> tuple[bool, bool]:
    """Return whether all samples lie in the high bits of their containers, and whether all lie in the low bits."""
    container, valid = fmt.container, fmt.valid
    if container > 4:
        return False, False
    high = low = True
    at, end = first, end - (end - first) % container
    file.seek(first)
    while at < end and (high or low):
        raw = np.frombuffer(file.read(min(end - at, PIECE * container)), np.uint8)
        raw = raw[: len(raw) // container * container].reshape(-1, container)
        if not len(raw):
            break
        at += raw.size
        wide = np.zeros((len(raw), 4), np.uint8)
        wide[:, 4 - container :] = raw if fmt.order == "<" else raw[:, ::-1]
        y = wide.view("<i4")[:, 0] >> 8 * (4 - container)
        high = high and not (y & (1 << (8 * container - valid)) - 1).any()
        unused = y >> valid - 1 if valid < 32 else y  # copies of the sign bit, or zeros
        low = low and bool(np.isin(unused, (0, 1, -1)).all())
    return high, low
