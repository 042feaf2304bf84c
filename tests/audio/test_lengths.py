"""Recordings whose header does not know their length, or promises more than is there, in every container with one."""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from cumel.esc50.audio import Recording, load
from cumel.esc50.audio.formats.chunks import is_unknown
from cumel.kernels import InputError

from support.recordings import streamed

N, SR = 4000, 8000
LEFT_32 = (0, 2**32 - 1, 2**32 - 37, 2**31, 2**31 - 1, 2**31 - 44, 0x7FFFF000, 0x7FFFFF00, 0x7F000008, 2_000_000_000)
LEFT_64 = (0, 2**63 - 1, 2**62)
ALL_BUT = (("8svx", "PCM_24"), ("8svx", "FLOAT"), ("aifc", "FLOAT"))
ID3 = b"ID3\4\0\0\0\0\1\0" + bytes(128)


class Container(NamedTuple):
    """How to make one, and where it states its size."""

    format: str
    endian: str
    before: bytes  # the name before the size
    size: str  # struct's format of it
    counted: int  # bytes that the size counts beside the samples
    between: int  # bytes from the size to the samples

    def make(self, subtype: str = "PCM_16") -> tuple[bytearray, int, int]:
        """Return a file that ends with its samples, the place of its size and the first sample's."""
        raw = io.BytesIO()
        soundfile.write(raw, samples(), SR, format=self.format, subtype=subtype, endian=self.endian)
        made = bytearray(raw.getvalue())
        at = made.rindex(self.before) + len(self.before)
        first = at + struct.calcsize(self.size) + self.between
        return made[: first + struct.unpack_from(self.size, made, at)[0] - self.counted], at, first


CONTAINERS = {
    "wav": Container("WAV", "FILE", b"data", "<I", 0, 0),
    "extensible": Container("WAVEX", "FILE", b"data", "<I", 0, 0),
    "rifx": Container("WAV", "BIG", b"data", ">I", 0, 0),
    "aiff": Container("AIFF", "FILE", b"SSND", ">I", 8, 8),
    "aifc": Container("AIFF", "LITTLE", b"SSND", ">I", 8, 8),
    "8svx": Container("SVX", "FILE", b"BODY", ">I", 0, 0),
    "au": Container("AU", "FILE", b".snd\0\0\0\x18", ">I", 0, 12),
    "au-little": Container("AU", "LITTLE", b"dns.\x18\0\0\0", "<I", 0, 12),
    "w64": Container("W64", "FILE", b"data\xf3\xac\xd3\x11\x8c\xd1\0\xc0O\x8e\xdb\x8a", "<q", 24, 0),
    "caf": Container("CAF", "FILE", b"data", ">q", 4, 4),
}


def samples() -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, N)


def decoded(raw: bytes | bytearray) -> np.ndarray:
    return soundfile.read(io.BytesIO(raw), dtype="float32")[0]


def check_read(path: Path, expected: np.ndarray) -> None:
    """Whole and in blocks."""
    y, sr = load(path)
    assert sr == SR
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(streamed(path), expected)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("name", CONTAINERS)
def test_an_unknown_length_ends_with_the_file(tmp_path: Path, name: str, subtype: str) -> None:
    container = CONTAINERS[name]
    if (name, subtype) in ALL_BUT:
        pytest.skip("no such files")
    raw, at, _ = container.make(subtype)
    expected = decoded(raw)
    assert len(expected) == N
    for left in LEFT_32 if container.size[1] == "I" else (*LEFT_64, -1):
        struct.pack_into(container.size, raw, at, left)
        for head in (b"", ID3):
            (tmp_path / "a.wav").write_bytes(head + raw)
            check_read(tmp_path / "a.wav", expected)


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("missing", [1, 2, 200, 2 * N - 10])
def test_a_cut_one_is_named(tmp_path: Path, name: str, missing: int) -> None:
    raw, *_ = CONTAINERS[name].make()
    (tmp_path / "a.wav").write_bytes(raw[:-missing])
    reason = f"a.wav: truncated: the header promises {2 * N} bytes of audio, {2 * N - missing} are there"
    with pytest.raises(InputError, match=reason):
        load(tmp_path / "a.wav")


@pytest.mark.parametrize("name", CONTAINERS)
def test_two_in_one_file_are_named(tmp_path: Path, name: str) -> None:
    raw, *_ = CONTAINERS[name].make()
    (tmp_path / "a.wav").write_bytes(raw + raw)
    with pytest.raises(InputError, match=f"one after another, the second from byte {len(raw)}; split them"):
        load(tmp_path / "a.wav")


@pytest.mark.pairwise
@pytest.mark.parametrize("magic", [b"RF64", b"BW64"])
@pytest.mark.parametrize("of_data", [2**32 - 1, 0, 2**31 - 1])
@pytest.mark.parametrize("of_ds64", [None, 0, 2**64 - 1, 2**63 - 1, 2**32 - 1])
def test_rf64_and_bw64(tmp_path: Path, magic: bytes, of_data: int, of_ds64: int | None) -> None:
    made = io.BytesIO()
    soundfile.write(made, samples(), SR, format="RF64", subtype="PCM_16")
    at = made.getvalue().index(b"data") + 4
    raw = bytearray(made.getvalue()[: at + 4 + 2 * N])
    expected = decoded(raw)
    raw[:4] = magic
    struct.pack_into("<I", raw, at, of_data)
    if of_ds64 is not None:
        struct.pack_into("<Q", raw, raw.index(b"ds64") + 16, of_ds64)
    (tmp_path / "a.wav").write_bytes(raw)
    check_read(tmp_path / "a.wav", expected)
    if of_ds64 is None:
        (tmp_path / "a.wav").write_bytes(raw[:-100])
        with pytest.raises(InputError, match=f"promises {2 * N} bytes of audio, {2 * N - 100} are there"):
            load(tmp_path / "a.wav")


