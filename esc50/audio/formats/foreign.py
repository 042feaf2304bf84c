"""Files that libsndfile does not read: their names, by their first bytes, and how to convert them."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import BinaryIO, cast

from .chunks import PRINTABLE, RIFX, chunks
from .mpeg import after_tags
from .splice import Splice, Spliced
from .wav import PCM, WAVPACK, WAVS, wav_chunks

HEAD = 4096  # bytes that identify a file
AFTER_PAGE = slice(28, 36)  # beginning of the first packet in an Ogg file

OGG_CODECS = {b"\x7fFLAC": "FLAC in Ogg", b"Speex   ": "Speex in Ogg", b"CELT    ": "CELT in Ogg"}
OGG_OTHERS = {
    b"\x80theora\3": "Theora video in Ogg",
    b"fishead\0": "Ogg of several streams",
    b"\1video\0\0": "video in Ogg",
}
UNREAD = "which libsndfile does not read"
CONVERT = "convert it: ffmpeg"
MP3 = 0x55
DSD = "DSD"
READ_CODECS = (2, 3, 6, 7, 0x11, 0x31, 0x38, 0x40, MP3)  # codecs of WAV that libsndfile reads
READ_LETTERS = {  # codecs of AIFC and CAF that libsndfile reads
    b"FORM": re.compile(
        rb"none|twos|sowt|in24|in32|ni24|42ni|23ni|raw |fl32|fl64|[au]law|ima4|gsm |dwvw", re.IGNORECASE
    ),
    b"caff": re.compile(rb"lpcm|alac|[au]law"),
}
WAV_CODECS = {
    0x0010: "OKI ADPCM",
    0x0017: "Dialogic ADPCM",
    0x0020: "Yamaha ADPCM",
    0x0022: "TrueSpeech",
    0x0042: "G.723.1",
    0x0045: "G.726",
    0x0050: "MPEG layer I or II",
    0x0055: "MP3",
    0x0092: "AC-3",
    0x0065: "G.722",
    0x00FF: "AAC",
    0x0160: "WMA 1",
    0x0161: "WMA 2",
    0x0162: "WMA Pro",
    0x0163: "WMA Lossless",
    0x0270: "ATRAC3",
    0x028F: "G.722",
    0x1610: "AAC",
    0x2000: "AC-3",
    0x2001: "DTS",
    0x704F: "Opus",
    0xF1AC: "FLAC",
}
# Formats that ffmpeg converts.
CODED: tuple[tuple[bytes, str], ...] = (
    (rb"....ftyp(M4A|M4B)", "M4A (AAC or ALAC)"),
    (rb"....ftyp3g", "3GP"),
    (rb"....ftypqt", "QuickTime"),
    (rb"....(ftyp|moov|mdat)", "MP4"),
    (rb"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA, WMV or ASF"),
    (rb"RIFF....AVI ", "AVI"),
    (rb"wvpk", "WavPack"),
    (rb"MAC .[\x0b-\x10]", "Monkey's Audio"),
    (rb"DSD \x1c|FRM8\0", DSD),
    (rb"#!AMR", "AMR"),
    (rb"tBaK", "TAK"),
    (rb"TTA[12][\1-\3]\0", "True Audio"),
    (rb"MP\+[^ -~]|MPCK", "Musepack"),
    (rb"\.ra\xfd|\.RMF", "RealAudio"),
    (rb"ajkg", "Shorten"),
    (rb"ADIF", "AAC"),
    (rb"\x0b\x77", "AC-3"),
    (rb"\x7f\xfe\x80\x01|\xfe\x7f\x01\x80", "DTS"),
    (rb"FLV\x01", "Flash video"),
    (rb"\x00\x00\x01[\xba\xb3]", "MPEG video"),
    (rb"G.{187}G.{187}G", "an MPEG transport stream"),
    (rb"\.SoX|XoS\.", "SoX's own format"),
    (rb"STRM.{4}\0", "AST"),
    (rb"nut/multimedia container", "NUT"),
)
# Files that hold no samples.
OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (rb"version https://git-lfs", "a pointer of Git LFS, not the recording itself", "git lfs pull"),
    (rb"\s*<(!DOCTYPE|html|HTML|\?xml)", "a page of HTML or XML, not a recording", "fetch the recording again"),
    (rb"MThd|RIFF....RMID", "MIDI: notes, no samples", "play it with a synthesizer into a file"),
    (rb"OFR .\0\0\0", "OptimFROG", "convert it to WAV with OptimFROG's own program"),
    (rb"PK\x03\x04|\x1f\x8b|BZh[1-9]1AY|\xfd7zXZ|7z\xbc\xaf|Rar!\x1a|.{257}ustar", "an archive", "unpack it"),
    (rb"%PDF|\x89PNG|GIF8|\xff\xd8\xff|RIFF....WEBP|BM.{4}\0{4}", "a picture or a document", "leave it out"),
    (rb"\x93NUMPY|PAR1\x15|\x89HDF|ARROW1\0", "an array or a table, not a recording", "leave it out"),
)


def convert(path: Path, options: str = "") -> str:
    """Return the advice to convert a file, as a command of ffmpeg."""
    converted = f"{path.stem}-converted.flac" if path.suffix.lower() == ".flac" else f"{path.stem}.flac"
    return f"{CONVERT} -i {shlex.quote(path.name)} {options}{shlex.quote(converted)}"


def what(path: Path) -> str | None:
    """Name a file that did not open, and say what to do; None where its first bytes are not known."""
    with path.open("rb") as whole:
        first, n_bytes = after_tags(whole), os.fstat(whole.fileno()).st_size
    first = first if first < n_bytes else 0
    with Spliced(path, Splice(b"", first, n_bytes)) as spliced:
        file, n_bytes = cast(BinaryIO, spliced), n_bytes - first
        head = file.read(HEAD)
        for pattern, name, remedy in OTHERS:
            if re.match(pattern, head, re.DOTALL):
                return f"{name}; {remedy}"
        if head[:4] in WAVS and head[8:12] not in (b"AVI ", b"WEBP", b"RMID"):
            return _in_wav(path, file, n_bytes, head)
        name = _four_letters(file, n_bytes, head) if head[:4] == b"caff" or head[8:12] == b"AIFC" else None
    name = name or ("AAC" if _is_aac(head) else None) or OGG_OTHERS.get(head[AFTER_PAGE])
    name = name or next((name for pattern, name in CODED if re.match(pattern, head, re.DOTALL)), None)
    options = "-ar 96000 " if name == DSD else ""  # FLAC has no rate as high as DSD's own
    return f"{name}, {UNREAD}; {convert(path, options)}" if name else None


def coded(path: Path) -> str | None:
    """Name a format that ffmpeg converts; None for another, or a file that holds no samples."""
    name, unread, advice = (what(path) or "").partition(f", {UNREAD}; ")
    return name if unread and advice.startswith(CONVERT) else None


def in_ogg(path: Path, head: bytes) -> str | None:
    """Name the codec of an Ogg file's first stream, if libsndfile does not read it."""
    name = next((name for magic, name in OGG_CODECS.items() if head[AFTER_PAGE].startswith(magic)), None)
    return f"{name}, {UNREAD}; {convert(path)}" if name else None


