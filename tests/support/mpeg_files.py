"""MPEG audio files, put together from frames and tags."""

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from cumel.esc50.audio import load

from .recordings import streamed

KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # bit rates of MPEG-1 layer III
N_FRAME = 1152  # samples
SKIPPED = 1105  # samples that LAME and the decoder add at the beginning
ID3V1 = b"TAG" + bytes(125)
RNG = np.random.default_rng(7)
JUNK = bytes(RNG.integers(0, 255, 5000, np.uint8)).replace(b"\xff", b"\x11")


class Made(NamedTuple):
    """An MP3 of 44.1 kHz, in pieces."""

    tag: bytes  # the frame that states the length
    frames: list[bytes]
    y: np.ndarray  # [n_samples] or [n_samples, n_channels], what libsndfile reads by the tag

    @property
    def n(self) -> int:
        """Samples of the frames, with what the encoder added."""
        return N_FRAME * len(self.frames)


def split(raw: bytes) -> list[bytes]:
    """Cut into frames."""
    frames, at = [], 0
    while at < len(raw):
        assert raw[at] == 0xFF
        n = 144_000 * KBPS[raw[at + 2] >> 4] // 44100 + (raw[at + 2] >> 1 & 1)
        frames.append(raw[at : at + n])
        at += n
    return frames


def make(path: Path, *, mode: str = "VARIABLE", channels: int = 1, seconds: float = 1.5, seed: int = 0) -> Made:
    """Encode noise that fades out, so that libsndfile guesses too short a length without a tag."""
    n = int(44100 * seconds)
    y = np.random.default_rng(seed).normal(0, 0.15, (n, channels)) * np.linspace(1, 1e-4, n)[:, None] ** 4
    soundfile.write(path, y, 44100, bitrate_mode=mode, compression_level=0.5)
    tag, *frames = split(path.read_bytes())
    assert b"Xing" in tag[:48] or b"Info" in tag[:48]
    return Made(tag, frames, soundfile.read(path, dtype="float32")[0])


def retagged(made: Made, flags: int = 15, n_frames: int | None = None, n_bytes: int | None = None) -> bytes:
    """Return its tag with other contents; without a flag, what it stands for is left out."""
    at = made.tag.index(b"Xing") if b"Xing" in made.tag else made.tag.index(b"Info")
    assert made.tag[at + 4 : at + 8] == struct.pack(">I", 15)
    fields = [made.tag[at + 8 : at + 12], made.tag[at + 12 : at + 16], made.tag[at + 16 : at + 116]]
    fields.append(made.tag[at + 116 : at + 120])
    for number, value in enumerate((n_frames, n_bytes)):
        if value is not None:
            fields[number] = struct.pack(">I", value)
    kept = b"".join(field for bit, field in enumerate(fields) if flags >> bit & 1)
    tag = made.tag[: at + 4] + struct.pack(">I", flags) + kept + made.tag[at + 120 :]
    return tag.ljust(len(made.tag), b"\0")[: len(made.tag)]


def vbri(made: Made, n_frames: int) -> bytes:
    """Return a frame as Fraunhofer's encoder begins files with."""
    head = made.tag[:4].ljust(36, b"\0")
    n_bytes = len(made.tag) + sum(map(len, made.frames))
    return (head + b"VBRI" + struct.pack(">HHHIIHHHH", 1, 0, 75, n_bytes, n_frames, 0, 1, 2, 1)).ljust(
        len(made.tag), b"\0"
    )


def id3v2(n: int, *, footer: bool = False) -> bytes:
    """Return a tag of `n` bytes of padding."""
    size = bytes(n >> shift & 0x7F for shift in (21, 14, 7, 0))
    head = b"\4\0" + (b"\x10" if footer else b"\0") + size
    return b"ID3" + head + bytes(n) + (b"3DI" + head if footer else b"")


def ape(n: int, version: int = 2000) -> bytes:
    """Return an APE tag of `n` bytes of items; version 1 has no header."""
    tail = struct.pack("<IIII", version, n + 32, 1, 0x80000000 if version == 2000 else 0) + bytes(8)
    head = struct.pack("<IIII", version, n + 32, 1, 0xA0000000) + bytes(8)
    return (b"APETAGEX" + head if version == 2000 else b"") + JUNK[:n] + b"APETAGEX" + tail


def lyrics(n: int, version: int = 2) -> bytes:
    """Return a Lyrics3 tag with `n` bytes of text."""
    text = b"LYRICSBEGIN" + b"la" * (n // 2)
    return text + (f"{len(text):06}LYRICS200".encode() if version == 2 else b"LYRICSEND")


def in_wav(audio: bytes, *, tag: int = 0x55, channels: int = 1, size: int | None = None) -> bytes:
    """Put MPEG audio in a WAV."""
    fmt = struct.pack("<HHIIHHH", tag, channels, 44100, 16000, 1, 0, 12) + struct.pack("<HIHHH", 1, 2, 417, 1, 1393)
    chunks = b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"fact" + struct.pack("<II", 4, 0)
    chunks += b"data" + struct.pack("<I", len(audio) if size is None else size) + audio
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def silent_layer(layer: int, n: int) -> bytes:
    """Return `n` frames of layer I or II, at 44.1 kHz and 128 kbps, with padding as encoders spread it."""
    head, size, spread = {1: (0xFFFF4000, 136, 4), 2: (0xFFFD8000, 417, 1)}[layer]
    audio, owed = b"", 0.0
    for _ in range(n):
        owed += {1: (12 * 128_000 / 44100 - 34), 2: 144 * 128_000 / 44100 - 417}[layer]
        padded = owed >= 1
        owed -= padded
        audio += struct.pack(">I", head | 0xC0 | padded << 9).ljust(size + spread * padded, b"\0")
    return audio


def joined(made: Made) -> bytes:
    """Return the frames without the tag."""
    return b"".join(made.frames)


def with_inside(made: Made, other: bytes) -> bytes:
    """Return the frames with something between them."""
    half = len(made.frames) // 2
    return b"".join(made.frames[:half]) + other + b"".join(made.frames[half:])


def read(path: Path, raw: bytes) -> np.ndarray:
    """Read a file whole and as a stream: the same to the last bit."""
    path.write_bytes(raw)
    y, _ = load(path)
    np.testing.assert_array_equal(streamed(path), y)
    return y
