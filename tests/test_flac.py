"""FLAC whose STREAMINFO does not say what its frames hold."""

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cumel.esc50.audio import load
from cumel.esc50.audio.reading import as_float, stream
from cumel.kernels import InputError

SR = 16000
ID3 = b"ID3\4\0\0\0\0\1\0" + bytes(128)
APE = b"APETAGEX" + struct.pack("<IIII", 2000, 132, 1, 1 << 31) + bytes(8)
BEHIND = {"nothing": b"", "zeros": bytes(500), "id3v1": b"TAG" + bytes(125), "ape": APE + bytes(100) + APE}
FORMS = [("PCM_16", 1, 1), ("PCM_16", 4096, 2), ("PCM_16", 20000, 1), ("PCM_24", 4097, 2), ("PCM_S8", 9000, 5)]


def make(subtype: str = "PCM_16", n: int = 20000, channels: int = 1) -> bytes:
    raw = io.BytesIO()
    y = np.random.default_rng(0).normal(0, 0.1, (n, channels))
    soundfile.write(raw, y, SR, format="FLAC", subtype=subtype)
    return raw.getvalue()


def stating(raw: bytes, total: int) -> bytes:
    """Return the file with another total in STREAMINFO."""
    packed = int.from_bytes(raw[18:26], "big") >> 36 << 36 | total
    return raw[:18] + packed.to_bytes(8, "big") + raw[26:]


def changed(raw: bytes, at: int, bits: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ bits]) + raw[at + 1 :]


def refused(path: Path, raw: bytes, reason: str) -> None:
    path.write_bytes(raw)
    with pytest.raises(InputError, match=f"{re.escape(path.name)}: {reason}"):
        load(path)


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize(("subtype", "n", "channels"), FORMS)
def test_an_unknown_total_is_counted(tmp_path: Path, subtype: str, n: int, channels: int, behind: str) -> None:
    """As FLAC that was written to a pipe."""
    raw = make(subtype, n, channels)
    expected = soundfile.read(io.BytesIO(raw), dtype="float32", always_2d=True)[0].mean(axis=1)
    path = tmp_path / "a.flac"
    for head in (b"", ID3):
        for total in (0, n):
            path.write_bytes(head + stating(raw, total) + BEHIND[behind])
            y, sr = load(path)
            assert (len(y), sr) == (n, SR)
            np.testing.assert_array_equal(y, expected)
            np.testing.assert_array_equal(np.concatenate([as_float(block) for block in stream(path, SR)]), expected)


@pytest.mark.parametrize("total", [1, 4096, 19999])
def test_more_samples_than_are_stated(tmp_path: Path, total: int) -> None:
    refused(
        tmp_path / "a.flac", stating(make(), total), f"STREAMINFO states {total} samples, but its frames hold 20000"
    )


@pytest.mark.parametrize("total", [20001, 2**36 - 1])
def test_fewer_samples_than_are_stated(tmp_path: Path, total: int) -> None:
    refused(tmp_path / "a.flac", stating(make(), total), f"truncated: STREAMINFO promises {total} samples, 20000 are")


@pytest.mark.parametrize("missing", [1, 2, 100, 3000, 20000])
@pytest.mark.parametrize("total", [0, 20000])
def test_a_cut_one(tmp_path: Path, missing: int, total: int) -> None:
    refused(tmp_path / "a.flac", stating(make(), total)[:-missing], "truncated: its last frame is cut")


@pytest.mark.parametrize(("first", "second"), [(20000, 20000), (20000, 5000), (0, 20000), (0, 5000)])
def test_two_in_one_file(tmp_path: Path, first: int, second: int) -> None:
    """Each of them 20000 samples or fewer, and the first of a stated length or not."""
    one, other = stating(make(), first), make(n=second)
    reason = f"holds recordings one after another, the second from byte {len(one)}; split them"
    refused(tmp_path / "a.flac", one + other, reason)


@pytest.mark.parametrize(
    ("at", "bits", "reason"),
    [
        (18, 0x01, "11904 Hz, but a frame has 16000"),
        (20, 0x02, "2 channels, but a frame has 1"),
        (21, 0x80, "8 bits a sample, but a frame has 16"),
    ],
)
def test_streaminfo_that_is_not_what_the_frames_are(tmp_path: Path, at: int, bits: int, reason: str) -> None:
    refused(tmp_path / "a.flac", changed(make(), at, bits), f"STREAMINFO states {reason}")


@pytest.mark.parametrize("bits", [12, 20])
def test_other_widths_are_named(tmp_path: Path, bits: int) -> None:
    raw = make()
    packed = int.from_bytes(raw[18:26], "big") & ~(31 << 36) | (bits - 1) << 36
    reason = f"FLAC of {bits} bits a sample, of which libsndfile reads 8, 16 and 24; convert it: ffmpeg -i a.flac "
    refused(tmp_path / "a.flac", raw[:18] + packed.to_bytes(8, "big") + raw[26:], reason)
