"""A store notices what became of it: every byte of its files, of either engine, as it is read and in `cumel verify`."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from cumel.esc50.cli import main
from cumel.esc50.extraction.audit import check
from cumel.esc50.extraction.local import extract
from cumel.esc50.store import Store, StoreConfig
from cumel.esc50.store.arrays import HEADER_BYTES, header
from cumel.esc50.store.conversion import convert
from cumel.esc50.store.seals import read_sealed
from cumel.esc50.store.shards import INDEX
from cumel.esc50.store.torch_dataset import FeatureDataset
from cumel.kernels import CumelError

from support.recordings import TINY, change, content, thirty, tiny_log_mel, tone, write

CPU = torch.device("cpu")
OPTIONS: dict[str, Any] = {"device": CPU, "quiet": True, "shard_bytes": 20_000}
CHANGES = 200  # single bytes of each kind of file; 5,000 of each gave nothing else
REPAIR = "run the same `cumel extract` with --repair"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings, and a store of them in which a retry took two again."""
    folder = tmp_path_factory.mktemp("made")
    paths = thirty(folder / "in")
    extract(paths, folder / "out", TINY, **OPTIONS)
    write(paths[7], tone())
    write(paths[11], tone(hz=1000))
    extract(paths, folder / "out", TINY, retry_errors=True, **OPTIONS)
    return folder


@pytest.fixture
def paths(made: Path) -> list[Path]:
    return sorted((made / "in").iterdir())


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "out", tmp_path / "out")
    return tmp_path / "out"


def everything(folder: Path) -> tuple[StoreConfig, list[dict], list[bytes]]:
    store = Store(folder)
    return store.config, store.rows, [store[number].tobytes() for number in range(len(store))]


@pytest.mark.parametrize("kind", ["index", "sidecars", "config", "headers", "features"])
def test_a_changed_byte_is_one_line_or_changes_nothing(out: Path, kind: str) -> None:
    chance, expected = random.Random(0), everything(out)
    if kind == "sidecars":
        (out / INDEX).unlink()
    patterns = {"index": INDEX, "sidecars": "features-*.parquet", "config": "config.json"}
    files = sorted(out.glob(patterns.get(kind, "features-*.npy")))
    said, named = [], 0
    for _ in range(CHANGES):
        path = chance.choice(files)
        whole = path.read_bytes()
        first, last = {"headers": (0, HEADER_BYTES), "features": (HEADER_BYTES, len(whole))}.get(kind, (0, len(whole)))
        change(path, chance.randrange(first, last), chance)
        try:
            assert everything(out) == expected
        except CumelError as error:
            said.append(str(error))
            named += str(path) in str(error)
        path.write_bytes(whole)
    assert named == len(said)
    assert not any("\n" in text for text in said)
    assert named > 0.9 * CHANGES  # a space in config.json may change for another, and features that are superseded


DAMAGE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "longer": ("features-00001.npy", lambda path: path.write_bytes(path.read_bytes() + b"0")),
    "shorter": ("features-00001.npy", lambda path: os.truncate(path, path.stat().st_size - 1)),
    "a frame shorter": ("features-00001.npy", lambda path: os.truncate(path, path.stat().st_size - 64)),
    "empty": ("features-00001.npy", lambda path: os.truncate(path, 0)),
    "gone": ("features-00001.npy", lambda path: path.unlink()),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_sizes_are_looked_at_when_a_store_is_opened(out: Path, damage: str) -> None:
    name, harm = DAMAGE[damage]
    harm(out / name)
    for opened in (Store, FeatureDataset):
        with pytest.raises(CumelError, match=rf"{name}: damaged \(.*\); {REPAIR}"):
            opened(out)


def test_the_header_is_numpys_own(tmp_path: Path) -> None:
    for dtype in ("float32", "float16", "uint8", "complex64"):
        np.save(tmp_path / "array.npy", np.zeros((3, 5), dtype))
        assert (tmp_path / "array.npy").read_bytes()[:HEADER_BYTES] == header(3, 5, dtype)


