"""Every layout that `--data` takes is read into clips; what is wrong with one is a line that says what to do."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cumel.esc50.datasets import Dataset, keep
from cumel.kernels import CumelError

from support.recordings import tone, touch, write

LABELS = ("cat", "dog", "rain")


def table(path: Path, rows: list[dict], names: list[str] | None = None) -> Path:
    """Write rows in the format of the name's extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(
                file, names or list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",", extrasaction="ignore"
            )
            writer.writeheader()
            writer.writerows(rows)
    return path


def every(n: int = 6) -> list[tuple[str, int]]:
    return [(label, i) for label in LABELS for i in range(n)]


def class_folders(root: Path) -> Path:
    return touch(root, *(f"{label}/{i}.wav" for label, i in every()), "README.md", "dog/deep/9.flac")


def split_folders(root: Path) -> Path:
    return touch(root, *(f"{'test' if i == 0 else 'train'}/{label}/{i}.wav" for label, i in every()))


def any_table(suffix: str, folder: str, column: str = "path", label: str = "label") -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        touch(root / folder, *(f"{label}-{i}.wav" for label, i in every()))
        rows = [{column: f"{name}-{i}.wav", label: name, "recorder": f"r{i % 3}", "n": i} for name, i in every()]
        return table(root / f"sounds{suffix}", rows)

    return make


def urban(root: Path) -> Path:
    rows = []
    for target, (label, i) in ((LABELS.index(label), (label, i)) for label, i in every()):
        touch(root / "audio" / f"fold{i + 1}", f"{i}-{target}-0-0.wav")
        part = {"start": 3.1, "end": 7.1, "salience": 1, "fold": i + 1, "classID": target, "class": label}
        rows.append({"slice_file_name": f"{i}-{target}-0-0.wav", "fsID": i, **part})
    table(root / "metadata" / "UrbanSound8K.csv", rows)
    return root


def fsd50k(root: Path) -> Path:
    for name, splits in (("dev", ("train", "train", "val")), ("eval", (None,) * 3)):
        rows = []
        for number, split in enumerate(splits):
            touch(root / f"FSD50K.{name}_audio", f"{name}{number}.wav")
            rows.append({"fname": f"{name}{number}", "labels": "dog,rain" if number else "cat", "mids": "/m/0"})
            rows[-1] |= {"split": split} if split else {}
        table(root / "FSD50K.ground_truth" / f"{name}.csv", rows)
    return root


def audiofolder(root: Path) -> Path:
    for split in ("train", "test"):
        touch(root / split, *(f"{label}/{i}.wav" for label, i in every(2)))
        rows = [{"file_name": f"{label}/{i}.wav", "speaker": i} for label, i in every(2)]
        table(root / split / "metadata.jsonl", rows)
    return root


