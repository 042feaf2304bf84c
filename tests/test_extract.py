import errno
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from cumel.esc50 import extract as module
from cumel.esc50 import store as store_module
from cumel.esc50.extract import KINDS, extract, my_share
from cumel.esc50.store import CONFIG, INDEX, Store
from cumel.kernels import CumelError

from recordings import TINY, tone, write

CPU = torch.device("cpu")


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    return [write(tmp_path / "in" / f"{i}.wav", rng.normal(0, 0.1, 800 * i + 1)) for i in range(1, 9)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_reads_back(tmp_path: Path, paths: list[Path], kind: str) -> None:
    report = extract(paths, tmp_path / "out", TINY.replace(n_mfcc=13), kind=kind, device=CPU)
    assert (report["files"], report["extracted"], report["failed"]) == (8, 8, 0)
    store = Store(tmp_path / "out")
    assert len(store) == 8
    assert store.config.features == TINY.replace(n_mfcc=13)
    for path in reversed(paths):
        y, _ = soundfile.read(path, dtype="float32")
        np.testing.assert_array_equal(store[path], KINDS[kind](y, store.config.features))


def test_small_shards_and_half_precision(tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARD_BYTES", 2000)
    extract(paths, tmp_path / "out", TINY, dtype="float16", device=CPU)
    assert len(list((tmp_path / "out").glob("features-*.npy"))) > 2
    store = Store(tmp_path / "out")
    y, _ = soundfile.read(paths[5], dtype="float32")
    np.testing.assert_array_equal(store[5], KINDS["logmel"](y, TINY).astype(np.float16))
    assert isinstance(store[5], np.memmap)
    rows = pq.read_table(tmp_path / "out" / INDEX).to_pylist()
    assert [row["n_samples"] for row in rows] == [800 * i + 1 for i in range(1, 9)]


def test_bad_files_become_rows_and_the_rest_is_extracted(tmp_path: Path, paths: list[Path]) -> None:
    paths[1].write_bytes(b"")
    paths[3].write_text("not audio")
    write(paths[4], np.zeros(500))
    write(paths[5], tone()[1:2])
    paths[6].unlink()
    report = extract(paths, tmp_path / "out", TINY, device=CPU)
    assert [Path(row["path"]).name for row in report["failures"]] == ["2.wav", "4.wav", "7.wav"]
    assert report["silent"] == [str(paths[4])]
    store = Store(tmp_path / "out")
    assert [row["status"] for row in store.rows] == ["ok", "error", "ok", "error", "silent", "ok", "error", "ok"]
    assert store[paths[5]].shape == (16, 1)
    np.testing.assert_array_equal(store[4], np.full((16, TINY.n_frames(500)), -100.0, np.float32))
    with pytest.raises(CumelError, match=r"could not be extracted: .*2\.wav: the file is empty"):
        store[1]
    with pytest.raises(CumelError, match="has no features of"):
        store["elsewhere.wav"]

    write(paths[1], tone())
    again = extract(paths, tmp_path / "out", TINY, device=CPU, retry_errors=True)
    assert (again["files"], again["extracted"], again["failed"]) == (3, 1, 2)
    store = Store(tmp_path / "out")
    np.testing.assert_array_equal(store[paths[1]], KINDS["logmel"](soundfile.read(paths[1], dtype="float32")[0], TINY))
    assert len(store) == 8


def test_a_clip_that_the_config_cannot_take_is_a_row(tmp_path: Path, paths: list[Path]) -> None:
    cfg = TINY.replace(center=False)
    write(paths[0], tone()[:255])
    report = extract(paths, tmp_path / "out", cfg, device=CPU)
    assert [row["error"] for row in report["failures"]] == [
        f"{paths[0]}: clip 0 has 255 samples, fewer than n_fft=256: use center=True or pad it"
    ]


def test_what_a_store_refuses(tmp_path: Path, paths: list[Path]) -> None:
    out = tmp_path / "out"
    extract(paths, out, TINY, device=CPU)
    with pytest.raises(CumelError, match="holds such features already"):
        extract(paths, out, TINY, device=CPU)
    with pytest.raises(CumelError, match=r"features=logmel, not mel; n_mels=16, not 12; --overwrite"):
        extract(paths, out, TINY.replace(n_mels=12), kind="mel", device=CPU)
    extract(paths[:2], out, TINY.replace(n_mels=12), device=CPU, overwrite=True)
    assert Store(out)[0].shape[0] == 12
    with pytest.raises(CumelError, match="is not empty and holds no store"):
        extract(paths, tmp_path / "in", TINY, device=CPU)
    with pytest.raises(CumelError, match="--out names a folder"):
        extract(paths, paths[0], TINY, device=CPU)
    with pytest.raises(CumelError, match="no recordings given"):
        extract([], tmp_path / "new", TINY, device=CPU)
    with pytest.raises(CumelError, match="--features wavelet: must be one of"):
        extract(paths, tmp_path / "new", TINY, kind="wavelet", device=CPU)
    with pytest.raises(CumelError, match="--dtype int8"):
        extract(paths, tmp_path / "new", TINY, dtype="int8", device=CPU)
    with pytest.raises(CumelError, match=r"mel filter \d+ of n_mels=200 has no bin in it; use n_fft >= "):
        extract(paths, tmp_path / "new", TINY.replace(n_mels=200), device=CPU)
    assert not (tmp_path / "new").exists()
    with pytest.raises(CumelError, match="no features to retry"):
        extract(paths, tmp_path / "new", TINY, device=CPU, retry_errors=True)


def test_a_full_disk_keeps_whole_shards(tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARD_BYTES", 3000)
    save, calls = np.save, []

    def full(file: object, array: np.ndarray) -> None:
        calls.append(len(array))
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(file, array)

    monkeypatch.setattr(store_module.np, "save", full)
    with pytest.raises(CumelError, match=r"features-00002.npy: cannot be written \(No space left.*are kept"):
        extract(paths, tmp_path / "out", TINY, device=CPU)
    store = Store(tmp_path / "out")
    assert 0 < len(store) < 8
    assert all(np.isfinite(store[i]).all() for i in range(len(store)))
    assert not list((tmp_path / "out").glob("*.part"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (CONFIG, "{", "not a usable store config"),
        (CONFIG, json.dumps({"format": 99}), "another version's store"),
        (INDEX, "rows", "not a usable index"),
        ("features-00000.npy", "numbers", "extract it again"),
    ],
)
def test_a_damaged_store_is_one_line(tmp_path: Path, paths: list[Path], name: str, content: str, message: str) -> None:
    extract(paths, tmp_path / "out", TINY, device=CPU)
    (tmp_path / "out" / name).write_text(content)
    with pytest.raises(CumelError, match=message) as caught:
        Store(tmp_path / "out")[0]
    assert "\n" not in str(caught.value)
    with pytest.raises(CumelError, match="holds no extracted features"):
        Store(tmp_path / "nowhere")


def test_shards_of_the_input_cover_it_once() -> None:
    paths = [Path(f"{i}.wav") for i in range(11)]
    shares = [my_share(paths, f"{i}/4") for i in range(1, 5)]
    assert sorted(path for share in shares for path in share) == sorted(paths)
    assert my_share(paths, None) == paths
    for text in ("0/4", "5/4", "1", "a/b", "1/0", "-1/2"):
        with pytest.raises(CumelError, match="--shard"):
            my_share(paths, text)


def test_a_retry_keeps_what_it_does_not_touch(tmp_path: Path, paths: list[Path]) -> None:
    paths[1].write_bytes(b"")
    paths[3].write_bytes(b"")
    extract(paths, tmp_path / "out", TINY, device=CPU)
    write(paths[3], tone())
    report = extract([paths[3]], tmp_path / "out", TINY, device=CPU, retry_errors=True)
    assert (report["files"], report["failed"]) == (1, 0)
    assert sorted(row["path"] for row in Store(tmp_path / "out").rows) == sorted(map(str, paths))


def test_an_interrupted_run_keeps_what_it_has_and_goes_on(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    add, calls = module._Writer.add, []

    def interrupted(self: object, *arguments: object) -> None:
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(arguments[0])
        add(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module._Writer, "add", interrupted)
        with pytest.raises(KeyboardInterrupt, match="keeps 3 files; --retry-errors goes on"):
            extract(paths, tmp_path / "out", TINY, device=CPU)
    assert len(Store(tmp_path / "out")) == 3
    assert extract(paths, tmp_path / "out", TINY, device=CPU, retry_errors=True)["files"] == 5
    store = Store(tmp_path / "out")
    for path in paths:
        y, _ = soundfile.read(path, dtype="float32")
        np.testing.assert_array_equal(store[path], KINDS["logmel"](y, TINY))


def test_a_value_beyond_half_precision_is_an_error(tmp_path: Path, paths: list[Path]) -> None:
    write(paths[0], tone(level=0.99))
    loud = TINY.replace(norm=None, n_fft=2048)
    report = extract(paths[:1], tmp_path / "loud", loud, kind="mel", dtype="float16", device=CPU)
    assert "too large for float16" in report["failures"][0]["error"]
    with pytest.raises(CumelError, match="image is stored as uint8"):
        extract(paths, tmp_path / "new", TINY, kind="image", dtype="float16", device=CPU)