def _in_wav(path: Path, file: BinaryIO, n_bytes: int, head: bytes) -> str | None:
    """Name the codec of a WAV's samples by its number (RFC 2361)."""
    fmt, audio, *_ = wav_chunks(file, n_bytes, head)
    if fmt is None:
        return None
    if audio is not None:
        file.seek(audio.first)
        if file.read(4) == WAVPACK:
            return f"WavPack in WAV, {UNREAD}; {convert(path)}"
    if fmt.tag == PCM:
        name = f"WAV of {fmt.bits}-bit integers" if fmt.bits not in (0, 8, 16, 24, 32) else None
        return f"{name}, {UNREAD}; write it with 16, 24 or 32 bits, or as float" if name else None
    if fmt.tag in READ_CODECS and (fmt.tag != MP3 or head[:4] != b"riff"):
        return None
    name = WAV_CODECS.get(fmt.tag)
    remedy = convert(path) if name else "convert it with the program that wrote it"
    return f"WAV of {name or 'a codec'} (format 0x{fmt.tag:04X}), {UNREAD}; {remedy}"


def _four_letters(file: BinaryIO, n_bytes: int, head: bytes) -> str | None:
    """Name the codec of an AIFC or a CAF by its four letters."""
    name, codec = "CAF", head[28:32]
    if head[:4] == b"FORM":
        comm = next((chunk for chunk in chunks(file, 12, n_bytes, RIFX) if chunk.name == b"COMM"), None)
        file.seek(comm.first + 18 if comm else n_bytes)
        name, codec = "AIFC", file.read(4)
    is_unread = len(codec) == 4 and not READ_LETTERS[head[:4]].match(codec) and all(byte in PRINTABLE for byte in codec)
    return f"{name} of {codec.decode().strip()}" if is_unread else None


def _is_aac(head: bytes) -> bool:
    """Whether `head` begins with a frame of AAC, in ADTS or LOAS, and another one follows it."""
    if len(head) < 7:
        return False
    if head[0] == 0x56 and head[1] & 0xE0 == 0xE0:
        size, alike = 3 + ((head[1] & 0x1F) << 8 | head[2]), 1
    elif head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        size, alike = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5, 2
    else:
        return False
    return size > 7 and head[size : size + alike] in (head[:alike], b"")