LAYOUTS: dict[str, tuple[Callable[[Path], Path], str, int, list]] = {
    "class folders": (class_folders, "class folders", 19, [1, 2, 3, 4, 5]),
    "folders in splits": (split_folders, "class folders", 18, ["test"]),
    "csv beside": (any_table(".csv", ""), "table", 18, [1, 2, 3, 4, 5]),
    "tsv, audio/": (any_table(".tsv", "audio", "filename", "category"), "table", 18, [1, 2, 3, 4, 5]),
    "jsonl": (any_table(".jsonl", "audio", "file", "class"), "table", 18, [1, 2, 3, 4, 5]),
    "parquet": (any_table(".parquet", "audio", "slice_file_name"), "table", 18, [1, 2, 3, 4, 5]),
    "folder of a table": (lambda root: any_table(".csv", "audio")(root).parent, "table", 18, [1, 2, 3, 4, 5]),
    "UrbanSound8K": (urban, "UrbanSound8K", 18, [1, 2, 3, 4, 5, 6]),
    "UrbanSound8K's table": (
        lambda root: urban(root) / "metadata" / "UrbanSound8K.csv",
        "UrbanSound8K",
        18,
        [1, 2, 3, 4, 5, 6],
    ),
    "FSD50K": (fsd50k, "FSD50K", 6, ["test"]),
    "audiofolder": (audiofolder, "audiofolder", 12, ["test"]),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_read_as_it_comes(tmp_path: Path, name: str) -> None:
    make, layout, n_clips, folds = LAYOUTS[name]
    data = Dataset.read(make(tmp_path / "data"))
    assert (data.layout, len(data.clips), data.folds, data.labels) == (layout, n_clips, folds, LABELS)
    assert all(clip.path.is_file() for clip in data.clips)
    assert all((clip.start, clip.end) == (0.0, None) for clip in data.clips)  # UrbanSound8K's are of another recording
    train, test = data.split(data.default_fold)
    assert not set(train) & set(test)
    assert len(train) + len(test) + len(data.valid) == n_clips
    data.check(data.default_fold)
    assert {data.clips[i].category for i in test} == set(LABELS) - ({"rain"} if layout == "FSD50K" else set())
    if layout == "FSD50K":
        assert data.multi_label
        assert data.hot().sum(axis=1).tolist() == [1, 2, 2, 1, 2, 2]
        assert len(data.valid) == 1
    if layout == "table":
        assert set(data.clips[0].extra) == {"recorder", "n"}


def test_a_table_lies_elsewhere_than_its_recordings(tmp_path: Path) -> None:
    source = any_table(".csv", "audio")(tmp_path / "data")
    moved = source.rename(tmp_path / "sounds.csv")
    with pytest.raises(CumelError, match=r"none of its 18 recordings is there.*another dataset\? Else name .* --root"):
        Dataset.read(moved)
    assert len(Dataset.read(moved, root=tmp_path / "data" / "audio").clips) == 18


def test_groups_are_kept_whole_and_the_split_is_the_seeds(tmp_path: Path) -> None:
    source = any_table(".csv", "audio")(tmp_path / "data")
    data = Dataset.read(source, group="recorder")
    for recorder in ("r0", "r1", "r2"):
        assert len({clip.fold for clip in data.clips if clip.group == recorder}) == 1
    folds = [[clip.fold for clip in Dataset.read(source, seed=seed).clips] for seed in (0, 0, 1)]
    assert folds[0] == folds[1] != folds[2]
    assert "recorder kept whole, seed 0" in data.split_by
    for label in range(3):  # six clips in five folds: one or two in each
        counts = [sum(c.fold == f and c.target == label for c in Dataset.read(source).clips) for f in range(1, 6)]
        assert sorted(counts) == [1, 1, 1, 1, 2]


def test_parts_of_one_recording_stay_together(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{i}.wav" for i in range(10)))
    rows = [
        {"path": f"{i}.wav", "label": LABELS[part % 2], "start": 2 * part, "end": 2 * part + 2}
        for i in range(10)
        for part in range(4)
    ]
    data = Dataset.read(table(tmp_path / "parts.csv", rows))
    assert len(data.clips) == 40
    assert all(len({clip.fold for clip in data.clips if clip.path.stem == str(i)}) == 1 for i in range(10))
    train, _ = data.split(5)
    teach, valid = data.inner(train, seed=0, share=0.25)
    assert sorted([*teach, *valid]) == sorted(train)
    assert not {data.clips[i].path for i in teach} & {data.clips[i].path for i in valid}


def test_a_kept_split_is_followed(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data")
    data = Dataset.read(root, seed=7)
    keep(data, tmp_path / "run")
    table_again = Dataset.read(tmp_path / "run" / "clips.csv", root=root)  # it is a table itself
    assert [clip.fold for clip in table_again.clips] == [clip.fold for clip in data.clips]
    touch(root, "dog/new.wav")
    (root / "cat" / "0.wav").unlink()
    again = Dataset.read(root, kept=tmp_path / "run")
    folds = {clip.path: clip.fold for clip in data.clips}
    assert len(again.clips) == 18
    assert all(folds[clip.path] == clip.fold for clip in again.clips)
    assert [note.split(": ")[1][:9] for note in again.notes([])] == ["1 clips a", "1 clips o"]


ROWS = [{"path": f"{label}-{i}.wav", "label": label} for label, i in every()]


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


def one_clip(root: Path) -> Path:
    return touch(root, "owl/1.wav", *(f"{label}/{i}.wav" for label, i in every()))


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


def test_nothing_held_out_takes_any_class(tmp_path: Path) -> None:
    data = Dataset.read(one_clip(tmp_path / "data"))
    train, test = data.split(None)
    assert (len(train), test) == (19, [])
    data.check(None)


def test_the_licence_is_the_datas_own(tmp_path: Path) -> None:
    from cumel.esc50.datasets.description import license_of

    root = class_folders(tmp_path / "data")
    assert license_of(Dataset.read(root)) is None
    (root / "LICENSE").write_text("\n# CC BY 4.0\nmore\n")
    assert license_of(Dataset.read(root)) == "CC BY 4.0 (in LICENSE)"
    assert license_of(Dataset.read(urban(tmp_path / "urban"))) == "CC BY-NC 4.0 (UrbanSound8K)"
    rows = [row | {"license": "CC0" if i else "CC BY"} for i, row in enumerate(ROWS)]
    touch(tmp_path / "t", *(row["path"] for row in ROWS))
    assert license_of(Dataset.read(table(tmp_path / "t" / "t.csv", rows))) == "CC0 (17 clips), CC BY (1 clips)"


def test_parts_are_cut_out_of_their_recording(tmp_path: Path) -> None:
    import numpy as np

    from cumel.esc50.datasets import Measured, waveforms

    y = np.concatenate([tone(1.0, hz=200), tone(1.0, hz=900)])
    write(tmp_path / "a.wav", y, subtype="FLOAT")
    rows = [{"path": "a.wav", "label": "low", "end": 1}, {"path": "a.wav", "label": "high", "start": 1}]
    data = Dataset.read(table(tmp_path / "t.jsonl", rows))
    parts = dict(waveforms(data.clips, 8000, 1))
    np.testing.assert_array_equal(parts[0], y[:8000])
    np.testing.assert_array_equal(parts[1], y[8000:])
    assert Measured.of(data, 1).seconds.tolist() == [1.0, 1.0]
    late = Dataset.read(table(tmp_path / "late.jsonl", [*rows, rows[1] | {"start": 5}]))
    with pytest.raises(CumelError, match=r"a\.wav from 5 s: begins behind its end, at 2 s; mend its start"):
        Measured.of(late, 1)
