"""MP3 without a header that states its length: all of it is read, with the decoder's own bits."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from cumel.esc50.audio import load
from cumel.esc50.audio.mp3 import unstated_frames
from cumel.esc50.audio.reading import stream
from cumel.kernels import InputError

ID3 = b"ID3\4\0\0\0\0\1\0" + bytes(128)  # a tag of 128 bytes
TAGS = b"APETAGEX" + bytes(56) + b"TAG" + bytes(125)


def make(path: Path, sr: int, channels: int, mode: str, *, fading_out: bool = False, seconds: int = 3) -> int:
    """Write noise that grows or fades, without the frame that states the length; returns its samples."""
    n = sr * seconds
    y = (
        np.random.default_rng(0).normal(0, 0.15, (n, channels))
        * np.linspace(1e-4, 1, n)[:: -1 if fading_out else 1, None] ** 4
    )
    soundfile.write(path, y, sr, bitrate_mode=mode, compression_level=0.5)
    raw = path.read_bytes()
    with path.open("rb") as file:
        assert unstated_frames(path, file, len(raw)) is None
    second = raw.index(raw[:2], 100)
    path.write_bytes(raw[second:])
    with path.open("rb") as file:
        frames = unstated_frames(path, file, len(raw) - second)
    assert frames is not None
    return frames.n * (1152 if sr >= 32000 else 576)


@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("sr", [8000, 16000, 22050, 32000, 44100, 48000])
def test_it_is_read_to_the_last_bit(tmp_path: Path, sr: int, channels: int, mode: str) -> None:
    path = tmp_path / "a.mp3"
    n = make(path, sr, channels, mode)
    assert soundfile.info(path).frames >= n  # the guess is high, so soundfile reads it all
    expected = soundfile.read(path, dtype="float32", always_2d=True)[0]
    expected = expected.mean(axis=1) if channels > 1 else expected[:, 0]
    raw = path.read_bytes()
    for head, tail in ((b"", b""), (ID3, TAGS)):
        path.write_bytes(head + raw + tail)
        y, rate = load(path)
        assert (len(y), rate) == (n, sr)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(np.concatenate(list(stream(path, sr))), expected)


def test_what_the_decoder_would_leave_out_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    n = make(path, 44100, 2, "VARIABLE", fading_out=True)
    cut = soundfile.read(path, dtype="float32", always_2d=True)[0].mean(axis=1)
    assert len(cut) < 0.9 * n
    y, _ = load(path)
    assert len(y) == n
    np.testing.assert_array_equal(y[: len(cut)], cut)


def test_a_cut_one_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    n = make(path, 44100, 1, "CONSTANT")
    raw = path.read_bytes()
    for left in (len(raw) - 1, len(raw) - 200, len(raw) // 2 + 100):
        path.write_bytes(raw[:left])
        with pytest.raises(InputError, match=r"a\.mp3: truncated: its last frame is cut"):
            load(path)
    path.write_bytes(raw[: raw.index(raw[:2], len(raw) - 700)])  # between two frames: nothing tells
    assert n - 3 * 1152 < len(load(path)[0]) < n
