"""FLAC whose STREAMINFO does not say what its frames hold."""

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cumel.esc50.audio import load
from cumel.esc50.audio.formats.flac_frames import crc_16, frame_at
from cumel.kernels import InputError

from support.recordings import streamed

SR = 16000
ID3 = b"ID3\4\0\0\0\0\1\0" + bytes(128)
APE = b"APETAGEX" + struct.pack("<IIII", 2000, 132, 1, 1 << 31) + bytes(8)
BEHIND = {"nothing": b"", "zeros": bytes(500), "id3v1": b"TAG" + bytes(125), "ape": APE + bytes(100) + APE}
ORDERS = {
    "missing": ([0, 1, 3, 4], "frame 3 lies where frame 2 belongs"),
    "doubled": ([0, 1, 2, 2, 3, 4], "frame 2 lies where frame 3 belongs"),
    "the first doubled": ([0, 0, 1, 2, 3, 4], "frame 0 lies where frame 1 belongs"),
    "the last doubled": ([0, 1, 2, 3, 4, 4], "frame 4 lies where frame 5 belongs"),
    "swapped": ([0, 2, 1, 3, 4], "frame 2 lies where frame 1 belongs"),
    "another instead": ([0, 1, 3, 3, 4], "frame 3 lies where frame 2 belongs"),
}
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


def split(raw: bytes) -> tuple[bytes, list[bytes]]:
    """Return the metadata and each frame."""
    starts = [at for at in range(42, len(raw)) if raw[at : at + 2] == b"\xff\xf8" and frame_at(raw[at : at + 16], at)]
    return raw[: starts[0]], [raw[at:end] for at, end in zip(starts, [*starts[1:], len(raw)], strict=True)]


def with_short_numbers(frames: list[bytes]) -> list[bytes]:
    """Return the frames with numbers of one byte."""
    return [frame[:4] + b"\0" + frame[4 + len(chr(number).encode()) :] for number, frame in enumerate(frames)]


def of_variable_blocks(frame: bytes, n_before: int) -> bytes:
    """Return the frame with the number of its first sample instead of its own."""
    coded = chr(n_before).encode()
    header = frame[:1] + b"\xf9" + frame[2:4] + coded
    header += frame[5 : 7 if frame[2] >> 4 == 7 else 5]
    header = next(header + bytes([n]) for n in range(256) if frame_at(header + bytes([n]) + bytes(16), 0))
    body = header + frame[8 if frame[2] >> 4 == 7 else 6 : -2]
    return body + crc_16(body).to_bytes(2, "big")


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
            np.testing.assert_array_equal(streamed(path), expected)


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


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("total", [0, 20000])
def test_frames_that_do_not_follow_one_another(tmp_path: Path, order: str, total: int) -> None:
    """A decoder fills a gap with zeros, and leaves out what is there twice."""
    numbers, reason = ORDERS[order]
    head, frames = split(stating(make(), total))
    raw = head + b"".join(frames[number] for number in numbers)
    refused(
        tmp_path / "a.flac", raw, rf"damaged at byte \d+: {reason}; fetch it again, or convert it: ffmpeg -i a\.flac"
    )


@pytest.mark.parametrize("missing", [None, 1, 200])
@pytest.mark.parametrize("variable", [False, True])
def test_numbers_of_several_bytes(tmp_path: Path, missing: int | None, variable: bool) -> None:
    """Frames are counted beyond 127, or by their samples."""
    head, frames = split(make("PCM_S8", 250 * 4096))
    assert len(frames) == 250
    expected = soundfile.read(io.BytesIO(head + b"".join(frames)), dtype="float32")[0]
    if variable:
        frames = [of_variable_blocks(frame, 4096 * number) for number, frame in enumerate(with_short_numbers(frames))]
    if missing is None:
        (tmp_path / "a.flac").write_bytes(head + b"".join(frames))
        np.testing.assert_array_equal(load(tmp_path / "a.flac")[0], expected)
        return
    del frames[missing]
    there, belongs = (4096 * (missing + 1), 4096 * missing) if variable else (missing + 1, missing)
    unit = "sample" if variable else "frame"
    reason = rf"damaged at byte \d+: {unit} {there} lies where {unit} {belongs} belongs"
    refused(tmp_path / "a.flac", head + b"".join(frames), reason)


def test_damage_and_a_frame_that_is_missing_behind_it(tmp_path: Path) -> None:
    head, frames = split(make())
    frames[1] = changed(frames[1], 100, 1)
    refused(tmp_path / "a.flac", head + b"".join(frames[:2] + frames[3:]), "damaged at byte")
