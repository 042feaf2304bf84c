"""A store in other formats, read back with each format's own library."""

import gc
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from cumel.esc50.cli import main
from cumel.esc50.extraction.local import extract
from cumel.esc50.store import Store, StoreConfig, formats
from cumel.esc50.store.conversion import FORMATS, convert
from cumel.kernels import CumelError, UnavailableError

from support.recordings import TINY, write

KINDS = [("logmel", "float32"), ("logmel", "float16"), ("image", "float32"), ("stft", "float32")]


def make(folder: Path, kind: str = "logmel", dtype: str = "float32") -> Store:
    """Extract seven recordings, of which one is silent and two fail."""
    rng = np.random.default_rng(0)
    paths = [write(folder / "in" / f"d{i % 2}" / f"{i}.wav", rng.normal(0, 0.1, 700 * i + 1)) for i in range(1, 8)]
    paths[1].write_bytes(b"")
    write(paths[3], np.zeros(500))
    paths[6].unlink()
    extract(paths, folder / "store", TINY, kind=kind, dtype=dtype, device=torch.device("cpu"), shard_bytes=3000)
    return Store(folder / "store")


@pytest.fixture(params=KINDS, ids=["-".join(kind) for kind in KINDS])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Store:
    return make(tmp_path, *request.param)


def good(store: Store) -> list[int]:
    numbers = [i for i, row in enumerate(store.rows) if row["status"] != "error"]
    assert len(numbers) == 5 < len(store)
    return numbers


def assert_same(array: np.ndarray, store: Store, number: int) -> None:
    assert array.dtype == store[number].dtype
    np.testing.assert_array_equal(array, store[number])


def test_npy(store: Store, tmp_path: Path) -> None:
    report = convert(store.folder, tmp_path / "npy", "npy")
    assert (report["clips"], report["left_out"]) == (5, 2)
    rows = pq.read_table(tmp_path / "npy" / "index.parquet").to_pylist()
    assert [row["file"] for row in rows] == [
        "d1/1.wav.npy",
        "d1/3.wav.npy",
        "d0/4.wav.npy",
        "d1/5.wav.npy",
        "d0/6.wav.npy",
    ]
    for row, number in zip(rows, good(store), strict=True):
        assert row["path"] == store.row(number)["path"]
        assert_same(np.load(tmp_path / "npy" / row["file"]), store, number)
    assert StoreConfig.load(tmp_path / "npy") == store.config