def test_w64_with_an_extensible_format_is_what_it_says(tmp_path: Path) -> None:
    """libsndfile takes its floats for integers."""
    raw, at, first = CONTAINERS["w64"].make("FLOAT")
    y = samples().astype("<f4")
    fmt = (
        struct.pack("<HHIIHHHHIH", 0xFFFE, 1, SR, 4 * SR, 4, 32, 22, 32, 4, 3)
        + b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    )
    name = b"fmt \xf3\xac\xd3\x11\x8c\xd1\0\xc0O\x8e\xdb\x8a"
    head = raw[:40] + name + struct.pack("<q", 24 + len(fmt)) + fmt + raw[at - 16 : at] + struct.pack("<q", 24 + 4 * N)
    (tmp_path / "a.w64").write_bytes(head + y.tobytes())
    check_read(tmp_path / "a.w64", y)
    assert first > at


def with_a_chunk(raw: bytes | bytearray) -> bytes:
    return bytes(raw) + b"LIST\4\0\0\0INFO"


def with_an_odd_one_unfilled(raw: bytearray) -> bytes:
    return bytes(raw[:12]) + b"note\3\0\0\0abc" + bytes(raw[12:])


@pytest.mark.parametrize("change", [with_a_chunk, with_an_odd_one_unfilled])
def test_a_size_of_zero_may_be_true(tmp_path: Path, change: Callable[[bytearray], bytes]) -> None:
    raw, at, first = CONTAINERS["wav"].make()
    struct.pack_into("<I", raw, at, 0)
    (tmp_path / "a.wav").write_bytes(change(raw[:first]))
    with pytest.raises(InputError, match="holds no samples"):
        load(tmp_path / "a.wav")


def test_behind_an_odd_chunk_that_is_not_filled_up(tmp_path: Path) -> None:
    raw, *_ = CONTAINERS["wav"].make()
    odd = with_an_odd_one_unfilled(raw)
    (tmp_path / "a.wav").write_bytes(odd)
    check_read(tmp_path / "a.wav", decoded(raw))
    (tmp_path / "a.wav").write_bytes(odd[:-10])
    with pytest.raises(InputError, match="truncated"):
        load(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("format_", "subtype"),
    [("AVR", "PCM_16"), ("NIST", "PCM_16"), ("NIST", "ULAW"), ("WVE", "ALAW"), ("VOC", "PCM_16")],
)
def test_small_containers_that_are_cut(tmp_path: Path, format_: str, subtype: str) -> None:
    soundfile.write(tmp_path / "a.wav", samples(), SR, format=format_, subtype=subtype)
    check_read(tmp_path / "a.wav", decoded((tmp_path / "a.wav").read_bytes()))
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-500])
    with pytest.raises(InputError, match=r"truncated: the header promises \d+ bytes of audio, \d+ are there"):
        load(tmp_path / "a.wav")


def test_a_voc_of_several_blocks_is_refused(tmp_path: Path) -> None:
    """libsndfile reads the headers of the later ones as samples."""
    soundfile.write(tmp_path / "a.voc", samples(), SR, format="VOC", subtype="PCM_16")
    raw = (tmp_path / "a.voc").read_bytes()
    more = b"\2" + (1000).to_bytes(3, "little") + bytes(1000)
    (tmp_path / "a.voc").write_bytes(raw[:-1] + more + b"\0")
    with pytest.raises(InputError, match=r"of 2 blocks, of which libsndfile reads one; convert it: ffmpeg -i a\.voc"):
        load(tmp_path / "a.voc")


@pytest.mark.parametrize(
    ("size", "there", "bits", "unknown"),
    [
        (2**32 - 1, 5 * 2**30, 32, True),
        (2**31 - 4096, 10**9, 32, True),  # SoX, an hour and a half
        (2**31 - 4096, 2**31 - 2**20, 32, False),  # a recorder that splits at 2 GB, the last megabyte missing
        (1_500_000_000, 1_400_000_000, 32, False),
        (1_500_000_000, 10_000, 32, True),
        (500_000_000, 10_000, 32, False),
        (8 * 2**30, 10_000, 64, False),
        (2**63 - 1, 2**33, 64, True),
    ],
)
def test_which_sizes_are_none(size: int, there: int, bits: int, unknown: bool) -> None:
    assert is_unknown(size, there, bits) == unknown


def test_more_than_4_gb_of_unknown_length(tmp_path: Path) -> None:
    """A pipe knows no limit: what is behind the first 4 GB is read too."""
    raw, at, first = CONTAINERS["wav"].make()
    struct.pack_into("<I", raw, at, 2**32 - 1)
    path = tmp_path / "a.wav"
    path.write_bytes(raw)
    n = 2**31 + 100  # samples; those in between are a hole in the file
    with path.open("r+b") as file:
        file.seek(first + 2 * n - 2)
        file.write(struct.pack("<h", 12345))
    with Recording(path) as recording:
        assert recording.header.n_samples == n
        soundfile.SoundFile.seek(recording._sound, n - 1)
        assert recording._sound.read(1, dtype="int16")[0] == 12345
