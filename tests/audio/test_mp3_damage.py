"""An MP3 that lacks something, or holds a second recording, is refused with the reason, not read in part."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cumel.esc50.audio import Recording, load
from cumel.kernels import InputError

from support.mpeg_files import (
    ID3V1,
    JUNK,
    N_FRAME,
    SKIPPED,
    Made,
    ape,
    id3v2,
    joined,
    make,
    silent_layer,
    vbri,
    with_inside,
)
from support.recordings import streamed

Build = Callable[[Made], bytes]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("mp3") / "a.mp3")


NO_FORMAT = r"not readable as audio \(no known format\)"
REFUSED: dict[str, tuple[Build, str]] = {
    "joined": (
        lambda made: 2 * (made.tag + joined(made)),
        r"holds recordings one after another, the second from byte {n_tagged}; split them",
    ),
    "joined, tags between": (
        lambda made: made.tag + joined(made) + ID3V1 + id3v2(100) + made.tag + joined(made),
        "holds recordings one after another",
    ),
    "joined, the first without a tag": (
        lambda made: joined(made) + made.tag + joined(made),
        r"holds recordings one after another, the second from byte {n}; split them",
    ),
    "joined, by Fraunhofer": (
        lambda made: 2 * (vbri(made, len(made.frames)) + joined(made)),
        r"holds recordings one after another, the second from byte {n_tagged}; split them",
    ),
    "a frame is missing": (
        lambda made: made.tag + b"".join(made.frames[:-5]),
        r"truncated: \d+ of {n_y} samples decode",
    ),
    "half is missing, by Fraunhofer": (
        lambda made: vbri(made, len(made.frames)) + b"".join(made.frames[:-5]),
        r"truncated: \d+ of {n_samples} samples decode",
    ),
    "a frame inside is missing": (
        lambda made: made.tag + b"".join(made.frames[:9] + made.frames[14:]),
        r"truncated: \d+ of {n_y} samples decode",
    ),
    "frames inside are zeros": (
        lambda made: made.tag + b"".join(made.frames[:9]) + bytes(3000) + b"".join(made.frames[17:]),
        r"damaged at byte 0: {n_frames} frames are promised there, \d+ can be found",
    ),
    "bytes inside are missing": (
        lambda made: with_inside(made, made.frames[3][:90]),
        r"damaged at byte \d+: the frame there is not whole",
    ),
    "cut": (lambda made: joined(made)[:-1], "truncated: its last frame is cut"),
    "cut, and tagged": (lambda made: joined(made)[:-20] + ape(300) + ID3V1, "truncated: its last frame is cut"),
    "cut in a header": (lambda made: joined(made) + made.frames[0][:3], "truncated: its last frame is cut"),
    "cut in the first frame": (lambda made: made.frames[0][:-10], "truncated: its last frame is cut"),
    "a tag alone": (lambda made: made.tag, "holds no samples"),
    "ID3v2 alone": (lambda _: id3v2(3000), NO_FORMAT),
    "ID3v2 that is cut": (lambda _: id3v2(3000)[:-100], NO_FORMAT),
    "free format": (
        lambda made: b"".join(frame[:2] + bytes([frame[2] & 15]) + frame[3:] for frame in made.frames),
        "MPEG audio in free format, which states no bit rate; convert it with mpg123",
    ),
    "text": (lambda _: 90 * b"no sound at all\n", NO_FORMAT),
    "ID3v2 before text": (lambda _: id3v2(30) + 90 * b"no sound at all\n", NO_FORMAT),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_the_reason(
    tmp_path: Path, made: Made, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    build, reason = REFUSED[name]
    path, n = tmp_path / "a.mp3", len(joined(made))
    path.write_bytes(build(made))
    facts = {"n": n, "n_tagged": n + len(made.tag), "n_y": len(made.y), "n_samples": made.n}
    with pytest.raises(InputError, match=r"a\.mp3: " + reason.format(n_frames=len(made.frames), **facts)) as refusal:
        load(path)
    with pytest.raises(InputError) as refusal_of_blocks:
        streamed(path)
    assert str(refusal_of_blocks.value) == str(refusal.value)
    assert capfd.readouterr().err == ""


def test_frames_of_another_kind_behind_are_named(tmp_path: Path, made: Made) -> None:
    stereo = make(tmp_path / "b.mp3", channels=2, seconds=0.3)
    path = tmp_path / "a.mp3"
    for other in (joined(stereo), silent_layer(2, 9), JUNK + joined(stereo)):
        path.write_bytes(joined(made) + other)
        with pytest.raises(InputError, match=r"a\.mp3: from byte \d+ on its frames have another rate, layer or"):
            load(path)


def changed(frame: bytes, bit: int, n_bits: int, value: int) -> bytes:
    """Return a frame of MPEG-1 in mono with other bits behind its header."""
    assert frame[1] & 1  # no checksum
    mask = ((1 << n_bits) - 1) << (8 * len(frame) - 32 - bit - n_bits)
    bits = int.from_bytes(frame, "big") & ~mask | value * (mask & -mask)
    return bits.to_bytes(len(frame), "big")


GRANULE_BITS = 9 + 5 + 4  # before the first granule
BROKEN = {
    "more values than a granule has": [(GRANULE_BITS + 12, 9, 300)],
    "a switched window of the normal kind": [(GRANULE_BITS + 12 + 9 + 8 + 4, 3, 0b100)],
    "more bits than there are": [(GRANULE_BITS, 12, 4095), (GRANULE_BITS + 59, 12, 4095)],
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("tagged", [False, True])
def test_a_frame_that_contradicts_itself_is_named(
    tmp_path: Path, made: Made, name: str, tagged: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    path, tag = tmp_path / "a.mp3", made.tag if tagged else b""
    frame = made.frames[20]
    for edit in BROKEN[name]:
        frame = changed(frame, *edit)
    path.write_bytes(tag + b"".join([*made.frames[:20], frame, *made.frames[21:]]))
    at = len(tag) + len(b"".join(made.frames[:20]))
    with pytest.raises(InputError, match=rf"a\.mp3: damaged at byte {at}: the frame there contradicts itself"):
        load(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize("most_seconds", [100.0, 0.011])
def test_a_frame_that_does_not_decode_is_named(tmp_path: Path, tagged: bool, most_seconds: float) -> None:
    made = make(tmp_path / "b.mp3", mode="CONSTANT")
    path, number = tmp_path / "a.mp3", 20
    ones = made.frames[number][:21] + bytes(len(made.frames[number]) - 21)  # a lost sector of a disk
    path.write_bytes(
        (made.tag if tagged else b"") + b"".join([*made.frames[:number], ones, *made.frames[number + 1 :]])
    )
    at = (N_FRAME * number - SKIPPED * tagged) / 44100
    reason = r"a\.mp3: damaged at (.*) s: a frame there does not decode"
    with Recording(path) as recording, pytest.raises(InputError, match=reason) as refusal:
        list(recording.blocks(most_seconds=most_seconds))
    found = re.search(reason, str(refusal.value))
    assert found is not None
    assert 0 <= float(found[1]) - at + 0.001 < N_FRAME / 44100
