"""Labels and further columns travel from manifests and folders into the index, every export and the torch dataset."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

import cumel
from cumel.esc50.store import Store, convert
from cumel.esc50.store.torch_dataset import FeatureDataset, LabelledBatch, pad
from cumel.kernels import CumelError

from support.recordings import TINY, tone, write, write_dataset

LABELS = ["dog", "cat", "dog", "rain"]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Write four recordings of two rates, and a table that lies beside their folder."""
    for i in range(4):
        write(tmp_path / "audio" / f"{i}.wav", tone(0.3 + 0.1 * i, 8000 * (1 + i % 2)), 8000 * (1 + i % 2))
    rows = [f"{i}.wav,{label},r{i % 2},{i / 4},{'' if i else 'x'},f{i}" for i, label in enumerate(LABELS)]
    path = tmp_path / "sounds.csv"
    path.write_text("\n".join(["path,label,who,status,note,features", *rows]))
    return path


def extract(source: Path, store: Path) -> Store:
    cumel.extract(source, store, TINY, device="cpu", quiet=True)
    return Store(store)


def test_a_manifests_columns_are_in_the_index(manifest: Path, tmp_path: Path) -> None:
    store = extract(manifest, tmp_path / "store")
    rows = store.rows
    assert [row["label"] for row in rows] == LABELS
    assert [row["who"] for row in rows] == ["r0", "r1", "r0", "r1"]
    assert [row["manifest_status"] for row in rows] == ["0.0", "0.25", "0.5", "0.75"]
    assert [row["note"] for row in rows] == ["x", None, None, None]
    assert [row["manifest_features"] for row in rows] == ["f0", "f1", "f2", "f3"]
    assert [(row["source_sr"], row["sr"]) for row in rows] == [(8000, 8000), (16000, 8000)] * 2
    assert store.row("2.wav")["label"] == "dog"


def test_other_labels_need_no_other_features(manifest: Path, tmp_path: Path) -> None:
    extract(manifest, tmp_path / "store")
    shards = {path.name: path.read_bytes() for path in (tmp_path / "store").glob("features-*")}
    manifest.write_text("path,label\n1.wav,lion\n")
    report = cumel.extract(manifest, tmp_path / "store", TINY, device="cpu", quiet=True)
    assert report["files"] == 0
    store = Store(tmp_path / "store")
    assert [row["label"] for row in store.rows] == ["dog", "lion", "dog", "rain"]
    assert [row["who"] for row in store.rows] == ["r0", None, "r0", "r1"]
    assert shards == {path.name: path.read_bytes() for path in (tmp_path / "store").glob("features-*")}
    moved = tmp_path / "store" / "labels.parquet"
    moved.write_bytes(moved.read_bytes()[:-9])
    with pytest.raises(CumelError, match=r"labels\.parquet: not usable .*; delete it, and run the same"):
        Store(tmp_path / "store")


