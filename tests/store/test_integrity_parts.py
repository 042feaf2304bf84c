"""The files that Ray's workers write notice what became of them, and are made whole; others read what has a seal."""

import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from cumel.esc50.cli import main
from cumel.esc50.extraction.audit import check
from cumel.esc50.extraction.local import config_of
from cumel.esc50.extraction.ray.engine import _batch, _Extractor
from cumel.esc50.extraction.ray.parts import plan_parts, write_part_index
from cumel.esc50.store.seals import write_sealed
from cumel.esc50.store.shards import INDEX

from support.recordings import TINY, change, thirty, tone, write

CPU = torch.device("cpu")


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    paths = thirty(tmp_path / "in")
    write(paths[7], tone())
    return paths


@pytest.fixture
def parts(tmp_path: Path, paths: list[Path]) -> Path:
    """What the Ray engine writes, without Ray."""
    on_ray(tmp_path / "parts", paths)
    return tmp_path / "parts"


def on_ray(out: Path, paths: list[Path], **options: bool) -> list[Path]:
    out.mkdir(exist_ok=True)
    options = {"overwrite": False, "retry_errors": False} | options
    todo = plan_parts(out, config_of(TINY, "logmel", "float32", CPU), paths, **options)
    actor = _Extractor("logmel", "float32", TINY, "cpu", out, todo.run, 1)
    for i in range(0, len(todo.paths), 8):
        actor(_batch(range(len(todo.paths))[i : i + 8], todo.paths))
    write_part_index(out)
    return list(todo.paths)


def features_in(out: Path) -> Iterator[tuple[str, list]]:
    for row in pq.read_table(out / INDEX).to_pylist():
        one = pq.read_table(out / "data" / row["file"]).slice(row["row"], 1).to_pylist()[0]
        yield one["path"], one["features"]


def test_parts_notice_a_changed_byte_and_are_made_whole(
    parts: Path, paths: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    expected, chance, unnoticed = dict(features_in(parts)), random.Random(0), 0
    assert main(["verify", str(parts)]) == 0
    assert "features of 30 compared" in capsys.readouterr().out
    for i in range(12):
        files = [*sorted((parts / "data").iterdir()), parts / INDEX, parts / "ray.json"]
        path = files[i % len(files)]
        whole = path.read_bytes()
        change(path, chance.randrange(len(whole)), chance)
        if main(["verify", str(parts)]) == 0:  # nothing depends on that byte, such as a page's own checksum
            assert dict(features_in(parts)) == expected
            unnoticed += 1
        capsys.readouterr()
        if path.name == "ray.json":
            path.write_bytes(whole)
        taken = on_ray(parts, paths, repair=True)
        assert len(taken) <= 8
        assert dict(features_in(parts)) == expected
        assert check(parts, quiet=True)["passed"]
    assert unnoticed < 6


def test_other_readers_of_parquet_do_not_mind_the_seal(tmp_path: Path) -> None:
    table = pa.table({"a": range(100_000), "b": [str(i % 7) for i in range(100_000)]})
    write_sealed(tmp_path / "a.parquet", table.schema, [table.slice(0, 60_000), table.slice(60_000)])
    assert pq.read_table(tmp_path / "a.parquet", page_checksum_verification=True) == table
    assert pq.ParquetFile(tmp_path / "a.parquet").read_row_group(1, columns=["b"]) == table.slice(60_000).select(["b"])
    assert pq.read_table(tmp_path / "a.parquet", filters=[("a", ">", 99_998)]) == table.slice(99_999)
