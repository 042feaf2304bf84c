"""A recording is read with librosa's samples, or refused with one line that says why."""

import os
import struct
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from cumel.esc50.audio import Header, Recording, fit_length, load, load_all, resample
from cumel.kernels import InputError

from support.recordings import tone, write


@pytest.mark.pairwise
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".aiff"])
@pytest.mark.parametrize("channels", [1, 2, 8])
@pytest.mark.parametrize("sr", [None, 16000])
def test_load_is_librosa_bit_for_bit(tmp_path: Path, suffix: str, channels: int, sr: int | None) -> None:
    if suffix == ".mp3" and channels == 8:
        pytest.skip("MP3 has two channels at most")
    y = np.random.default_rng(0).normal(0, 0.1, (30011, channels))
    path = write(tmp_path / f"clip{suffix}", y, 44100)
    ours, rate = load(path, sr)
    theirs, their_rate = librosa.load(path, sr=sr)
    assert rate == their_rate
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("sr", "target"), [(16000, 44100), (44100, 16000), (192000, 44100), (22050, 44100), (11, 7)])
def test_resample_is_librosa_bit_for_bit(sr: int, target: int) -> None:
    y = np.random.default_rng(1).normal(0, 0.1, 7919).astype(np.float32)
    np.testing.assert_array_equal(resample(y, sr, target), librosa.resample(y, orig_sr=sr, target_sr=target))


@pytest.mark.parametrize("n", [1, 2, 7, 99, 100, 101, 250])
def test_fit_length(n: int) -> None:
    y = np.arange(n, dtype=np.float32)
    fitted = fit_length(y, 100)
    assert fitted.shape == (100,)
    half = -(-max(0, 100 - n) // 2)
    np.testing.assert_array_equal(fitted, np.pad(y, half, mode="reflect")[:100] if half else y[:100])


def _header_lie(path: Path) -> None:
    write(path, tone())
    path.write_bytes(path.read_bytes()[:-1000])


def _unknown_size(path: Path) -> None:
    """What a recorder that writes to a pipe leaves: a size of all ones. Valid."""
    write(path, tone())
    raw = bytearray(path.read_bytes())
    at = raw.index(b"data") + 4
    raw[at : at + 4] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(raw)


def _cut_flac(path: Path) -> None:
    write(path, np.random.default_rng(0).normal(0, 0.1, 80000))
    path.write_bytes(path.read_bytes()[:60000])


BAD = {
    "missing.wav": (lambda _: None, "No such file"),
    "empty.wav": (lambda path: path.write_bytes(b""), "the file is empty"),
    "text.wav": (lambda path: path.write_text("hello, I am no sound at all\n"), "not readable as audio"),
    "cut.wav": (_header_lie, "truncated: the header promises 16000 bytes of audio, 15000 are there"),
    "cut.flac": (_cut_flac, r"truncated: its last frame is cut, after \d+ of 80000 samples"),
    "none.wav": (lambda path: write(path, np.zeros((0,))), "holds no samples"),
    "nan.wav": (
        lambda path: write(path, np.array([0, 0.5, np.nan, 0, np.inf]), subtype="FLOAT"),
        "sample 2 is NaN or inf",
    ),
    "folder.wav": (lambda path: path.mkdir(), "a folder, not a recording"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_one_line(tmp_path: Path, name: str) -> None:
    make, message = BAD[name]
    make(tmp_path / name)
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_a_streamed_wav_of_unknown_size_is_read(tmp_path: Path) -> None:
    _unknown_size(tmp_path / "pipe.wav")
    assert len(load(tmp_path / "pipe.wav")[0]) == len(tone())


def test_load_all_keeps_order_and_goes_on_after_errors(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{i}.wav", np.full(100 + i, 0.25)) for i in range(40)]
    paths[7].write_bytes(b"")
    results = list(load_all(paths, 8000, workers=3))
    assert [i for i, loaded in enumerate(results) if isinstance(loaded, InputError)] == [7]
    loaded = [result for result in results if not isinstance(result, InputError)]
    assert [(len(y), sr) for y, sr in loaded] == [(100 + i, 8000) for i in range(40) if i != 7]


def test_real_recordings_are_librosas(real_data: Path) -> None:
    for path in sorted((real_data / "esc50-44k" / "audio").iterdir())[::20]:
        np.testing.assert_array_equal(load(path, 16000)[0], librosa.load(path, sr=16000)[0])
        assert soundfile.info(path).samplerate == 44100


def _long_header(path: Path) -> None:
    """A WAV whose samples lie behind 6 KB of other chunks, as recorders write them, cut."""
    write(path, tone())
    raw = path.read_bytes()
    path.write_bytes(raw[:12] + b"JUNK" + struct.pack("<I", 6000) + bytes(6000) + raw[12:-1000])


def _cut_to_half(path: Path) -> None:
    write(path, np.random.default_rng(0).normal(0, 0.1, 80000))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(("name", "make"), [("a.wav", _long_header), ("a.ogg", _cut_to_half), ("a.aiff", _cut_to_half)])
def test_a_truncated_file_is_never_a_shorter_one(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    make(tmp_path / name)
    with pytest.raises(InputError, match="truncated"):
        load(tmp_path / name)


@pytest.mark.parametrize("head", [b"RIFF\0\0\0\1WAVE", b"FORM\0\0\0\1AIFF", b"ID3\4\0\0\0\0\0\0" * 3])
def test_gigabytes_of_zeros_are_refused_at_once(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "zeros.wav"
    path.write_bytes(head)
    os.truncate(path, 4 << 30)  # a hole: what a crash leaves of a recording whose room was taken beforehand
    with pytest.raises(InputError, match=r"damaged or unsupported|no known format"):
        load(path)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(InputError, match="not a regular file"):
        load(tmp_path / "pipe.wav")


def test_int16_is_read_only_where_no_sample_changes(tmp_path: Path) -> None:
    y = np.array([0, 1, -32768, 32767], np.int16)
    with Recording(write(tmp_path / "a.wav", y)) as recording:
        assert recording.header == Header(sr=8000, n_samples=4, n_channels=1, is_int16=True)
        np.testing.assert_array_equal(recording.read(dtype="int16").y, y)
    for name, sr, options in (("b.wav", 16000, {}), ("c.wav", None, {"subtype": "FLOAT"})):
        with Recording(write(tmp_path / name, y, **options)) as recording:
            with pytest.raises(ValueError, match="int16 is for 16-bit PCM"):
                recording.read(sr, dtype="int16")
            with pytest.raises(ValueError, match="int16 is for 16-bit PCM"):
                recording.blocks(sr, dtype="int16")


def test_a_recording_closes_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone())

    def n_open() -> int:
        return sum(handle.resolve() == path for handle in Path("/proc/self/fd").iterdir())

    with Recording(path) as recording:
        assert next(recording.blocks(most_seconds=0.1)).shape == (800,)
        assert n_open() == 1
    assert n_open() == 0
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match="truncated"):
        Recording(path)
    assert n_open() == 0
