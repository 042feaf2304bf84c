"""Every layout that `--data` takes is read into clips; what is wrong with one is a line that says what to do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cumel.esc50.datasets import Dataset, keep
from cumel.kernels import CumelError

from support.layouts import LABELS, ROWS, any_table, class_folders, every, one_clip, split_folders, table
from support.recordings import tone, touch, write


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
    with pytest.raises(
        CumelError, match=r"a\.wav from 5 s: begins behind the end of its recording, at 2 s; mend its start"
    ):
        Measured.of(late, 1)


def test_the_split_does_not_depend_on_the_order_of_the_rows(tmp_path: Path) -> None:
    touch(tmp_path, *(row["path"] for row in ROWS))
    folds = [
        {clip.path: clip.fold for clip in Dataset.read(table(tmp_path / f"{i}.csv", rows)).clips}
        for i, rows in enumerate((ROWS, ROWS[::-1]))
    ]
    assert folds[0] == folds[1]
