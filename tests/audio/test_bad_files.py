"""A folder of everything that goes wrong with recordings: each is a row with its reason, the rest is extracted."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cumel.esc50.audio import load
from cumel.esc50.cli import main
from cumel.esc50.datasets import stored
from cumel.esc50.inputs.naming import escaped
from cumel.esc50.store import Store
from cumel.kernels import log_mel

from support.recordings import TINY, tone, write

Make = Callable[[Path], object]
OPTIONS = ["--sr=8000", "--n-fft=256", "--hop-length=128", "--n-mels=16", "--fmin=0", "--fmax=none", "--top-db=none"]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, shape)


def cut(path: Path) -> None:
    write(path, noise(20000))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def without_a_page(path: Path) -> None:
    write(path, noise(40000))
    pages = path.read_bytes().split(b"OggS")
    path.write_bytes(b"OggS".join(pages[:-2] + pages[-1:]))


def with_a_changed_byte(path: Path) -> None:
    write(path, noise(40000))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0x10
    path.write_bytes(raw)


def twice(path: Path) -> None:
    write(path, noise(4000))
    first = path.read_bytes()
    write(path, noise(5000))
    path.write_bytes(first + path.read_bytes())


def cut_rf64(path: Path) -> None:
    soundfile.write(path, noise(4000), 8000, format="RF64", subtype="PCM_16")
    path.write_bytes(path.read_bytes()[:-500])


EMPTY, NO_FORMAT = r"the file is empty \(0 bytes\)", r"not readable as audio \(no known format\)"
BAD: dict[str, tuple[Make, str]] = {
    "cut.wav": (cut, r"truncated: the header promises 40000 bytes of audio, \d+ are there"),
    "cut.aiff": (cut, r"truncated: the header promises \d+ bytes of audio, \d+ are there"),
    "cut.flac": (cut, r"truncated: its last frame is cut, after \d+ of 20000 samples"),
    "cut.ogg": (cut, "truncated: its last page is cut"),
    "cut.mp3": (cut, r"truncated: \d+ of 20000 samples decode"),
    "cut-long.wav": (cut_rf64, "truncated: the header promises 8000 bytes of audio, 7500 are there"),
    "hole.ogg": (without_a_page, r"damaged at byte \d+: page \d+ lies where page \d+ belongs"),
    "changed.ogg": (with_a_changed_byte, r"damaged at byte \d+: the page there has changed"),
    "changed.flac": (with_a_changed_byte, r"damaged or unsupported \(.*flac.*\)"),
    "twice.ogg": (twice, r"holds recordings one after another, the second from byte \d+; split them"),
    "zero.wav": (lambda path: path.write_bytes(b""), EMPTY),
    "zero.mp3": (lambda path: path.write_bytes(b""), EMPTY),
    "text.wav": (lambda path: path.write_text("no sound at all\n" * 50), NO_FORMAT),
    "text.mp3": (lambda path: path.write_text("no sound at all\n" * 50), NO_FORMAT),
    "none.wav": (lambda path: write(path, np.zeros(0)), "holds no samples"),
    "nan.wav": (lambda path: write(path, np.array([0.0, np.nan]), subtype="FLOAT"), "sample 1 is NaN or infinite"),
    "infinite.wav": (
        lambda path: write(path, np.array([[np.inf, -np.inf], [1, 3e38], [1, 3e38]]), subtype="FLOAT"),
        "sample 0 is NaN or infinite",
    ),
    "folder.wav": (lambda path: path.mkdir(), "a folder, not a recording"),
    "loop.wav": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    "broken.wav": (lambda path: path.symlink_to(path.parent / "nowhere"), "No such file or directory"),
    "pipe.wav": (os.mkfifo, "not a regular file"),
    "unreadable.wav": (lambda path: write(path, tone()).chmod(0), "Permission denied"),
    "vanishes.wav": (lambda path: write(path, tone()), "No such file or directory"),
    os.fsdecode(b"caf\xe9.flac"): (lambda path: path.write_bytes(b""), EMPTY),
}
GOOD: dict[str, Make] = {
    "good.wav": lambda path: write(path, tone()),
    "one-sample.wav": lambda path: write(path, tone()[1:2]),
    "8-channels.wav": lambda path: write(path, noise(3000, 8)),
    "192-khz.flac": lambda path: write(path, noise(48000), 192000),
    os.fsdecode(b"na\xefve.ogg"): lambda path: write(path.with_name("naive.ogg"), noise(3000)).rename(path),
    "link.wav": lambda path: path.symlink_to(write(path.parent.parent / "elsewhere" / "1.wav", noise(2000))),
    "deep/of-mp3-name.mp3": lambda path: write(path, noise(2000), format="WAV"),
    "deep/silent.aiff": lambda path: write(path, np.zeros(500)),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "in"
    for name, make in {**{name: make for name, (make, _) in BAD.items()}, **GOOD}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        make(root / name)
    (root / "deep" / "up").symlink_to(root)  # a loop of folders
    resolve = stored.resolve

    def then_one_vanishes(given: list[str]) -> list[Path]:
        found = resolve(given)
        (root / "vanishes.wav").unlink()
        return found

    monkeypatch.setattr(stored, "resolve", then_one_vanishes)
    if os.geteuid() == 0:  # who may read everything
        opened = Path.open

        def refused(self: Path, *arguments: str, **more: str) -> object:
            if self.name == "unreadable.wav":
                raise PermissionError(13, "Permission denied")
            return opened(self, *arguments, **more)

        monkeypatch.setattr(Path, "open", refused)
    return root


def test_each_is_a_row_with_its_reason_and_the_rest_is_extracted(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["extract", str(folder), "--out", str(tmp_path / "out"), "--json", "--device=cpu", *OPTIONS]) == 1
    report = json.loads(capfd.readouterr().out)
    assert (report["files"], report["failed"], report["extracted"]) == (len(BAD) + len(GOOD), len(BAD), len(GOOD))

    store = Store(tmp_path / "out")
    rows = {row["path"]: row for row in store.rows}
    assert len(rows) == len(store) == len(BAD) + len(GOOD)
    assert {name for name in BAD if rows[escaped(str(folder / name))]["status"] != "error"} == set()
    for name, (_, reason) in BAD.items():
        shown = os.fsencode(folder / name).decode("utf-8", "backslashreplace")
        assert re.fullmatch(f"{re.escape(shown)}: {reason}.*", rows[escaped(str(folder / name))]["error"])
    assert [failure["error"] for failure in report["failures"]] == [row["error"] for row in store.rows if row["error"]]
    for name in GOOD:
        y, _ = load(folder / name, TINY.sr)
        np.testing.assert_array_equal(store[folder / name], log_mel(y, store.config.features), err_msg=name)
    assert rows[str(folder / "deep/silent.aiff")]["status"] == "silent"


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["empty"], 2, "empty: no recordings in this folder"),
        (["good", "--features=wavelet"], 2, "--features wavelet: must be one of"),
        (["good", "--device=cuda:99"], 3, "--device cuda:99: torch sees"),
        (["good", "--nonsense"], 2, "No such option"),
        (["good", ""], 2, "an argument is empty"),
    ],
)
def test_json_says_why_a_call_ended(
    arguments: list[str],
    code: int,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "good" / "1.wav", tone())
    (tmp_path / "empty").mkdir()
    call = ["extract", *arguments, "--out", "out"]
    assert main(call) == code
    assert capsys.readouterr().out == ""
    assert main([*call, "--json"]) == code
    out, err = capsys.readouterr()
    assert json.loads(out)["exit_code"] == code
    assert reason in json.loads(out)["error"]
    assert err == f"cumel: {json.loads(out)['error']}\n"


def test_an_empty_folder_beside_others_is_said_each_time_and_is_no_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, empty = write(tmp_path / "good" / "1.wav", tone()).parent, tmp_path / "empty"
    empty.mkdir()
    for n_extracted in (1, 0):
        assert main(["extract", str(good), str(empty), "--out", str(tmp_path / "out"), "--json", "--device=cpu"]) == 1
        report = json.loads(capsys.readouterr().out)
        assert (report["extracted"], report["failures"][0]["path"]) == (n_extracted, str(empty))
        assert "a folder, not a recording; put recordings in it" in report["failures"][0]["error"]
        assert len(Store(tmp_path / "out")) == 1


def test_the_summary_lists_them(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in [name for name in BAD if name.startswith(("cut", "changed", "text", "none", "nan"))]:
        (folder / name).unlink()
    assert main(["extract", str(folder), "--out", str(tmp_path / "out"), "--quiet", "--device=cpu", *OPTIONS]) == 1
    lines = capfd.readouterr().err.splitlines()
    for row in Store(tmp_path / "out").rows:
        assert (row["error"] in lines) == (row["status"] == "error")
