"""What a Ray worker does, without Ray: parts that are whole, a run that goes on from them, deadly recordings."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from cumel.esc50.extraction.local import config_of, extract
from cumel.esc50.extraction.ray import parts as module
from cumel.esc50.extraction.ray.attempts import Attempts
from cumel.esc50.extraction.ray.engine import _batch, _Extractor
from cumel.esc50.extraction.ray.parts import FACTS, PartsTodo, part_path, parts_of, plan_parts, write_part_index
from cumel.esc50.store import Store, StoreConfig
from cumel.kernels import CumelError

from support.recordings import TINY, tiny_log_mel, tone, write

CPU = torch.device("cpu")


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    found = [write(tmp_path / "in" / f"{i}.wav", rng.normal(0, 0.1, 700 * i + 1)) for i in range(1, 7)]
    found[2].write_bytes(b"")
    write(found[4], np.zeros(500))
    return found


def begin(out: Path, paths: list[Path], kind: str = "logmel", **options: bool) -> PartsTodo:
    out.mkdir(exist_ok=True)
    options = {"overwrite": False, "retry_errors": False} | options
    return plan_parts(out, config_of(TINY, kind, "float32", CPU), paths, **options)


def work(out: Path, todo: PartsTodo, kind: str = "logmel", size: int = 4) -> list[dict]:
    """Do as an actor does with each batch."""
    stored = config_of(TINY, kind, "float32", CPU).dtype
    actor, rows = _Extractor(kind, stored, TINY, "cpu", out, todo.run, 2), []
    for i in range(0, len(todo.paths), size):
        rows += actor(_batch(range(len(todo.paths))[i : i + size], todo.paths)).to_pylist()
    return rows


def read(out: Path) -> dict[str, tuple[dict, np.ndarray]]:
    """Return each recording's facts and features, by way of the index."""
    found = {}
    for row in pq.read_table(out / "index.parquet").to_pylist():
        one = pq.read_table(out / "data" / row["file"]).slice(row["row"], 1).to_pylist()[0]
        features = np.array(one.pop("features"))
        where = ("path", "name")  # these may change
        assert {n: one[n] for n in FACTS if n not in where} == {n: row[n] for n in FACTS if n not in where}
        found[row["path"]] = (one | {name: row[name] for name in where}, features)
    return found


