"""Raw samples from a pipe. The pipes are real; what is written fits into them, so nobody waits."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from cumel.esc50.audio import load
from cumel.export.prediction.raw_stream import RawFormat, segments_of_raw
from cumel.export.prediction.segments import Segment
from cumel.kernels import CumelError

from support.onnx_models import HZ, save
from support.recordings import tiny_recipe, tone, write

RECIPE = tiny_recipe()  # windows of 8000 samples at 8 kHz
COMMAND = "import sys; from cumel.esc50.cli import main; sys.exit(main())"


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        os.close(reading)


def pcm(y: np.ndarray) -> bytes:
    return np.round(32768 * y).astype("<i2").tobytes()


def segments(data: bytes, layout: RawFormat, hop_seconds: float | None = None) -> list[Segment]:
    with pipe() as (reading, writing):
        assert os.write(writing, data) == len(data)
        os.close(writing)
        return list(segments_of_raw(reading, layout, RECIPE, hop_seconds))


@pytest.mark.parametrize(("dtype", "channels"), [("int16", 1), ("int16", 2), ("float32", 1), ("float32", 3)])
def test_samples_come_out_as_they_went_in(dtype: str, channels: int) -> None:
    y = np.random.default_rng(0).uniform(-0.9, 0.9, (5000, channels)).astype(np.float32)
    data = y.astype("<f4").tobytes() if dtype == "float32" else pcm(y)
    (one,) = segments(data, RawFormat(sr=8000, channels=channels, dtype=dtype))
    assert one.error is None
    np.testing.assert_allclose(one.y, y.mean(axis=1), atol=1e-6 if dtype == "float32" else 2e-5)
    assert (one.file, one.sr, one.start, one.end, one.first) == ("stdin", 8000, 0.0, 5000 / 8000, True)


def test_the_stream_is_resampled_in_one_piece(tmp_path: Path) -> None:
    """Windows of a pipe are those of a file with the same samples: nothing starts anew at a window's edge."""
    y = np.random.default_rng(0).uniform(-0.5, 0.5, 30000).astype(np.float32)
    whole = load(write(tmp_path / "a.wav", y, 11025, subtype="PCM_16"), 8000)[0]
    written = np.round(32768 * y).clip(-32768, 32767).astype("<i2")
    found = segments(written.tobytes(), RawFormat(sr=11025), 0.5)
    assert [round(one.start * 8000) for one in found] == [0, 4000, 8000, 12000, len(whole) - 8000]
    for one in found:
        start = round(one.start * 8000)
        np.testing.assert_allclose(one.y, whole[start : start + 8000], atol=1e-4)  # 3e-5: how each rounds to 16 bits


def test_a_window_is_there_as_soon_as_its_samples() -> None:
    with pipe() as (reading, writing):
        stream = segments_of_raw(reading, RawFormat(sr=8000), RECIPE, 0.5)
        for start, n in ((0, 8000), (4000, 4000), (8000, 4000)):
            os.write(writing, pcm(tone(n / 8000)))  # the pipe stays open: whoever waited for more would hang
            assert round(next(stream).start * 8000) == start
        os.close(writing)
        assert list(stream) == []


def test_the_rest_is_classified_at_the_end() -> None:
    starts = [one.start for one in segments(pcm(tone(2.25)), RawFormat(sr=8000))]
    np.testing.assert_allclose(starts, [0, 1, 1.25])


def test_samples_may_come_in_any_pieces() -> None:
    with pipe() as (reading, writing):
        stream = segments_of_raw(reading, RawFormat(sr=8000, channels=2), RECIPE)
        data = pcm(np.repeat(tone()[:, None], 2, axis=1))
        for piece in (data[:1], data[1:6], data[6:9], data[9:]):  # a sample of both channels has four bytes
            os.write(writing, piece)
        os.close(writing)
        (one,) = stream
        np.testing.assert_allclose(one.y, tone(), atol=1 / 32768)


