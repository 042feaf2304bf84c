"""Where recordings are now: names that are used again, moves of what is damaged, and rows that are written anew."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from cumel.esc50.extraction.audit import check
from cumel.esc50.extraction.local import extract
from cumel.esc50.inputs.find import resolve
from cumel.esc50.store import Store
from cumel.esc50.store.arrays import HEADER_BYTES
from cumel.esc50.store.places import EVERY, NO_PLACES, PLACES, PLACES_SCHEMA, Places, keys_of
from cumel.esc50.store.shards import INDEX
from cumel.kernels import CumelError

from support.recordings import TINY, change, tiny_log_mel, write

CHANGES = 300  # single bytes of the file of places
OPTIONS: dict[str, Any] = {"device": torch.device("cpu"), "quiet": True}


def noise(path: Path, seed: int) -> Path:
    return write(path, np.random.default_rng(seed).normal(0, 0.1, 900 + seed))


def run(out: Path, data: Path, **options: bool) -> dict[str, Any]:
    return extract(resolve([data]), out, TINY, **OPTIONS, **options)


def assert_true(out: Path, data: Path) -> None:
    """Every recording has one row, which says its path, its name and its features."""
    store, paths = Store(out), sorted(data.iterdir())
    assert sorted((row["path"], row["name"]) for row in store.rows) == [(str(path), path.name) for path in paths]
    for path in paths:
        np.testing.assert_array_equal(store[path], tiny_log_mel(path))
    assert check(out, quiet=True)["passed"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    noise(tmp_path / "data" / "a.wav", 1)
    noise(tmp_path / "data" / "b.wav", 2)
    return tmp_path / "data"


def test_a_new_recording_may_have_the_name_of_one_that_moved(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, data)
    for number in range(3):
        (data / "a.wav").rename(data / f"{number}.wav")
        assert (run(out, data)["moved"], run(out, data)["files"]) == (1, 0)
        noise(data / "a.wav", 10 + number)
        report = run(out, data)
        assert (report["files"], report["changed"], report["moved"]) == (1, 0, 0)
        assert_true(out, data)
    (data / "0.wav").rename(data / "last.wav")
    assert (run(out, data)["moved"], run(out, data)["files"]) == (1, 0)
    assert_true(out, data)


def test_a_recording_that_moved_changed_and_moved_is_one(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, data)
    (data / "a.wav").rename(data / "c.wav")
    run(out, data)
    noise(data / "c.wav", 3)
    assert run(out, data)["changed"] == 1
    (data / "c.wav").rename(data / "d.wav")
    assert (run(out, data)["moved"], run(out, data)["files"]) == (1, 0)
    assert_true(out, data)


@pytest.mark.parametrize("repair", [False, True])
def test_a_sidecar_written_anew_says_where_its_recordings_are(data: Path, tmp_path: Path, repair: bool) -> None:
    out = tmp_path / "out"
    run(out, data)
    (data / "b.wav").rename(data / "y.wav")
    run(out, data)
    (data / "a.wav").rename(data / "b.wav")  # the place of another recording in the same shard
    run(out, data)
    assert_true(out, data)
    (out / "features-00000.parquet").unlink()
    assert run(out, data, repair=repair)["files"] == 0
    assert_true(out, data)


def test_a_row_that_is_lost_leaves_no_name_behind(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, data)
    (data / "a.wav").rename(data / "c.wav")
    run(out, data)
    noise(data / "a.wav", 3)
    for name in ("features-00000.parquet", INDEX):
        (out / name).write_bytes(b"")
    assert run(out, data, repair=True)["files"] == 3
    assert_true(out, data)


def test_a_repair_finds_what_moved_where_it_is(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, data)
    change(out / "features-00000.npy", HEADER_BYTES + 8, random.Random(0))  # a byte of a.wav
    data = data.rename(tmp_path / "moved")
    report = run(out, data, repair=True)
    assert (report["files"], report["failed"], report["moved"], report["gone"]) == (1, 0, 2, 0)
    assert_true(out, data)


def test_a_repair_says_what_is_nowhere(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, data)
    change(out / "features-00000.npy", HEADER_BYTES + 8, random.Random(0))
    (data / "a.wav").unlink()
    report = run(out, data, repair=True)
    assert [failure["path"] for failure in report["failures"]] == [str(data / "a.wav")]
    assert [row["status"] for row in Store(out).rows] == ["error", "ok"]
    assert check(out, quiet=True)["passed"]


def test_a_repair_reads_a_file_whose_link_is_gone(data: Path, tmp_path: Path) -> None:
    out, link = tmp_path / "out", data / "link.wav"
    link.symlink_to(noise(tmp_path / "blob.wav", 5))
    run(out, data)
    change(out / "features-00000.npy", -8, random.Random(0))
    link.unlink()
    assert run(out, data, repair=True)["failed"] == 0
    np.testing.assert_array_equal(Store(out)["blob.wav"], tiny_log_mel(tmp_path / "blob.wav"))


def test_every_change_of_a_byte_of_the_places_is_noticed(data: Path, tmp_path: Path) -> None:
    out, chance = tmp_path / "out", random.Random(0)
    run(out, data)
    data = data.rename(tmp_path / "moved")
    run(out, data)
    whole = (out / PLACES).read_bytes()
    for at in chance.sample(range(len(whole)), min(CHANGES, len(whole))):
        (out / PLACES).write_bytes(whole)
        change(out / PLACES, at, chance)
        with pytest.raises(CumelError, match=PLACES):
            Places.load(out)
    assert [file["file"] for file in check(out, quiet=True)["files"]] == [PLACES]
    report = run(out, data, repair=True)
    assert (report["files"], report["moved"]) == (0, 2)
    assert_true(out, data)


def rows(**columns: list[str | None]) -> pa.Table:
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def changes(*moves: tuple[str, str]) -> pa.Table:
    return pa.Table.from_pylist([{"key": key, "path": path, "name": path} for key, path in moves], schema=PLACES_SCHEMA)


def paths_of(places: Places, table: pa.Table, number: int) -> list[str]:
    return keys_of(places.apply(table, number)).to_pylist()


def test_what_is_said_counts_for_earlier_rows_alone_and_does_not_pile_up() -> None:
    written = [rows(path=["a", "b"], real=[None, None])]
    places = Places(NO_PLACES).changed(changes(("b", "y")), 1, written)
    places = places.changed(changes(("a", "b")), 1, written)
    assert [paths_of(places, written[0], number) for number in (0, 1)] == [["b", "y"], ["a", "b"]]
    written.append(rows(path=["a"], real=[None]))
    places = places.changed(changes(("a", "c")), 2, written)
    assert [paths_of(places, table, number) for number, table in enumerate(written)] == [["b", "y"], ["c"]]
    n = len(places.table)
    for number in range(5):
        places = places.changed(changes(("y" if not number else f"y{number}", f"y{number + 1}")), 3 + number, written)
    assert len(places.table) == n
    assert paths_of(places, written[0], 0) == ["b", "y5"]
    now = places.apply(written[0], 0)
    assert places.written(now, 0).equals(written[0])
    assert (places.number, Places(changes(("a", "z"))).apply(written[0], EVERY)["path"][0].as_py()) == (2, "z")
