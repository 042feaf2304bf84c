"""What the user points at: files, folders, patterns, manifests and lists, each recording once."""

import csv
import io
import json
import os
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cumel.esc50.audio import load
from cumel.esc50.inputs import find as module
from cumel.esc50.inputs.find import resolve
from cumel.esc50.inputs.manifests import named
from cumel.kernels import CumelError, InputError

from support.recordings import touch

BYTES_NAME = os.fsdecode(b"caf\xe9.wav")  # Latin-1, not UTF-8


def names(found: list[Path], root: Path) -> list[str]:
    return [os.path.relpath(path, root) for path in found]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return touch(tmp_path / "tree", "b/2.WAV", "b/1.flac", "a.ogg", "c/d/x.mp3", "c/notes.txt", "z.aiff", "c/.wav.part")


TREE = ["a.ogg", "b/1.flac", "b/2.WAV", "c/d/x.mp3", "z.aiff"]


def test_a_folder_is_searched_by_name(tree: Path) -> None:
    assert names(resolve([tree]), tree) == TREE
    assert names(resolve([tree / "c", str(tree)]), tree) == ["c/d/x.mp3", "a.ogg", "b/1.flac", "b/2.WAV", "z.aiff"]


def test_a_file_is_taken_as_it_is(tree: Path) -> None:
    (tree / "take.raw").touch()
    assert resolve([tree / "take.raw", tree / "gone.wav"]) == [tree / "take.raw", tree / "gone.wav"]


def test_a_recording_is_named_once(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "b" / "link.wav").symlink_to(tree / "z.aiff")
    (tree / "other").symlink_to(tree / "b")
    monkeypatch.chdir(tree)
    found = resolve(["z.aiff", "./b/../z.aiff", "other/1.flac", tree / "b", tree, "other", "b/*.flac", "a.ogg"])
    assert [str(path) for path in found] == [
        "z.aiff",
        "other/1.flac",
        str(tree / "b" / "2.WAV"),
        str(tree / "a.ogg"),
        str(tree / "c" / "d" / "x.mp3"),
    ]


def test_loops_of_links_end(tree: Path) -> None:
    for name in ("b/up", "b/up2", "c/up", "c/d/up"):
        (tree / name).symlink_to(tree)
    (tree / "self.wav").symlink_to(tree / "self.wav")
    (tree / "broken.wav").symlink_to(tree / "nowhere.wav")
    (tree / "self").symlink_to(tree / "self")
    found = resolve([tree, f"{tree}/**/*.wav", f"{tree}/**"])
    assert sorted(names(found, tree)) == sorted([*TREE, "self.wav", "broken.wav"])
    with pytest.raises(InputError, match=r"self\.wav: Too many levels of symbolic links"):
        load(tree / "self.wav")


