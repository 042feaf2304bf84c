"""A folder laid out as ESC-50 is read and split by folds; what is broken in it is one line."""

import re
from pathlib import Path

import pytest

from cumel.esc50.datasets import Dataset
from cumel.kernels import CumelError

from support.recordings import write_dataset

CSV = Path("meta") / "esc50.csv"


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_read(tmp_path: Path, suffix: str) -> None:
    data = Dataset.read(write_dataset(tmp_path, suffix=suffix))
    assert len(data.clips) == 18
    assert data.labels == ("sound_0", "sound_1", "sound_2")
    assert data.folds == [1, 2, 3]
    train, test = data.split(2)
    assert sorted(train + test) == list(range(18))
    assert {data.clips[i].fold for i in test} == {2}
    assert 2 not in {data.clips[i].fold for i in train}


def test_an_absent_fold_names_those_present(tmp_path: Path) -> None:
    data = Dataset.read(write_dataset(tmp_path))
    with pytest.raises(CumelError, match=r"fold 5 is not in .*; it has 1, 2, 3$"):
        data.split(5)


def test_one_fold_cannot_be_split(tmp_path: Path) -> None:
    with pytest.raises(CumelError, match="nothing is left to train on"):
        Dataset.read(write_dataset(tmp_path, folds=1)).split(1)


BROKEN = {
    "no such folder": lambda root: __import__("shutil").rmtree(root),
    "not a dataset of a known layout; --data takes a folder per class": lambda root: (root / CSV).unlink(),
    "column fold is missing": lambda root: _edit(root, "fold", "part"),
    "lists no clips": lambda root: (root / CSV).write_text("filename,fold,target,category\n"),
    "fold and target must be whole numbers": lambda root: _edit(root, r"wav,1,0", "wav,one,0"),
    r"recordings are not in .*/audio: \.\./1-00-A-0.wav": lambda root: _edit(root, "1-00-A-0.wav", "../1-00-A-0.wav"),
    "1 of 18 recordings are not in": lambda root: (root / "audio" / "1-00-A-0.wav").unlink(),
    "is listed twice": lambda root: _edit(root, "1-01-A-0.wav", "1-00-A-0.wav"),
    "no text in UTF-8; save the table as UTF-8": lambda root: _edit_bytes(root, b"sound_0", b"s\xf6und_0"),
    "target 5000 is too high for 18 clips": lambda root: _edit(root, "wav,1,0", "wav,1,5000"),
    "target 0 is called both": lambda root: _edit(root, "sound_0,False,1", "other,False,1"),
    "sound_0 has two targets, 0 and 1": lambda root: _edit_all(root, "sound_1", "sound_0"),
    "must be whole numbers": lambda root: _edit(root, r"wav,1,0", "wav,1,0.5"),
    "a target of 0 or more": lambda root: _edit(root, r"wav,1,0", "wav,1,-1"),
}


def _edit(root: Path, old: str, new: str) -> None:
    (root / CSV).write_text(re.sub(old, new, (root / CSV).read_text(), count=1))


def _edit_bytes(root: Path, old: bytes, new: bytes) -> None:
    (root / CSV).write_bytes((root / CSV).read_bytes().replace(old, new))


def _edit_all(root: Path, old: str, new: str) -> None:
    (root / CSV).write_text((root / CSV).read_text().replace(old, new))


def test_what_cannot_be_learned_is_said(tmp_path: Path) -> None:
    root = write_dataset(tmp_path)
    data = Dataset.read(root)
    assert data.notes(data.folds) == []
    _edit_all(root, ",2,sound_2", ",6,sound_2")
    (gaps,) = Dataset.read(root).notes([1])
    assert gaps.startswith(f"{root / CSV}: no clip has target 2, 3, 4 and 1 more; ")
    rows = (root / CSV).read_text().splitlines(keepends=True)
    (root / CSV).write_text("".join(row for row in rows if "sound_1" not in row or ",1,1,sound_1" in row))
    assert len(Dataset.read(root).notes([2, 3])) == 1
    alone = Dataset.read(root).notes([1, 2])[1]
    assert alone == f"{root / CSV}: fold 1 alone has sound_1, which no other fold can teach"


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_dataset_is_one_line(tmp_path: Path, message: str) -> None:
    root = write_dataset(tmp_path / "data")
    BROKEN[message](root)
    with pytest.raises(CumelError, match=message) as caught:
        Dataset.read(root)
    assert "\n" not in str(caught.value)
