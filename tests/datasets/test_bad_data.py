"""What is wrong with data to learn from is one line: what it is, where it is, and what to do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cumel.esc50.datasets import Dataset
from cumel.kernels import CumelError

from support.layouts import ROWS, any_table, class_folders, every, one_clip, table
from support.recordings import touch


def with_row(**changes: object) -> Callable[[Path], Path]:
    """Change the second row of a table."""

    def make(root: Path) -> Path:
        touch(root, *(row["path"] for row in ROWS))
        rows = [
            dict(row) | (changes if i == 1 else dict.fromkeys(changes.keys() - row.keys(), ""))
            for i, row in enumerate(ROWS)
        ]
        return table(root / "t.csv", rows, list(dict.fromkeys([*ROWS[0], *changes])))

    return make


def folds_of(column: str, value: Callable[[int], object]) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        touch(root, *(row["path"] for row in ROWS))
        return table(root / "t.csv", [row | {column: value(i)} for i, row in enumerate(ROWS)])

    return make


def empty_class(root: Path) -> Path:
    touch(root, *(f"{label}/{i}.wav" for label, i in every()))
    (root / "owl").mkdir()
    return root


def linked(root: Path) -> Path:
    class_folders(root)
    (root / "cat" / "same.wav").symlink_to(root / "dog" / "0.wav")
    return root


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "one clip": (one_clip, r"owl has one clip \(.*owl/1\.wav\), which cannot be both .*; add clips.*--fold none"),
    "only in test": (
        folds_of("split", lambda i: "test" if i >= 12 else "train"),
        r"only the test split has rain \(6 clips\), so nothing can teach it; add clips of it to learn from",
    ),
    "one class": (lambda r: folds_of("fold", lambda i: 1 if i < 6 else 2)(r), "every clip to train on is cat; a class"),
    "empty class folder": (empty_class, "owl: a class folder without recordings; put some into it, or remove it"),
    "file beside class folders": (lambda r: touch(class_folders(r), "x.wav"), r"x\.wav lies beside the class folders"),
    "two labels by a link": (linked, "is dog here and cat at folder cat; keep one, or write both into one row"),
    "two labels": (with_row(path="cat-0.wav", label="dog"), r"line 3: cat-0\.wav is dog here and cat at line 2"),
    "twice": (with_row(path="cat-0.wav"), r"line 3: cat-0\.wav is listed twice; leave one of them out"),
    "absent": (with_row(path="gone.wav"), r"1 of 18 recordings are not in .*: gone\.wav; put them there"),
    "another dataset": (lambda r: table(r / "t.csv", ROWS), r"none of its 18 recordings is there, such as cat-0\.wav"),
    "no path": (lambda r: table(r / "t.csv", [{"id": 1, "label": "a"}]), "has no column path, .*: id, label"),
    "no label": (lambda r: table(r / "t.csv", [{"path": "a", "kind": "a"}]), "has no column label, .*: path, kind"),
    "long label": (with_row(label="x" * 201), r"the label x{40}\.\.\. has 201 characters, 200 at most"),
    "empty label": (with_row(label=""), "line 3: has no label; fill in its label, or leave the row out"),
    "empty path": (with_row(path=""), "line 3: names no file; fill in its path"),
    "part": (with_row(start=3, end=2), "line 3: a part from 3 s to 2 s is none"),
    "start": (with_row(start="soon"), "line 3: start soon is no number; give seconds"),
    "split": (with_row(split="later"), "line 3: split later is unknown; it must be train, valid or test"),
    "fold": (with_row(fold="1.5"), "line 3: fold and target must be whole numbers, not 1.5"),
    "some folds": (with_row(fold=1), "line 2: has no fold, others have; fill it in, or drop the column"),
    "no rows": (lambda r: _text(touch(r, "t.csv") / "t.csv", "path,label\n"), "lists no clips; a row each is needed"),
    "more values": (lambda r: _text(touch(r, "t.csv") / "t.csv", "path,label\na,dog,big\n"), "line 2: has more values"),
    "unknown": (lambda r: touch(r, "notes.md", "sub/x.wav"), "not a dataset of a known layout; --data takes a folder"),
    "a file": (lambda r: touch(r, "a.wav") / "a.wav", "neither a folder nor a table; --data takes"),
    "no such": (lambda r: r / "nowhere", "no such folder or table"),
}  # fmt: skip


def _text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _read(source: Path) -> None:
    data = Dataset.read(source)
    data.check(data.default_fold)


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_one_line_that_says_what_to_do(tmp_path: Path, name: str) -> None:
    make, message = BAD[name]
    source = make(tmp_path / "data")
    with pytest.raises(CumelError, match=message) as caught:
        _read(source)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_group_is_a_column_and_folds_do_not_tear_it(tmp_path: Path) -> None:
    source = any_table(".csv", "audio")(tmp_path / "data")
    with pytest.raises(CumelError, match="--group speaker: no such column; its further columns: n, recorder; `folder`"):
        Dataset.read(source, group="speaker")
    rows = [{"path": f"audio/{label}-{i}.wav", "label": label, "who": i % 2, "fold": i} for label, i in every()]
    with pytest.raises(CumelError, match="--group who: its folds separate 0, 1; drop the column of folds"):
        Dataset.read(table(tmp_path / "data" / "folds.csv", rows), group="who")


def test_what_is_left_out_of_class_folders_is_said(tmp_path: Path) -> None:
    data = Dataset.read(touch(class_folders(tmp_path / "data"), "dog/notes.txt", "cat/7.wav.bak"))
    (note,) = data.notes([5])
    assert note == f"{tmp_path / 'data'}: left out: 1 .bak, 1 .txt"