@pytest.mark.parametrize("kind", ["logmel", "image", "stft"])
def test_parts_hold_what_a_store_holds(
    tmp_path: Path, paths: list[Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GROUP_BYTES", 3000)
    out = tmp_path / "out"
    rows = work(out, begin(out, paths, kind), kind)
    assert [row["number"] for row in rows] == list(range(6))
    assert [row["error"] is None for row in rows] == [True, True, False, True, True, True]
    write_part_index(out)
    extract(paths, tmp_path / "store", TINY, kind=kind, device=CPU)
    store, found = Store(tmp_path / "store"), read(out)
    assert len(found) == len(store)
    for row in store.rows:
        facts, features = found[row["path"]]
        assert facts.items() <= row.items()
        if row["status"] != "error":
            here = store[row["path"]].T
            pairs = here.view(np.float32).reshape(*here.shape, 2) if kind == "stft" else here
            np.testing.assert_array_equal(features.astype(pairs.dtype), pairs)
    assert [path.name for path in sorted((out / "data").iterdir())] == [
        "part-0000-000000000.parquet",
        "part-0000-000000004.parquet",
    ]


def test_what_is_done_is_not_done_again(tmp_path: Path, paths: list[Path]) -> None:
    out = tmp_path / "out"
    todo = begin(out, [*paths[:4], paths[0]])
    assert (todo.paths, todo.run, todo.kept) == (paths[:4], 0, 0)
    work(out, todo)
    (out / "data" / ".part-0000-000000004-1.tmp").touch()  # leftover of a killed worker
    (out / "data" / ".part-0000-000000004.tries").touch()
    todo = begin(out, paths)
    assert (todo.paths, todo.run, todo.kept, todo.failed_before) == (paths[4:], 1, 4, 1)
    assert [path.name for path in (out / "data").iterdir()] == ["part-0000-000000000.parquet"]
    work(out, todo)
    assert begin(out, paths).paths == []

    write(paths[0], tone())
    paths[1].unlink()
    assert begin(out, paths).paths == [paths[0]]
    paths[2].write_text("no sound either")
    todo = begin(out, paths, retry_errors=True)
    assert (todo.paths, todo.run, todo.kept, todo.failed_before) == ([paths[0], paths[2]], 2, 4, 0)
    write(paths[2], tone())
    work(out, todo)
    moved = paths[5].rename(tmp_path / "moved.wav")
    todo = begin(out, [*paths[:5], moved])
    assert (todo.paths, todo.facts["moved"], todo.facts["gone"]) == ([], 1, 1)
    write_part_index(out)
    found = read(out)
    assert len(found) == 6
    assert str(moved) in found
    moved.rename(paths[5])
    assert {facts["status"] for facts, _ in found.values()} == {"ok", "silent"}
    assert len(found[str(paths[0])][1]) == TINY.n_frames(8000)

    todo = begin(out, paths, "mel", overwrite=True)
    assert (len(todo.paths), todo.run, parts_of(out)) == (6, 0, [])
    assert StoreConfig.load(out, "ray.json").kind == "mel"


def test_what_a_folder_refuses(tmp_path: Path, paths: list[Path]) -> None:
    out = tmp_path / "out"
    with pytest.raises(CumelError, match="is not empty and holds no features that Ray wrote"):
        begin(tmp_path / "in", paths)
    with pytest.raises(CumelError, match="holds no features to retry"):
        begin(out, paths, retry_errors=True)
    work(out, begin(out, paths))
    with pytest.raises(CumelError, match="holds features with features=logmel, not mel; --overwrite"):
        begin(out, paths, "mel")
    with pytest.raises(CumelError, match="name one of them"):
        begin(out, paths, retry_errors=True, overwrite=True)
    part_path(out, 0, 0).write_bytes(b"cut")
    with pytest.raises(CumelError, match=r"part-0000-000000000.parquet: not usable \(.*\); run the same .* --repair"):
        begin(out, paths)


def test_a_full_disk_stops_the_run(tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    out, written = tmp_path / "out", pq.ParquetWriter.write_table

    def full(self: pq.ParquetWriter, table: pa.Table) -> None:
        if "5.wav" in str(table["path"]):
            raise OSError(28, "No space left on device")
        written(self, table)

    todo = begin(out, paths)
    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    rows = work(out, todo)
    assert [row["number"] for row in rows] == [0, 1, 2, 3, -1]
    assert (
        "part-0000-000000004.parquet: cannot be written (No space left on device); free some space" in rows[-1]["error"]
    )
    assert [part.first for part in parts_of(out)] == [0]
    assert begin(out, paths).paths == paths[4:]


def test_only_a_recording_that_killed_twice_is_blamed(tmp_path: Path) -> None:
    path = tmp_path / "record"
    first = Attempts(path)
    first.taking(7)
    second = Attempts(path)  # the first one died, of whatever
    assert (first.careful, second.careful, second.blamed) == (False, True, set())
    for number in (5, 6, 7):
        second.taking(number)
    third = Attempts(path)
    third.taking(8)
    fourth = Attempts(path)
    assert (third.blamed, fourth.blamed) == ({7}, {7, 8})
    fourth.done()
    assert not Attempts(path).careful


def test_a_recording_that_is_blamed_is_not_read(tmp_path: Path, paths: list[Path]) -> None:
    out = tmp_path / "out"
    todo = begin(out, paths)
    record = out / "data" / ".part-0000-000000000.tries"
    for _ in range(2):
        Attempts(record).taking(1)
    rows = work(out, todo)
    assert rows[1]["error"] == f"{paths[1]}: kills the worker that reads it; leave it out"
    assert [row["number"] for row in rows if row["error"] is None] == [0, 3, 4, 5]
    assert not record.exists()


def test_a_new_recording_may_have_the_name_of_one_that_moved(tmp_path: Path) -> None:
    data, out = tmp_path / "in", tmp_path / "out"
    write(data / "a.wav", tone())
    for now in (["a.wav"], ["b.wav"], ["b.wav", "a.wav"]):
        if now == ["b.wav"]:
            (data / "a.wav").rename(data / "b.wav")
        elif "b.wav" in now:
            write(data / "a.wav", tone(hz=1000))
        todo = begin(out, [data / name for name in now])
        assert [path.name for path in todo.paths] == ([] if now == ["b.wav"] else ["a.wav"])
        work(out, todo)
        write_part_index(out)
    found = read(out)
    assert set(found) == {str(data / name) for name in ("a.wav", "b.wav")}
    for name, (_, features) in found.items():
        np.testing.assert_array_equal(features, tiny_log_mel(Path(name)).T)
