"""Files that libsndfile does not read are named by what they are, with what makes a recording of them."""

import struct
import zlib
from pathlib import Path

import pytest

from cumel.esc50.audio import load
from cumel.esc50.audio.formats import ffmpeg
from cumel.esc50.audio.formats.ogg import page_checksum
from cumel.kernels import InputError


@pytest.fixture(autouse=True)
def _without_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "installed", lambda: None)


UNREAD = ", which libsndfile does not read; convert it: ffmpeg -i "


def ogg(packet: bytes) -> bytes:
    """One page that begins and ends a stream."""
    page = b"OggS" + struct.pack("<BBqIIIBB", 0, 6, 0, 1, 0, 0, 1, len(packet)) + packet
    return page[:22] + struct.pack("<I", page_checksum(page)) + page[26:]


def wav(tag: int, bits: int = 16, magic: bytes = b"RIFF") -> bytes:
    fmt = struct.pack("<HHIIHHH", tag, 1, 8000, 8000, 2, bits, 0)
    chunks = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", 400) + bytes(400)
    return magic + struct.pack("<I", len(chunks)) + chunks


def form(codec: bytes) -> bytes:
    comm = struct.pack(">hIh", 1, 100, 16) + b"\x40\x0b\xfa\0\0\0\0\0\0\0" + codec + b"\0\0"
    chunks = b"AIFCCOMM" + struct.pack(">I", len(comm)) + comm + b"SSND" + struct.pack(">I", 208) + bytes(208)
    return b"FORM" + struct.pack(">I", len(chunks)) + chunks


def caf(codec: bytes) -> bytes:
    desc = struct.pack(">d", 8000) + codec + struct.pack(">IIIII", 0, 0, 0, 1, 0)
    return b"caff\0\1\0\0desc" + struct.pack(">q", 32) + desc + b"data" + struct.pack(">q", 104) + bytes(104)


def adts() -> bytes:
    size = 100
    head = bytes([0xFF, 0xF1, 0x50, 0x40 | size >> 11, size >> 3 & 255, (size & 7) << 5 | 0x1F, 0xFC])
    return (head + bytes(size - len(head))) * 5


def loas() -> bytes:
    return (b"\x56\xe0\x61" + bytes(97)) * 5


CONVERTED = {
    "a.m4a": (b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(500), "M4A"),
    "a.mp4": (b"\0\0\0\x20ftypisom\0\0\0\0" + bytes(500), "MP4"),
    "a.mov": (b"\0\0\0\x20ftypqt  \0\0\0\0" + bytes(500), "QuickTime"),
    "a.webm": (b"\x1a\x45\xdf\xa3" + bytes(500), "Matroska or WebM"),
    "a.wma": (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(500), "WMA, WMV or ASF"),
    "a.avi": (b"RIFF\0\1\0\0AVI LIST" + bytes(500), "AVI"),
    "a.wv": (b"wvpk" + bytes(500), "WavPack"),
    "a.ape": (b"MAC \x96\x0f\0\0" + bytes(500), "Monkey's Audio"),
    "a.amr": (b"#!AMR\n" + bytes(500), "AMR"),
    "a.aac": (adts(), "AAC"),
    "latm.aac": (loas(), "AAC"),
    "packed.wav": (wav(1)[:-400] + b"wvpk" + bytes(396), "WavPack in WAV"),
    "packed-cut.wav": (wav(1)[:-400] + b"wvpk" + bytes(100), "WavPack in WAV"),
    "a.tta": (b"TTA1\1\0" + bytes(500), "True Audio"),
    "a.oga": (ogg(b"\x7fFLAC\1\0\0\1fLaC" + bytes(50)), "FLAC in Ogg"),
    "a.spx": (ogg(b"Speex   1.2" + bytes(60)), "Speex in Ogg"),
    "aac.wav": (wav(0xFF), r"WAV of AAC \(format 0x00FF\)"),
    "g722.wav": (wav(0x28F), r"WAV of G.722 \(format 0x028F\)"),
    "g726.wav": (wav(0x45), r"WAV of G.726 \(format 0x0045\)"),
    "wma.wav": (wav(0x161), r"WAV of WMA 2 \(format 0x0161\)"),
    "a.aifc": (form(b"MAC6"), "AIFC of MAC6"),
    "a.caf": (caf(b"aac "), "CAF of aac"),
    "two words.m4a": (b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(500), "M4A"),
}
OTHERS = {
    "a.dsf": (b"DSD \x1c" + bytes(500), r"DSD, .*ffmpeg -i a\.dsf -ar 96000 a\.flac"),
    "a.mid": (b"MThd\0\0\0\6" + bytes(50), "MIDI: notes, no samples; play it"),
    "rmi.wav": (b"RIFF\0\0\0\x40RMIDdata" + bytes(50), "MIDI: notes, no samples"),
    "lfs.wav": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n",
        "a pointer of Git LFS.*git lfs pull",
    ),
    "page.wav": (b"<!DOCTYPE html><html><body>404</body></html>", "a page of HTML or XML, not a recording"),
    "zip.wav": (b"PK\3\4" + bytes(100), "an archive; unpack it"),
    "gz.wav": (b"\x1f\x8b\x08" + zlib.compress(bytes(100)), "an archive; unpack it"),
    "png.wav": (b"\x89PNG\r\n\x1a\n" + bytes(100), "a picture or a document; leave it out"),
    "npy.wav": (b"\x93NUMPY\1\0" + bytes(100), "an array or a table, not a recording"),
    "odd.wav": (wav(1, 36), "WAV of 36-bit integers, .*write it with 16, 24 or 32 bits"),
    "none.wav": (wav(0x9999), r"WAV of a codec \(format 0x9999\), .*with the program that wrote it"),
    "mac.wav": (b"MAC addresses of the recorders\n" * 9, r"not readable as audio \(no known format\)"),
    "text.wav": (b"no sound at all\n" * 9, r"not readable as audio \(no known format\)"),
}


@pytest.mark.parametrize("before", [b"", b"ID3\4\0\0\0\0\1\0" + bytes(128)], ids=["alone", "behind a tag"])
@pytest.mark.parametrize("name", CONVERTED)
def test_what_ffmpeg_converts(tmp_path: Path, name: str, before: bytes) -> None:
    content, kind = CONVERTED[name]
    (tmp_path / name).write_bytes(before + content)
    with pytest.raises(InputError, match=f"^{tmp_path}/{name}: {kind}.*{UNREAD}") as caught:
        load(tmp_path / name)
    quoted = f"'{name}' 'two words.flac'" if " " in name else f"{name} {Path(name).stem}.flac"
    assert str(caught.value).endswith(f"ffmpeg -i {quoted}")


@pytest.mark.parametrize("name", OTHERS)
def test_what_else_comes_as_a_recording(tmp_path: Path, name: str) -> None:
    content, reason = OTHERS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"^{tmp_path}/{name}: {reason}"):
        load(tmp_path / name)


def test_what_libsndfile_reads_is_not_called_foreign(tmp_path: Path) -> None:
    """A WAV of plain integers that does not open for another reason."""
    raw = wav(1)
    (tmp_path / "a.wav").write_bytes(raw[:22] + b"\0\0" + raw[24:])  # no channels
    with pytest.raises(InputError) as caught:
        load(tmp_path / "a.wav")
    assert "does not read" not in str(caught.value)