def test_links_to_folders_elsewhere_are_followed(tree: Path, tmp_path: Path) -> None:
    touch(tmp_path / "disk", "deep/1.wav", "2.wav")
    (tree / "b" / "disk").symlink_to(tmp_path / "disk")
    found = names(resolve([tree]), tree)
    assert found == ["a.ogg", "b/1.flac", "b/2.WAV", "b/disk/2.wav", "b/disk/deep/1.wav", *TREE[3:]]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.ogg", ["a.ogg"]),
        ("b/*", ["b/1.flac", "b/2.WAV"]),
        ("?/[12].*", ["b/1.flac", "b/2.WAV"]),
        ("**/*.mp3", ["c/d/x.mp3"]),
        ("c/**/x.*", ["c/d/x.mp3"]),
        ("**", TREE),
        ("c/**", ["c/d/x.mp3"]),
        ("[bc]", ["b/1.flac", "b/2.WAV", "c/d/x.mp3"]),
    ],
)
def test_patterns(tree: Path, pattern: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(resolve([f"{tree}/{pattern}"]), tree) == expected
    monkeypatch.chdir(tree)
    assert [str(path) for path in resolve([pattern])] == expected


def test_a_name_with_brackets_is_a_name_first(tree: Path) -> None:
    touch(tree, "take[1].wav", "take1.wav")
    assert names(resolve([tree / "take[1].wav"]), tree) == ["take[1].wav"]
    (tree / "take[1].wav").unlink()
    assert names(resolve([tree / "take[1].wav"]), tree) == ["take1.wav"]


def write_manifest(path: Path, column: str, rows: list[str]) -> Path:
    if path.suffix == ".parquet":
        kept = [os.fsencode(row) for row in rows]
        pq.write_table(pa.table({"label": ["x"] * len(rows), column: pa.array(kept, pa.binary())}), path)
        return path
    with path.open("w", newline="", errors="surrogateescape") as file:
        if path.suffix == ".csv":
            csv.writer(file).writerows([["label", column], *(["x", row] for row in rows)])
        elif path.suffix == ".tsv":
            file.writelines(f"{label}\t{row}\n" for label, row in [("label", column), *(('"', row) for row in rows)])
        elif path.suffix == ".jsonl":
            file.writelines(json.dumps({"label": 1, column: row}, ensure_ascii=False) + "\n\n" for row in rows)
        else:
            file.writelines(f"{row}\r\n\r\n" for row in rows)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".tsv", ".jsonl", ".txt"])
@pytest.mark.parametrize("column", ["path", "file", "filename"])
def test_a_manifest_names_files_beside_it(tree: Path, suffix: str, column: str) -> None:
    rows = ["c/d/x.mp3", str(tree / "a.ogg"), 'od,d "name".wav', BYTES_NAME, "a.ogg"]
    manifest = write_manifest(tree / f"list{suffix}", column, rows)
    assert resolve([manifest]) == [tree / "c/d/x.mp3", tree / "a.ogg", tree / 'od,d "name".wav', tree / BYTES_NAME]