def test_text_that_a_store_cannot_keep_is_refused_before_the_work(manifest: Path, tmp_path: Path) -> None:
    for row in (b"1.wav,l\xf6we,", b"1.wav,lion,gr\xfcn"):
        manifest.write_bytes(b"path,label,note\n" + row)
        with pytest.raises(CumelError, match=r"sounds\.csv: a label or another column is no text in UTF-8; save"):
            extract(manifest, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_parts_of_a_recording_are_said_to_be_one_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.wav", "b.wav"):
        write(tmp_path / name, tone(1.0, 8000), 8000)
    table = tmp_path / "parts.csv"
    table.write_text("path,label,start,end\na.wav,dog,0,0.5\na.wav,cat,0.5,1\nb.wav,dog,0,1\n")
    store = extract(table, tmp_path / "store")
    assert "note: rows name several parts of 1 recordings by start and end" in capsys.readouterr().err
    assert [row["label"] for row in store.rows] == ["dog;cat", "dog"]


def test_class_folders_and_datasets_label_their_recordings(tmp_path: Path) -> None:
    for i, label in enumerate(LABELS):
        write(tmp_path / "in" / label / f"{i}.wav", tone(0.3))
    store = extract(tmp_path / "in", tmp_path / "folders")
    assert [row["label"] for row in store.rows] == ["cat", "dog", "dog", "rain"]
    store = extract(write_dataset(tmp_path / "esc50"), tmp_path / "esc50-store")
    assert {(Path(row["name"]).stem[-1], row["label"][-1]) for row in store.rows} == {
        ("0", "0"),
        ("1", "1"),
        ("2", "2"),
    }
    assert {row["fold"] for row in store.rows} == {1, 2, 3}


def test_every_export_has_them(manifest: Path, tmp_path: Path) -> None:
    store = extract(manifest, tmp_path / "store")
    for to in ("npy", "webdataset", "zarr", "hdf5", "hf"):
        convert(store.folder, tmp_path / to, to, quiet=True)
    index = pq.read_table(tmp_path / "npy" / "index.parquet").to_pylist()
    assert [(row["label"], row["who"], row["source_sr"]) for row in index[:2]] == [
        ("dog", "r0", 8000),
        ("cat", "r1", 16000),
    ]
    h5py, zarr = pytest.importorskip("h5py"), pytest.importorskip("zarr")
    with h5py.File(tmp_path / "hdf5") as file:
        assert [text.decode() for text in file["label"][:]] == LABELS
        assert [text.decode() for text in file["note"][:]] == ["x", "", "", ""]
        assert file["source_sr"][:].tolist() == [8000, 16000, 8000, 16000]
    assert zarr.open_group(tmp_path / "zarr", mode="r")["label"][:].tolist() == LABELS
    datasets = pytest.importorskip("datasets")
    made = datasets.load_dataset(str(tmp_path / "hf"), split="train", cache_dir=str(tmp_path / "cache"))
    assert made.features["label"].names == ["cat", "dog", "rain"]
    assert [made.features["label"].int2str(example["label"]) for example in made] == LABELS
    assert np.array(made[0]["features"]).shape == store[0].T.shape


@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
def test_webdataset_has_classes(manifest: Path, tmp_path: Path) -> None:
    import gc

    wds = pytest.importorskip("webdataset")
    convert(extract(manifest, tmp_path / "store").folder, tmp_path / "tars", "webdataset", quiet=True)
    tars = sorted(map(str, (tmp_path / "tars").glob("*.tar")))
    samples = list(wds.WebDataset(tars, shardshuffle=False).decode())
    gc.collect()
    names = json.loads((tmp_path / "tars" / "labels.json").read_text())
    assert [names[sample["cls"]] for sample in samples] == LABELS
    assert [sample["json"]["who"] for sample in samples] == ["r0", "r1", "r0", "r1"]


def test_a_torch_dataset_gives_labels(manifest: Path, tmp_path: Path) -> None:
    store = extract(manifest, tmp_path / "store")
    data = FeatureDataset(store.folder, labels="label", transform=lambda x: x[:4] + 1)
    assert data.classes == ("cat", "dog", "rain")
    features, target = data[1]
    assert target == 0
    torch.testing.assert_close(features, torch.from_numpy(store[1][:4] + 1))
    (batch,) = DataLoader(data, batch_size=4, collate_fn=pad)
    assert isinstance(batch, LabelledBatch)
    assert batch.labels.tolist() == [1, 0, 1, 2]
    assert batch.features.shape[:2] == (4, 4)
    assert batch.mask.sum(dim=1).tolist() == batch.n_frames.tolist()
    assert [Path(path).stem for path in batch.paths] == ["0", "1", "2", "3"]
    paths = [row["path"] for row in store.rows]
    of_mapping = pad(list(FeatureDataset(store.folder, labels=dict(zip(paths, "abcd", strict=True)))))
    assert of_mapping.labels == ["a", "b", "c", "d"]
    of_rows = FeatureDataset(store.folder, labels=lambda row: torch.tensor([row["source_sr"], 1.0]))
    assert pad([of_rows[0], of_rows[1]]).labels.tolist() == [[8000.0, 1.0], [16000.0, 1.0]]
    with pytest.raises(CumelError, match="has no column speaker; it has path, "):
        FeatureDataset(store.folder, labels="speaker")
    with pytest.raises(CumelError, match=r"3 recordings have no note, such as .*1\.wav; label them"):
        FeatureDataset(store.folder, labels="note")
    with pytest.raises(CumelError, match="has no label in the mapping"):
        FeatureDataset(store.folder, labels={})[0]
