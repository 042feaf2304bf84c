"""What libsndfile does not read comes by way of ffmpeg, whole or with the reason; here by a program in its place."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from cumel.esc50.audio import load
from cumel.esc50.audio.formats import ffmpeg
from cumel.kernels import InputError

from support.recordings import tone

M4A = b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(64)
PROGRAM = """#!{python}
import json, pathlib, sys
import numpy, soundfile
pathlib.Path({log!r}).write_text(json.dumps(sys.argv[1:]))
answer = json.loads(pathlib.Path({answer!r}).read_text())
sys.stderr.write(answer["stderr"])
if answer["seconds"]:
    y = numpy.sin(2 * numpy.pi * 440 * numpy.arange(int(answer["seconds"] * 22050)) / 22050)
    soundfile.write(sys.argv[-1], y[:, None] * [1.0, 0.5], 22050, format="W64", subtype="FLOAT")
sys.exit(answer["code"])
"""


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program into ffmpeg's place that does what this file says."""
    program, answer = tmp_path / "bin" / "ffmpeg", tmp_path / "answer.json"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(python=sys.executable, log=str(tmp_path / "log.json"), answer=str(answer)))
    program.chmod(0o755)
    monkeypatch.setattr(ffmpeg, "installed", lambda: str(program))
    monkeypatch.setattr(ffmpeg, "_said", set())
    answer.write_text(json.dumps({"seconds": 0.5, "stderr": "", "code": 0}))
    return answer


@pytest.mark.usefixtures("answer")
def test_a_track_is_decoded_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "-voice.m4a"
    path.write_bytes(M4A)
    y, sr = load(path)
    assert sr == 22050
    np.testing.assert_allclose(y, 0.75 * tone(0.5, 22050, 440, 1.0), atol=1e-4)  # the mean of both channels
    assert f"file:{path}" in json.loads((tmp_path / "log.json").read_text())
    load(path)
    assert capsys.readouterr().err.count("M4A (AAC or ALAC) is decoded by") == 1


@pytest.mark.parametrize(
    ("seconds", "stderr", "code", "message"),
    [
        (
            0.5,
            "[aac @ 0x5] channel element is not allocated\nmore",
            0,
            r"as a whole \(channel element is not allocated\)",
        ),
        (0, "", 1, r"as a whole \(exit code 1\)"),
        (0, "Stream map '0:a:0' matches no streams.", 1, "M4A .* without a sound track; leave it out"),
    ],
)
def test_what_ffmpeg_reports_is_an_error(
    tmp_path: Path, answer: Path, seconds: float, stderr: str, code: int, message: str
) -> None:
    answer.write_text(json.dumps({"seconds": seconds, "stderr": stderr, "code": code}))
    (tmp_path / "a.m4a").write_bytes(M4A)
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path / "a.m4a")
    assert str(caught.value).startswith(f"{tmp_path / 'a.m4a'}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("answer")
def test_what_is_no_recording_stays_so(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"PK\x03\x04" + bytes(64))
    with pytest.raises(InputError, match="an archive; unpack it"):
        load(tmp_path / "a.wav")
    assert not (tmp_path / "log.json").exists()


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_the_real_program(tmp_path: Path) -> None:
    import subprocess

    import soundfile

    soundfile.write(tmp_path / "a.wav", tone(1.0, 16000), 16000)
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", "-c:a", "flac", tmp_path / "a.mka"], check=True)
    y, sr = load(tmp_path / "a.mka")
    assert (len(y), sr) == (16000, 16000)
    (tmp_path / "cut.mka").write_bytes((tmp_path / "a.mka").read_bytes()[:900])
    with pytest.raises(InputError, match="does not decode as a whole"):
        load(tmp_path / "cut.mka")