def test_a_text_column_of_a_parquet_manifest(tree: Path) -> None:
    pq.write_table(pa.table({"file": ["z.aiff"], "path": ["a.ogg"]}), tree / "list.parquet")
    assert resolve([tree / "list.parquet"]) == [tree / "a.ogg"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.csv", None, "No such file"),
        ("other.csv", b"name,label\nx,y\n", "has no column path, file, .* or fname; its columns: name, label"),
        ("hole.csv", b"label,path\nx,a.wav\ny\n", "row 2 names no file"),
        ("nul.csv", b"path\na\0.wav\n", "row 1 names no file|not a usable manifest"),
        ("empty.csv", b"path\n", "lists no recordings"),
        ("nothing.csv", b"", "has no column"),
        ("text.parquet", b"path\na.wav\n", "not a usable manifest"),
        ("other.tsv", b"name\tlabel\nx\ty\n", "has no column path, file, .* or fname; its columns: name, label"),
        ("other.jsonl", b'{"name": "a.wav"}\n', "has no column path, file, .* or fname; its columns: name"),
        ("hole.jsonl", b'{"path": "a.wav"}\n{"path": null}\n', "row 2 names no file"),
        ("text.jsonl", b"a.wav\n", "not a usable manifest"),
        ("words.jsonl", b'"a.wav"\n', "each line must be an object"),
        ("empty.txt", b"\n\n", "lists no recordings"),
    ],
)
def test_an_unusable_manifest_is_one_line(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CumelError, match=message) as caught:
        resolve([tmp_path / name])
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        b"a.ogg\nb/1.flac\ncaf\xe9.wav\n",
        b"a.ogg\r\nb/1.flac\r\n\r\ncaf\xe9.wav",
        b"a.ogg\0b/1.flac\0caf\xe9.wav\0",
        b"a.ogg\0b/1.flac\0caf\xe9.wav",
    ],
)
@pytest.mark.parametrize("block", [1 << 20, 12])
def test_a_list_on_stdin(text: bytes, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STDIN_BYTES", block)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert [str(path) for path in resolve(["-"])] == ["a.ogg", "b/1.flac", BYTES_NAME]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    touch(tmp_path, BYTES_NAME, os.fsdecode(b"\xff\xfe/1.wav"))
    assert sorted(map(os.fsencode, names(resolve([tmp_path]), tmp_path))) == [b"caf\xe9.wav", b"\xff\xfe/1.wav"]
    assert len(resolve([f"{tmp_path}/**/*.wav"])) == 2


def test_folders_in_a_recordings_place_are_left_for_load(tree: Path) -> None:
    (tree / "folder.wav").mkdir()
    touch(tree, "session.wav/1.wav")
    (tree / "empty").mkdir()
    found = names(resolve([tree / "empty", tree, tree / "nothing*.wav"]), tree)
    assert found == [
        "empty",
        "a.ogg",
        "b/1.flac",
        "b/2.WAV",
        "c/d/x.mp3",
        "folder.wav",
        "session.wav/1.wav",
        "z.aiff",
        "nothing*.wav",
    ]
    for name in ("empty", "folder.wav"):
        with pytest.raises(InputError, match=f"{name}: a folder, not a recording"):
            load(tree / name)


def test_a_folder_that_cannot_be_searched(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refused(path: str) -> object:
        if os.fspath(path) == str(tree / "b"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert names(resolve([tree]), tree) == ["a.ogg", "b", *TREE[3:]]
    with pytest.raises(InputError, match=r"b: Permission denied"):
        load(tree / "b")
    with pytest.raises(CumelError, match="b: cannot be searched"):
        resolve([tree / "b"])


def test_nothing_at_all_is_a_wrong_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    for given, message in [
        ([], "no recordings given"),
        ([tmp_path], "no recordings in this folder; looked for .wav"),
        ([tmp_path / "*.wav", tmp_path], "no recordings match this pattern"),
        (["-"], "stdin: lists no recordings"),
        ([tmp_path / "**x"], "can only be an entire path component|no recordings match"),
    ]:
        with pytest.raises(CumelError, match=message) as caught:
            resolve(given)
        assert caught.value.exit_code == 2


def test_files_are_not_looked_at(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million recordings cost a look at each folder, not one at each recording."""
    looked: list[str] = []
    stat, lstat = os.stat, os.lstat
    monkeypatch.setattr(os, "stat", lambda path, **more: (looked.append(os.fspath(path)), stat(path, **more))[1])
    monkeypatch.setattr(os, "lstat", lambda path, **more: (looked.append(os.fspath(path)), lstat(path, **more))[1])
    assert len(resolve([tree])) == len(TREE)
    assert not [path for path in looked if Path(path).suffix]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_a_csv_may_have_what_a_spreadsheet_separates_by(tmp_path: Path, mark: str, bom: str) -> None:
    rows = [("path", "note"), ("a b.wav", f'"1{mark} 2"'), ("ü;.wav" if mark == "," else "ü,.wav", "")]
    table = tmp_path / "table.csv"
    table.write_text(bom + "".join(f"{mark.join(row)}\n" for row in rows), encoding="utf-8")
    assert list(named(table)) == [("a b.wav", {"note": f"1{mark} 2"}), (rows[2][0], {"note": ""})]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "path,label\n".encode("utf-16"), "is in UTF-16; save it as UTF-8"),
        ("a.txt", "a.wav\n".encode("utf-16"), "is in UTF-16; save it as UTF-8"),
        ("a.csv", b"path,label,label\na.wav,x,y\n", "has several columns label; rename or drop all but one"),
        ("a.csv", b"path;label\na.wav;x;y\n", "line 2: has more values than there are columns; quote what has a ';'"),
        ("a.csv", b"", "has no column path, .*; it is empty"),
    ],
)
def test_a_table_that_would_lose_something_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CumelError, match=message):
        list(named(tmp_path / name))
