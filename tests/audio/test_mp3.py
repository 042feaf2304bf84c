"""The length of an MP3 is that of its frames, whatever a tag or the file's size says; with the decoder's own bits."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cumel.esc50.audio import load
from cumel.esc50.audio.formats import mp3, mpeg
from cumel.esc50.audio.formats.mp3 import examine

from support.mpeg_files import (
    ID3V1,
    JUNK,
    N_FRAME,
    SKIPPED,
    Made,
    ape,
    id3v2,
    in_wav,
    joined,
    lyrics,
    make,
    read,
    retagged,
    silent_layer,
    vbri,
    with_inside,
)

Build = Callable[[Made], bytes]
SETTLED = 4  # frames behind a gap, after which the decoder gives what it gives without one


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("mp3") / "a.mp3")


WHOLE: dict[str, Build] = {
    "no tag": joined,
    "VBRI": lambda made: vbri(made, len(made.frames)) + joined(made),
    "VBRI without a count": lambda made: vbri(made, 0) + joined(made),
    "VBRI that counts too few": lambda made: vbri(made, 5) + joined(made),
    "zeros in front": lambda made: bytes(300) + joined(made),
    "many zeros in front": lambda made: bytes(100_000) + joined(made),
    "other bytes in front": lambda made: JUNK + joined(made),
    "the end of a frame in front": lambda made: made.frames[3][-150:] + joined(made),
    "zeros behind": lambda made: joined(made) + bytes(3000),
    "a byte behind": lambda made: joined(made) + b"\0",
    "other bytes behind": lambda made: joined(made) + JUNK,
    "ID3v2 in front": lambda made: id3v2(3000) + joined(made),
    "two ID3v2 in front": lambda made: id3v2(300) + id3v2(0) + joined(made),
    "ID3v2 with a footer in front": lambda made: id3v2(300, footer=True) + joined(made),
    "ID3v2 and zeros in front": lambda made: id3v2(300) + bytes(77) + joined(made),
    "ID3v2 behind": lambda made: joined(made) + id3v2(3000),
    "ID3v2 with a footer behind": lambda made: joined(made) + id3v2(3000, footer=True),
    "ID3v1": lambda made: joined(made) + ID3V1,
    "ID3v1 with an extension": lambda made: joined(made) + b"TAG+" + bytes(223) + ID3V1,
    "APE 1": lambda made: joined(made) + ape(900, 1000),
    "APE 2": lambda made: joined(made) + ape(4000),
    "APE 2 in front": lambda made: ape(400) + joined(made),
    "APE 2 of a wrong size": lambda made: joined(made) + ape(4000)[500:] + ID3V1,
    "Lyrics3 1 and ID3v1": lambda made: joined(made) + lyrics(2000, 1) + ID3V1,
    "Lyrics3 2 and ID3v1": lambda made: joined(made) + lyrics(9000) + ID3V1,
    "all tags": lambda made: id3v2(99) + joined(made) + id3v2(50, footer=True) + ape(70) + lyrics(60) + ID3V1,
    "all tags, zeros between": lambda made: joined(made) + bytes(9) + ape(70) + bytes(5) + ID3V1 + bytes(30),
    "in a WAV": lambda made: in_wav(joined(made)),
    "in a WAV from a pipe": lambda made: in_wav(joined(made), size=0xFFFFFFFF),
    "in a WAV that was never finished": lambda made: in_wav(joined(made), size=0),
    "in a WAV, zeros behind": lambda made: in_wav(joined(made) + bytes(700)),
}


@pytest.mark.parametrize("name", WHOLE)
def test_every_frame_is_read(tmp_path: Path, made: Made, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    y = read(tmp_path / "a.mp3", WHOLE[name](made))
    assert len(y) == made.n
    np.testing.assert_array_equal(y[SKIPPED : SKIPPED + len(made.y)], made.y)
    assert capfd.readouterr().err == ""  # the decoder has nothing to say


INSIDE = {
    "zeros": bytes(300),
    "more zeros than the decoder searches": bytes(5000),
    "40 other bytes": JUNK[:40],
    "many other bytes": JUNK,
    "ID3v1": ID3V1,
    "ID3v2": id3v2(700),
    "ID3v2 with a footer": id3v2(700, footer=True),
    "APE": ape(500),
}


@pytest.mark.parametrize("name", INSIDE)
@pytest.mark.parametrize("tagged", [False, True])
def test_what_lies_between_frames_is_passed_over(
    tmp_path: Path, made: Made, name: str, tagged: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    y = read(tmp_path / "a.mp3", (made.tag if tagged else b"") + with_inside(made, INSIDE[name]))
    first, n = (0, len(made.y)) if tagged else (SKIPPED, made.n)
    assert len(y) == n
    y, gap = y[first : first + len(made.y)], len(made.frames) // 2 * N_FRAME - SKIPPED
    settled = gap + SETTLED * N_FRAME
    np.testing.assert_array_equal(y[: gap - N_FRAME], made.y[: gap - N_FRAME])
    np.testing.assert_array_equal(y[settled:], made.y[settled:])
    assert np.abs(y[gap:settled]).max() <= 1.5 * np.abs(made.y[gap:settled]).max()  # no burst
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_last_frames_behind_other_bytes_are_read(tmp_path: Path, made: Made, n: int) -> None:
    raw = b"".join(made.frames[:-n]) + JUNK[:500] + b"".join(made.frames[-n:])
    assert len(read(tmp_path / "a.mp3", raw)) == len(read(tmp_path / "a.mp3", raw + ape(300) + ID3V1)) == made.n
    np.testing.assert_array_equal(
        read(tmp_path / "a.mp3", made.tag + raw)[: -SETTLED * N_FRAME], made.y[: -SETTLED * N_FRAME]
    )


TAGGED: dict[str, Build] = {
    "as it was": lambda made: made.tag + joined(made),
    "without a count": lambda made: retagged(made, flags=14) + joined(made),
    "without anything": lambda made: retagged(made, flags=0) + joined(made),
    "a count of 0": lambda made: retagged(made, n_frames=0) + joined(made),
    "bytes of 0": lambda made: retagged(made, n_bytes=0) + joined(made),
    "bytes far off": lambda made: retagged(made, n_bytes=12_345_678) + joined(made),
    "its own frame counted": lambda made: retagged(made, n_frames=len(made.frames) + 1) + joined(made),
    "ID3v2 behind": lambda made: made.tag + joined(made) + id3v2(3000),
    "APE behind": lambda made: made.tag + joined(made) + ape(4000),
    "Lyrics3 behind": lambda made: made.tag + joined(made) + lyrics(2000) + ID3V1,
    "other bytes behind": lambda made: made.tag + joined(made) + JUNK,
    "other bytes in front": lambda made: JUNK + made.tag + joined(made),
    "ID3v2 in front": lambda made: id3v2(3000) + made.tag + joined(made),
    "half a frame behind": lambda made: made.tag + joined(made) + made.frames[-1][:100],
    "in a WAV": lambda made: in_wav(made.tag + joined(made)),
}


@pytest.mark.parametrize("name", TAGGED)
def test_what_the_encoder_added_is_left_out(
    tmp_path: Path, made: Made, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    np.testing.assert_array_equal(read(tmp_path / "a.mp3", TAGGED[name](made)), made.y)
    assert capfd.readouterr().err == ""


def test_a_tag_that_counts_too_few_frames_is_not_believed(tmp_path: Path, made: Made) -> None:
    y = read(tmp_path / "a.mp3", retagged(made, n_frames=len(made.frames) - 9) + joined(made))
    assert len(y) == made.n - SKIPPED
    np.testing.assert_array_equal(y[: len(made.y)], made.y)


@pytest.mark.parametrize("sr", [8000, 16000, 44100])
@pytest.mark.parametrize("n", [1, 2, 100])
def test_bytes_in_front_that_begin_a_header_as_well(tmp_path: Path, sr: int, n: int) -> None:
    soundfile.write(tmp_path / "a.mp3", np.random.default_rng(0).normal(0, 0.1, sr), sr, format="MP3")
    expected, _ = load(tmp_path / "a.mp3")
    (tmp_path / "a.mp3").write_bytes(b"\xff" * n + (tmp_path / "a.mp3").read_bytes())
    np.testing.assert_array_equal(load(tmp_path / "a.mp3")[0], expected)


@pytest.mark.parametrize("layer", [1, 2])
@pytest.mark.parametrize("n", [1, 2, 3, 50])
def test_layers_one_and_two(tmp_path: Path, layer: int, n: int, capfd: pytest.CaptureFixture[str]) -> None:
    audio = silent_layer(layer, n)
    for raw in (audio, id3v2(100) + audio, audio + ape(3000) + ID3V1, audio + bytes(99), in_wav(audio, tag=0x50)):
        if n == 1 and raw.endswith(bytes(99)):
            continue  # one frame before something else may be chance
        y = read(tmp_path / "a.mp2", raw)
        assert len(y) == n * {1: 384, 2: 1152}[layer]
        assert not y.any()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_one_that_begins_within_a_frame_begins_with_silence(tmp_path: Path, mode: str) -> None:
    made = make(tmp_path / "b.mp3", mode=mode, channels=2, seconds=1.0)
    for first in (7, 12):
        begun = b"".join(made.frames[first:])
        y = read(tmp_path / "a.mp3", made.frames[first - 1][-99:] + begun)
        expected = made.y.mean(axis=1)[first * N_FRAME - SKIPPED :]
        np.testing.assert_array_equal(y[SETTLED * N_FRAME : len(expected)], expected[SETTLED * N_FRAME :])
        assert np.abs(y).max() <= 1.01 * np.abs(expected).max()
        assert len(y) == N_FRAME * (len(made.frames) - first)


def test_silence_decodes(tmp_path: Path) -> None:
    path, y = tmp_path / "a.mp3", np.zeros(44100)
    y[9999:12345] = np.random.default_rng(0).normal(0, 0.3, 2346)
    y[30000:30050] = 0.9
    soundfile.write(path, y, 44100)
    np.testing.assert_array_equal(read(path, path.read_bytes()), soundfile.read(path, dtype="float32")[0])


@pytest.mark.pairwise
@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("sr", [8000, 16000, 22050, 32000, 44100, 48000])
def test_without_a_tag_it_is_read_to_the_last_bit(tmp_path: Path, sr: int, channels: int, mode: str) -> None:
    path = tmp_path / "a.mp3"
    y = np.random.default_rng(0).normal(0, 0.15, (sr, channels)) * np.linspace(1e-4, 1, sr)[:, None] ** 4
    soundfile.write(path, y, sr, bitrate_mode=mode, compression_level=0.5)
    raw = path.read_bytes()
    path.write_bytes(raw[raw.index(raw[:2], 100) :])
    expected = soundfile.read(path, dtype="float32", always_2d=True)[0]  # the guess is high, so all of it
    y = read(path, path.read_bytes())
    assert len(y) % (1152 if sr >= 32000 else 576) == 0
    np.testing.assert_array_equal(y, expected.mean(axis=1) if channels > 1 else expected[:, 0])


class Noted(io.FileIO):
    """A file that notes how much is read at once."""

    most = 0

    def read(self, size: int = -1, /) -> bytes:
        self.most = max(self.most, size)
        assert size >= 0
        return super().read(size)


def test_a_file_is_walked_through_a_window(tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(id3v2(999) + with_inside(made, JUNK) + ape(100))
    with Noted(path) as file:
        expected = examine(path, file)
        assert expected is not None
        for window in (600, 1001, 4096):
            monkeypatch.setattr(mp3, "WINDOW", window)
            file.most = 0
            assert examine(path, file) == expected
            assert file.most <= max(window, mpeg.LYRICS_REACH)


def test_other_formats_are_left_alone(tmp_path: Path) -> None:
    y = np.random.default_rng(0).normal(0, 0.3, 50_000)
    for suffix in ("wav", "flac", "ogg", "aiff", "au", "caf", "w64", "rf64"):
        path = tmp_path / f"a.{suffix}"
        soundfile.write(path, y, 8000, format=suffix)
        with path.open("rb") as file:
            assert examine(path, file) is None, suffix