@pytest.mark.filterwarnings(
    "ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"
)  # it leaves them open
def test_webdataset(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wds = pytest.importorskip("webdataset")
    monkeypatch.setattr(formats, "TAR_BYTES", 6000)
    convert(store.folder, tmp_path / "tars", "webdataset")
    tars = sorted(map(str, (tmp_path / "tars").glob("*.tar")))
    assert len(tars) > 1
    samples = list(wds.WebDataset(tars, shardshuffle=False).decode())
    gc.collect()
    for sample, number in zip(samples, good(store), strict=True):
        assert sample["json"] == store.row(number)
        assert_same(sample["npy"], store, number)


@pytest.mark.parametrize("chunk_bytes", [formats.CHUNK_BYTES, 200])
def test_zarr(store: Store, tmp_path: Path, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    zarr = pytest.importorskip("zarr")
    monkeypatch.setattr(formats, "CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(formats, "CHUNKS", 3)
    convert(store.folder, tmp_path / "features.zarr", "zarr")
    group = zarr.open_group(tmp_path / "features.zarr", mode="r")
    assert group.metadata.zarr_format == 3
    assert group.attrs["features"] == store.config.features.to_dict()
    check_packed(store, group)


def test_hdf5(store: Store, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    convert(store.folder, tmp_path / "features.h5", "hdf5")
    with h5py.File(tmp_path / "features.h5") as file:
        assert json.loads(file.attrs["features"]) == store.config.features.to_dict()
        check_packed(store, file)


def check_packed(store: Store, group: object) -> None:
    """Check arrays of all recordings, one after another."""
    features = group["features"][:]
    assert features.dtype == np.dtype(store.config.dtype)
    at = 0
    for i, number in enumerate(good(store)):
        row = store.row(number)
        for name in ("sr", "n_samples", "n_frames"):
            assert group[name][i] == row[name]
        for name in ("path", "status"):
            text = group[name][i]
            assert (text.decode() if isinstance(text, bytes) else text) == row[name]
        assert group["offset"][i] == at
        assert_same(features[at : at + row["n_frames"]].T, store, number)
        at += row["n_frames"]
    assert at == len(features)


def test_hugging_face(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(formats, "GROUP_BYTES", 300)
    monkeypatch.setattr(formats, "PARQUET_BYTES", 700)
    convert(store.folder, tmp_path / "hf", "hf")
    assert len(list((tmp_path / "hf" / "data").iterdir())) > 1
    dataset = datasets.load_dataset(str(tmp_path / "hf"), split="train", cache_dir=str(tmp_path / "cache"))
    value = str(dataset.features["features"])
    assert f"Value('{'float32' if store.config.kind == 'stft' else store.config.dtype}')" in value
    for example, number in zip(dataset, good(store), strict=True):
        row = store.row(number)
        assert {
            name: example[name] for name in ("path", "sr", "n_samples", "n_frames", "status")
        }.items() <= row.items()
        frames = np.array(example["features"])
        if store.config.kind == "stft":
            frames = frames[..., 0] + 1j * frames[..., 1]
        assert_same(frames.astype(store.config.dtype).T, store, number)


def test_names_that_are_too_long_with_an_ending_are_shortened_and_stay_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["a" * 247 + ".wav", "a" * 250 + "1.wav", "a" * 250 + "2.wav", "ü" * 125 + ".wav", "b" * 255]
    rng = np.random.default_rng(0)
    for name in names:
        write(tmp_path / "in" / "one.wav", rng.normal(0, 0.1, 900)).rename(tmp_path / "in" / name)
    paths = [tmp_path / "in" / name for name in names]
    extract(paths, tmp_path / "store", TINY, device=torch.device("cpu"), quiet=True)
    store = Store(tmp_path / "store")
    for to in FORMATS:
        out = tmp_path / f"{to}{'o' * (255 - len(to))}"  # its own name is as long as can be
        assert main(["convert", str(store.folder), "--to", to, "--out", str(out), "--quiet"]) == 0
        said = "4 names were too long for the disk, and are shortened" in capsys.readouterr().out
        assert said == (to == "npy")
    rows = pq.read_table(tmp_path / f"npy{'o' * 252}" / "index.parquet").to_pylist()
    assert rows[0]["file"] == f"{names[0]}.npy"
    assert len({row["file"] for row in rows}) == len(names)
    for number, row in enumerate(rows):
        assert len(row["file"].encode()) <= 255
        assert_same(np.load(tmp_path / f"npy{'o' * 252}" / row["file"]), store, number)
    assert main(["convert", str(store.folder), "--to", "npy", "--out", str(tmp_path / ("o" * 256))]) == 2
    assert "File name too long; a name may have 255 bytes" in capsys.readouterr().err


@pytest.mark.parametrize("to", FORMATS)
def test_a_failed_conversion_leaves_nothing(tmp_path: Path, to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, out = make(tmp_path), tmp_path / "new" / "out"
    pytest.importorskip({"zarr": "zarr", "hdf5": "h5py"}.get(to, "numpy"))

    def full(*_: object) -> Iterator[None]:
        raise OSError(28, "No space left on device")
        yield

    monkeypatch.setattr("cumel.esc50.store.conversion.clips_of", full)
    with pytest.raises(CumelError, match=r"out: cannot be written \(No space left on device\); free some space"):
        convert(store.folder, out, to)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_place_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    store = make(tmp_path)
    for taken in (tmp_path / "in", store.folder, tmp_path / "in" / "d1" / "1.wav"):
        with pytest.raises(CumelError, match="is there already"):
            convert(store.folder, taken, "npy")
    (tmp_path / "empty").mkdir()
    (tmp_path / ".empty.part").mkdir()  # leftover of a killed run
    (tmp_path / ".empty.part" / "half.npy").touch()
    convert(store.folder, tmp_path / "empty", "npy")
    assert not list((tmp_path / "empty").rglob("half.npy"))


def test_what_cannot_be_converted(tmp_path: Path) -> None:
    store = make(tmp_path)
    with pytest.raises(CumelError, match="--to csv: must be one of npy, webdataset, zarr, hdf5, hf"):
        convert(store.folder, tmp_path / "out", "csv")
    with pytest.raises(CumelError, match="holds no extracted features"):
        convert(tmp_path / "in", tmp_path / "out", "npy")
    extract([tmp_path / "gone.wav"], tmp_path / "failed", TINY, device=torch.device("cpu"))
    with pytest.raises(CumelError, match="only recordings that failed"):
        convert(tmp_path / "failed", tmp_path / "out", "npy")
    next(store.folder.glob("features-*.npy")).write_bytes(b"no array")
    with pytest.raises(CumelError, match="extract it again"):
        convert(store.folder, tmp_path / "out", "npy")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("to", "module"), [("zarr", "zarr"), ("hdf5", "h5py")])
def test_a_missing_library_is_named(tmp_path: Path, to: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UnavailableError, match=rf"{module} is not installed: pip install 'cumel\[convert\]'"):
        convert(store.folder, tmp_path / "out", to)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, out = make(tmp_path), tmp_path / "npy"
    assert main(["convert", str(store.folder), "--to", "npy", "--out", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["clips"], report["left_out"], report["format"], report["out"]) == (5, 2, "npy", str(out))
    assert report["bytes"] == sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    shutil.rmtree(out)
    assert main(["convert", str(store.folder), "--to", "npy", "--out", str(out), "--quiet"]) == 0
    assert capsys.readouterr().err == ""
