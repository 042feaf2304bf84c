"""A run on this machine stores every kind of feature, and a row for every recording that has none."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from cumel.esc50.extraction.job import KINDS
from cumel.esc50.extraction.local import extract, my_share
from cumel.esc50.store import Store, StoreConfig
from cumel.esc50.store.shards import INDEX
from cumel.kernels import CumelError

from support.recordings import TINY, tone, write

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


def test_small_shards_and_half_precision(tmp_path: Path, paths: list[Path]) -> None:
    extract(paths, tmp_path / "out", TINY, dtype="float16", device=CPU, shard_bytes=2000)
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
        f"{paths[0]}: clip 0 has 255 samples, fewer than the 256 of one frame: use center=True or pad it"
    ]


def test_what_a_store_refuses(tmp_path: Path, paths: list[Path]) -> None:
    out = tmp_path / "out"
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
    with pytest.raises(CumelError, match=r"n_mfcc=20: must be at most n_mels=16"):
        extract(paths, tmp_path / "new", TINY, kind="mfcc", device=CPU)
    assert not (tmp_path / "new").exists()
    with pytest.raises(CumelError, match="no features to retry"):
        extract(paths, tmp_path / "new", TINY, device=CPU, retry_errors=True)
    with pytest.raises(CumelError, match="name one of them"):
        extract(paths, out, TINY, device=CPU, retry_errors=True, overwrite=True)
    StoreConfig.save(replace(Store(out).config, resampler="another"), out)
    with pytest.raises(CumelError, match="resampler=another, not soxr, HQ"):
        extract(paths, out, TINY.replace(n_mels=12), device=CPU)


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


def test_a_value_beyond_half_precision_is_an_error(tmp_path: Path, paths: list[Path]) -> None:
    write(paths[0], tone(level=0.99))
    loud = TINY.replace(norm=None, n_fft=2048)
    report = extract(paths[:1], tmp_path / "loud", loud, kind="mel", dtype="float16", device=CPU)
    assert "too large for float16" in report["failures"][0]["error"]
    with pytest.raises(CumelError, match="image is stored as uint8"):
        extract(paths, tmp_path / "new", TINY, kind="image", dtype="float16", device=CPU)


def test_a_silent_run_and_one_that_tells(tmp_path: Path, paths: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    extract(paths, tmp_path / "quiet", TINY, device=CPU, quiet=True)
    assert capsys.readouterr() == ("", "")
    report = extract(paths, tmp_path / "out", TINY, device=CPU)
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"extracting: 8 of 8 files in \d.\d s\n", err)
    assert report["audio_seconds"] == pytest.approx(sum(800 * i + 1 for i in range(1, 9)) / 8000, abs=0.01)
    assert report["files_per_s"] > 0


def test_the_config_says_what_decoded_and_resampled(tmp_path: Path, paths: list[Path]) -> None:
    extract(paths[:1], tmp_path / "out", TINY, device=CPU)
    config = Store(tmp_path / "out").config
    assert config.decoder == f"libsndfile {soundfile.__libsndfile_version__}"
    assert config.resampler == "soxr, HQ"
    assert config.versions["soundfile"] == soundfile.__version__
