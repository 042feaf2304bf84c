"""A store gives features by path and by row without a copy, in any process, and names what is damaged."""

import gc
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from cumel.esc50.extraction.local import extract
from cumel.esc50.inputs.naming import Keys, key_of
from cumel.esc50.store import CONFIG, Store, reader as module
from cumel.esc50.store.shards import INDEX
from cumel.esc50.store.torch_dataset import FeatureDataset, pad
from cumel.esc50.system.files import write_all
from cumel.kernels import CumelError, log_mel

from support.recordings import TINY, tone, write

CPU = torch.device("cpu")


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [write(tmp_path / "in" / f"{i}.wav", rng.normal(0, 0.1, 800 * i + 1)) for i in range(1, 9)]
    paths[2].write_bytes(b"")
    return paths


@pytest.fixture
def out(tmp_path: Path, paths: list[Path]) -> Path:
    extract(paths, tmp_path / "out", TINY, device=CPU, quiet=True, shard_bytes=4000)
    return tmp_path / "out"


def features(path: Path) -> np.ndarray:
    return log_mel(soundfile.read(path, dtype="float32")[0], TINY)


def test_by_path_and_by_row(out: Path, paths: list[Path]) -> None:
    store = Store(out)
    for number, path in enumerate(paths):
        assert store.row(path) == store.row(number) == store.row(number - 8) == store.rows[number]
        if number != 2:
            np.testing.assert_array_equal(store[path], features(path))
            np.testing.assert_array_equal(store[str(path)], store[number])
    for number in (8, -9):
        with pytest.raises(IndexError, match=r"row -?\d of 8"):
            store[number]
    with pytest.raises(CumelError, match=r"could not be extracted: .*3\.wav: the file is empty"):
        store[2]


def test_nothing_is_copied(out: Path) -> None:
    store = Store(out)
    one, same = store[0], store[0]
    assert isinstance(one, np.memmap)
    assert np.shares_memory(one, same)
    assert not one.flags.writeable
    private = Store(out, mode="c")[0]
    before = store[0].copy()
    private[:] = 0
    np.testing.assert_array_equal(Store(out)[0], before)


def test_views_outlive_the_shards_that_are_open(out: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPEN_SHARDS", 1)
    store = Store(out)
    views = {path: store[path] for path in paths if path != paths[2]}
    assert len({store.row(path)["shard"] for path in views}) > 2
    assert len(store._shards) == 1
    gc.collect()
    for path, view in views.items():
        np.testing.assert_array_equal(view, features(path))


def test_a_pickled_store_opens_its_files_anew(out: Path) -> None:
    store = Store(out, mode="c")
    expected = store[0]
    again = pickle.loads(pickle.dumps(store))
    assert len(pickle.dumps(store)) < 1000
    assert again.mode == "c"
    np.testing.assert_array_equal(again[0], expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataset_in_worker_processes(out: Path, paths: list[Path], workers: int) -> None:
    dataset = pickle.loads(pickle.dumps(FeatureDataset(out)))
    assert len(dataset) == 7
    context = "spawn" if workers else None
    loader = DataLoader(dataset, batch_size=3, num_workers=workers, collate_fn=pad, multiprocessing_context=context)
    seen = []
    for batch, n_frames, names in loader:
        assert batch.shape == (len(names), 16, n_frames.max())
        for one, n, name in zip(batch, n_frames, names, strict=True):
            np.testing.assert_array_equal(one[:, :n].numpy(), features(Path(name)))
            assert (one[:, n:] == one[:, :n].max() - TINY.top_db).all()
            seen.append(Path(name))
    assert seen == [path for path in paths if path != paths[2]]
    with pytest.raises(IndexError):
        dataset[7]


def test_an_unfinished_store_can_be_read(out: Path, paths: list[Path]) -> None:
    rows = Store(out).rows
    (out / INDEX).unlink()
    last = max(out.glob("features-*.parquet"))
    last.unlink()
    store = Store(out)
    assert 0 < len(store) < 8
    assert store.rows == rows[: len(store)]
    np.testing.assert_array_equal(store[0], features(paths[0]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (CONFIG, "{", "not a usable store config"),
        (CONFIG, json.dumps({"format": 99}), "another version's store"),
        (INDEX, "rows", "not a usable index"),
        ("features-00000.npy", "numbers", "extract it again"),
    ],
)
def test_a_damaged_store_is_one_line(tmp_path: Path, out: Path, name: str, content: str, message: str) -> None:
    (out / name).write_text(content)
    with pytest.raises(CumelError, match=message) as caught:
        Store(out)[0]
    assert "\n" not in str(caught.value)
    with pytest.raises(CumelError, match="holds no extracted features"):
        Store(tmp_path / "nowhere")


def test_many_arrays_are_written_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = [np.arange(n % 7, dtype=np.float32) for n in range(3000)]
    whole = os.writev

    def a_piece(handle: int, views: list[memoryview]) -> int:
        assert len(views) <= 1024
        return whole(handle, [views[0][:5]]) if len(views) % 2 else whole(handle, views[:9])

    monkeypatch.setattr(os, "writev", a_piece)
    with (tmp_path / "file").open("wb") as file:
        write_all(file.fileno(), arrays)
    np.testing.assert_array_equal(np.fromfile(tmp_path / "file", np.float32), np.concatenate(arrays))


def test_a_recordings_key_is_its_real_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "real"
    write(folder / "a.wav", tone())
    (tmp_path / "folder").symlink_to(folder)
    (folder / "link.wav").symlink_to(folder / "a.wav")
    monkeypatch.chdir(folder)
    keys = Keys()
    for path in ("a.wav", "./a.wav", "link.wav", "../folder/a.wav", tmp_path / "folder" / "link.wav", folder / "a.wav"):
        assert keys(path) == key_of(path) == str(folder / "a.wav")
    for path in ("..", ".", "../folder", "gone/away.wav", "odd\udcff.wav", "/"):
        assert keys(path) == key_of(path)
    assert keys("odd\udcff.wav").endswith(r"odd\xff.wav")