@pytest.mark.parametrize(
    ("data", "layout", "complaint"),
    [
        (b"", {}, "stdin: holds no samples"),
        (pcm(tone())[:-1], {}, "ends within a sample: 1 of its 2 bytes are there; check --dtype and --channels"),
        (pcm(tone())[:-2], {"channels": 2}, "ends within a sample: 2 of its 4 bytes"),
        (pcm(tone(0.01)), {}, "80 samples (10.0 ms) at 8000 Hz is less than one window of 256 samples"),
        (np.full(500, np.nan, "<f4").tobytes(), {"dtype": "float32"}, "sample 0 is NaN or infinite (500 such)"),
        (np.full(500, 1e30, "<f4").tobytes(), {"dtype": "float32"}, "so loud that its spectrum overflows"),
    ],
)
def test_a_bad_stream_says_why(data: bytes, layout: dict, complaint: str) -> None:
    last = segments(data, RawFormat(**({"sr": 8000} | layout)))[-1]
    assert last.error is not None
    assert last.error.startswith("stdin: ")
    assert complaint in last.error


def test_what_comes_before_a_failure_is_classified() -> None:
    first, rest, failure = segments(pcm(tone(1.25))[:-1], RawFormat(sr=8000))
    assert (first.start, first.end, first.error) == (0.0, 1.0, None)
    assert (rest.end, rest.error) == (9999 / 8000, None)
    assert (failure.first, failure.y) == (False, None)


@pytest.mark.parametrize(
    ("head", "complaint"),
    [
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "begins as a recording in a file does"),
        (b"fLaC\x00\x00\x00\x22", "begins as a recording in a file does"),
        (b"OggS", "begins as a recording in a file does"),
        (b"ID3\x04", "begins as a recording in a file does"),
        (b"/data/dog.wav\n/data/cat.wav\n", "holds text, not raw samples"),
    ],
)
def test_what_is_not_raw_is_refused(head: bytes, complaint: str) -> None:
    with pytest.raises(CumelError, match=f"stdin: {complaint}") as caught:
        segments(head, RawFormat(sr=8000))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"sr": 0}, "--sr 0: must be between 500 and 2000000 Hz"),
        ({"sr": -44100}, "--sr -44100"),
        ({"sr": 10**9}, "--sr 1000000000"),
        ({"sr": 8000, "channels": 0}, "--channels 0: must be between 1 and 1024"),
        ({"sr": 8000, "channels": 10**6}, "--channels 1000000"),
        ({"sr": 8000, "dtype": "int24"}, "--dtype int24: must be one of int16, float32"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(fields: dict, complaint: str) -> None:
    with pytest.raises(CumelError, match=complaint):
        RawFormat(**fields)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen]:
    """`cumel predict --raw` as a process, with pipes on both sides."""
    model = save(tmp_path / "model.onnx", RECIPE)
    arguments = ["predict", str(model), "--raw", "--sr", "8000", "-", "--format", "jsonl", "--provider", "cpu"]
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        yield process
        process.kill()


def test_a_live_stream_until_ctrl_c(running: subprocess.Popen) -> None:
    """Rows come while the pipe is open; Ctrl-C ends it with what came since, and a summary."""
    assert running.stdin is not None
    assert running.stdout is not None
    for label, hz in HZ.items():
        running.stdin.write(pcm(tone(hz=hz)))
        running.stdin.flush()
        row = json.loads(running.stdout.readline())
        assert row["top"][0]["label"] == label
    running.stdin.write(pcm(tone(0.5)))
    running.stdin.flush()
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    assert b"Traceback" not in err
    rows = [json.loads(line) for line in out.splitlines()]
    assert all(row["error"] is None for row in rows)  # the last half second, unless Ctrl-C was faster
    assert f"1 file; {4 + len(rows)} windows".encode() in err


def test_a_reader_that_has_seen_enough_is_no_error(running: subprocess.Popen) -> None:
    assert running.stdin is not None
    assert running.stdout is not None
    running.stdin.write(pcm(tone()))
    running.stdin.flush()
    assert running.stdout.readline()
    running.stdout.close()
    running.stdin.write(pcm(tone(2.0)))
    running.stdin.close()
    running.stdin = None
    assert running.stderr is not None
    err = running.stderr.read()
    assert running.wait(timeout=60) == 0, err
    assert b"Traceback" not in err