def test_damaged_features_are_not_handed_on(out: Path, tmp_path: Path, paths: list[Path]) -> None:
    row = Store(out).row(paths[3])
    at = HEADER_BYTES + 64 * row["offset"] + 5
    change(out / f"features-{row['shard']:05d}.npy", at, random.Random(0))
    message = rf"features-0000\d.npy: damaged \(the features of .*03.wav are not what was written\); {REPAIR}"
    with pytest.raises(CumelError, match=message):
        Store(out)[paths[3]]
    with pytest.raises(CumelError, match=message):
        FeatureDataset(out)[3]
    for to in ("npy", "webdataset", "hf"):
        with pytest.raises(CumelError, match=message):
            convert(out, tmp_path / to, to)
        assert not (tmp_path / to).exists()
    np.testing.assert_array_equal(Store(out)[4], tiny_log_mel(paths[4]))
    assert Store(out, check=False)[3].shape == FeatureDataset(out, check=False)[3][0].shape


def test_verify_names_every_damaged_recording_and_repair_takes_those_again(
    out: Path, paths: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    expected = everything(out)[2]
    assert main(["verify", str(out)]) == 0
    assert "features of 30 compared with their checksums; nothing is damaged" in capsys.readouterr().out
    chance, harmed = random.Random(1), (3, 8, 20)
    for number in harmed:
        row = Store(out).row(number)
        change(out / f"features-{row['shard']:05d}.npy", HEADER_BYTES + 64 * row["offset"], chance)
    assert main(["verify", str(out), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["recordings"], report["checked"], report["damaged"], report["passed"]) == (30, 27, 3, False)
    assert [row["path"] for row in report["rows"]] == [str(paths[number]) for number in harmed]
    assert main(["verify", str(out)]) == 1
    told = capsys.readouterr()
    assert all(f"the features of {paths[number]} are not what was written" in told.err for number in harmed)
    assert "3 recordings DAMAGED" in told.out

    again = extract(paths[:5], out, TINY, repair=True, **OPTIONS)  # damaged recordings need not be named
    assert (again["files"], again["failed"]) == (3, 0)
    assert "3 recordings whose features were damaged are taken again" in again["notes"]
    assert everything(out)[2] == expected
    assert check(out, quiet=True)["passed"]
    assert extract(paths, out, TINY, repair=True, **OPTIONS)["files"] == 0


def test_verify_tells_a_store_from_recordings(out: Path, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(out), str(made / "in")]) == 2
    assert "is a store, which is verified alone" in capsys.readouterr().err
    assert main(["verify", str(out), "--hop-length", "256"]) == 2
    assert "has its own config" in capsys.readouterr().err
    (out / "config.json").write_text("{")
    assert main(["verify", str(out)]) == 1
    assert "config.json: not a usable store config" in capsys.readouterr().err
    (out / INDEX).write_bytes(b"PAR1")
    assert main(["verify", str(out)]) == 1


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("by_hand", [True, False])
@pytest.mark.parametrize("name", ["features-00000.parquet", "features-00001.parquet", "retry"])
def test_a_damaged_sidecar_loses_nothing(out: Path, paths: list[Path], name: str, indexed: bool, by_hand: bool) -> None:
    expected = {row["path"]: features for row, features in zip(*everything(out)[1:], strict=True)}
    sidecar = next(out.glob("*.again.parquet")) if name == "retry" else out / name
    change(sidecar, 100, random.Random(2))
    if not indexed:
        (out / INDEX).unlink()
        with pytest.raises(CumelError, match=rf"{sidecar.name}: not usable .*{REPAIR}"):
            Store(out)
    with pytest.raises(CumelError, match=rf"{sidecar.name}: not usable .*{REPAIR}"):
        extract(paths, out, TINY, **OPTIONS)
    if by_hand:
        sidecar.unlink()
    extract(paths, out, TINY, repair=not by_hand, retry_errors=by_hand and name == "retry", **OPTIONS)
    store = Store(out)
    assert {row["path"]: store[row["path"]].tobytes() for row in store.rows} == expected
    assert check(out, quiet=True)["passed"]


@pytest.mark.parametrize("shard_too", [False, True])
@pytest.mark.parametrize("name", ["features-00001.parquet", "retry"])
def test_a_sidecar_deleted_by_hand_loses_nothing_while_there_is_an_index(
    out: Path, paths: list[Path], name: str, shard_too: bool
) -> None:
    expected = {row["path"]: features for row, features in zip(*everything(out)[1:], strict=True)}
    sidecar = next(out.glob("*.again.parquet")) if name == "retry" else out / name
    sidecar.unlink()
    if shard_too:
        (out / f"{sidecar.name.split('.')[0]}.npy").unlink()
    assert not check(out, quiet=True)["passed"]
    report = extract(paths, out, TINY, **OPTIONS)
    assert (report["files"] > 0) == shard_too
    store = Store(out)
    assert {row["path"]: store[row["path"]].tobytes() for row in store.rows} == expected
    assert check(out, quiet=True)["passed"]


def test_a_sidecar_of_another_shard_is_noticed(out: Path, paths: list[Path]) -> None:
    shutil.copy(out / "features-00000.parquet", out / "features-00001.parquet")
    with pytest.raises(CumelError, match=r"features-00001.parquet: not usable \(its rows are those of another shard\)"):
        extract(paths, out, TINY, **OPTIONS)
    assert not check(out, quiet=True)["passed"]


@pytest.mark.parametrize("damage", [*DAMAGE, "retry", "all"])
def test_a_damaged_shard_is_extracted_again_and_nothing_else(out: Path, paths: list[Path], damage: str) -> None:
    expected = {row["path"]: features for row, features in zip(*everything(out)[1:], strict=True)}
    shards = sorted(out.glob("*.npy"))
    harmed = {"all": shards, "retry": shards[-1:]}.get(damage, shards[1:2])
    rows = [row for row in Store(out).rows if f"features-{row['shard']:05d}.npy" in {path.name for path in harmed}]
    for path in harmed:
        DAMAGE.get(damage, DAMAGE["shorter"])[1](path)
    with pytest.raises(CumelError, match=rf"{harmed[0].name}: damaged .*{REPAIR}"):
        extract(paths, out, TINY, **OPTIONS)
    assert check(out, quiet=True)["damaged"] == len(rows)
    assert extract(paths, out, TINY, repair=True, **OPTIONS)["files"] == len(rows)
    store = Store(out)
    assert {row["path"]: store[row["path"]].tobytes() for row in store.rows} == expected
    assert check(out, quiet=True)["passed"]
    assert extract(paths, out, TINY, **OPTIONS)["files"] == 0


def test_a_recording_that_is_gone_becomes_a_row_with_its_reason(paths: list[Path], tmp_path: Path) -> None:
    copies = [Path(shutil.copy(path, tmp_path)) for path in paths[:6]]
    extract(copies, tmp_path / "own", TINY, **OPTIONS)
    change(tmp_path / "own" / "features-00000.npy", HEADER_BYTES, random.Random(0))
    copies[0].unlink()
    report = extract(copies[1:], tmp_path / "own", TINY, repair=True, **OPTIONS)
    assert [row["path"] for row in report["failures"]] == [str(copies[0])]
    assert check(tmp_path / "own", quiet=True)["passed"]


def test_a_damaged_index_is_written_anew(out: Path, paths: list[Path]) -> None:
    before = content(out)
    change(out / INDEX, 500, random.Random(0))
    with pytest.raises(CumelError, match=r"index.parquet: not a usable index .*; run the same `cumel extract` again"):
        Store(out)
    assert check(out, quiet=True)["files"][0]["file"] == INDEX
    report = extract(paths, out, TINY, **OPTIONS)
    assert (report["files"], len(report["notes"])) == (0, 1)
    assert content(out) == before


def as_an_earlier_version(folder: Path) -> None:
    """Write a store's files as they were before there were checksums."""
    for path in folder.glob("*.parquet"):
        pq.write_table(read_sealed(path).drop_columns(["crc32"]), path)
    values = json.loads((folder / "config.json").read_text())
    values.pop("crc32")
    (folder / "config.json").write_text(json.dumps(values | {"format": 2}, indent=2) + "\n")


def test_a_store_of_an_earlier_version_is_read_and_said_to_have_no_checksums(
    out: Path, paths: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = everything(out)[2]
    as_an_earlier_version(out)
    assert everything(out)[2] == expected
    assert main(["verify", str(out)]) == 0
    assert "30 recordings came from an earlier version, without a checksum" in capsys.readouterr().out
    convert(out, tmp_path / "npy", "npy")
    write(paths[0].parent / "more.wav", tone())
    extract([*paths, paths[0].parent / "more.wav"], out, TINY, **OPTIONS)
    (paths[0].parent / "more.wav").unlink()
    assert everything(out)[2][:30] == expected
    report = check(out, quiet=True)
    assert (report["checked"], report["unchecked"], report["passed"]) == (1, 30, True)
