"""What is no recording is left out and counted, or ends the call; which names are taken, and what they take."""

import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cumel.esc50.audio import load
from cumel.esc50.audio.formats.extensions import OF_FORMATS, SOUND_FILES
from cumel.esc50.cli import main
from cumel.esc50.inputs import folders
from cumel.esc50.inputs.find import check, resolve
from cumel.kernels import CumelError

from support.recordings import touch

NAMES, NAME_BYTES = 5000, 120  # 92 measured, 44 of them the name
TREE = ["a.ogg", "b/1.flac", "z.aiff"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return touch(tmp_path / "tree", *TREE)


SYSTEM_FILES = ["._a.wav", ".a.wav", ".Trash-1000/b.wav", "__MACOSX/x.wav", "$RECYCLE.BIN/x.wav", "@eaDir/x.wav"]
SYSTEM_FILES += ["lost+found/x.wav", ".DS_Store", "Thumbs.db", "System Volume Information/x.wav", ".git/objects/x.wav"]
OTHER_FILES = ["a.txt", "c/b.TXT", "a.m4a", "README", "odd.2024-01-01 at noon", "take.wav.part", "x.wav."]
LEFT_OUT = {"hidden": 5, "a system's own": 6, ".txt": 2, ".m4a": 1, "without extension": 1, "other": 2, ".part": 1}


def test_what_a_folder_does_not_give_is_counted(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "EXTENSIONS", SOUND_FILES)  # also where ffmpeg is installed
    touch(tree, *SYSTEM_FILES, *OTHER_FILES)
    for given in (tree, f"{tree}/**", tree.parent / ".hidden"):
        if given == tree.parent / ".hidden":
            tree.rename(given)  # a folder that is named is searched, whatever its name
        found = resolve([given])
        assert [path.name for path in found] == [Path(name).name for name in TREE]
        assert dict(found.left_out) == LEFT_OUT
    monkeypatch.chdir(tree.parent / ".hidden")
    assert resolve(["*.part", "a.ogg"]) == [Path("take.wav.part"), Path("a.ogg")]  # named by its extension


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("gone.wav", "gone.wav: no such file or folder"),
        ("gone", "gone: no such file or folder"),
        ("*.w4v", "no recordings match this pattern"),
        ("elsewhere.csv", r"elsewhere\.csv: none of its paths is there, such as nowhere/2\.wav"),
        ("words.txt", r"words\.txt: none of its paths is there, such as no list at all"),
        ("empty.csv", "empty.csv: lists no recordings"),
    ],
)
def test_what_was_mistyped_ends_the_call_before_anything_is_made(
    tree: Path, given: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tree)
    Path("elsewhere.csv").write_text("path\nnowhere/1.wav\nnowhere/2.wav\n")
    Path("words.txt").write_text("no list at all\n")
    Path("empty.csv").write_text("path\n")
    for order in ([given, "b"], ["b", given]):
        assert main(["extract", *order, "--out", "made/out", "--device=cpu"]) == 2
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines())) == ("", 1)
        assert re.search(message, err)
    assert not Path("made").exists()
    with pytest.raises(CumelError, match=message):
        check(resolve(["b", given]))


@pytest.mark.parametrize("format", OF_FORMATS)
def test_every_format_of_libsndfile_is_taken_by_its_names(tmp_path: Path, format: str) -> None:  # noqa: A002
    y = 0.1 * np.sin(np.arange(16000) / 9)
    for extension in OF_FORMATS[format]:
        soundfile.write(tmp_path / f"x{extension.upper()}", y, 16000, format=format)
    found = resolve([tmp_path])
    assert len(found) == len(OF_FORMATS[format])
    for path in found:
        assert len(load(path)[0]) == len(y)


def test_a_name_takes_few_bytes(tmp_path: Path) -> None:
    for number in range(NAMES):
        touch(tmp_path, f"session-{number // 500:03}/recording-with-a-name-of-its-own-{number:06}.wav")
    resolve([tmp_path / "session-000"])  # the first call imports and caches
    tracemalloc.start()
    found = resolve([tmp_path])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == NAMES
    assert held / NAMES < NAME_BYTES
