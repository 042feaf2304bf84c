"""Nothing is lost or done twice: killed, interrupted, full disk, other inputs, two at once."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from cumel.esc50 import shards as shards_module
from cumel.esc50.extract import extract
from cumel.esc50.shards import INDEX, sidecars
from cumel.esc50.store import Store
from cumel.kernels import CumelError, log_mel

from recordings import TINY, tone, write

CPU = torch.device("cpu")
SHARD_BYTES = 3000
KILLS = 50
OPTIONS: dict[str, Any] = {"device": CPU, "quiet": True, "shard_bytes": SHARD_BYTES}


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Return thirty clips of 0.1 to 0.4 s; one of them is no recording."""
    rng = np.random.default_rng(0)
    paths = [write(tmp_path / "in" / f"{i:02}.wav", rng.normal(0, 0.1, 800 + 97 * i)) for i in range(30)]
    paths[7].write_text("not audio")
    return paths


def content(folder: Path) -> dict[str, bytes]:
    """Return every file of a store but its lock, which names a process."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != ".lock"}


def features(path: Path) -> np.ndarray:
    return log_mel(soundfile.read(path, dtype="float32")[0], TINY)


@pytest.fixture
def forkserver() -> ForkServerContext:
    """Start processes that have torch already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cumel.esc50.extract"])
    return context


def test_killed_at_random_the_store_is_that_of_one_run(
    tmp_path: Path, paths: list[Path], forkserver: ForkServerContext
) -> None:
    extract(paths, tmp_path / "whole", TINY, **OPTIONS)
    expected = content(tmp_path / "whole")
    assert len(sidecars(tmp_path / "whole")) > 8

    def run(out: Path) -> multiprocessing.process.BaseProcess:
        process = forkserver.Process(target=extract, args=(paths, out, TINY), kwargs=OPTIONS)
        process.start()
        return process

    for name in ("first", "timed"):  # the first one waits for the server, and its imports
        begin = time.monotonic()
        process = run(tmp_path / name)
        process.join(60)
        assert process.exitcode == 0
        longest = time.monotonic() - begin
    chance, kills, stores, unfinished = random.Random(0), 0, 0, 0
    while kills < KILLS or unfinished:
        out = tmp_path / f"killed{stores}"
        process = run(out)
        process.join(chance.uniform(0, longest) if kills < KILLS else 60)
        if process.exitcode is None:
            process.kill()
            process.join(60)
        if process.exitcode == 0:
            assert content(out) == expected
            stores, unfinished = stores + 1, 0
        else:
            assert process.exitcode == -signal.SIGKILL
            kills, unfinished = kills + 1, unfinished + 1
    assert kills == KILLS
    assert stores > 1


def test_the_same_call_again_has_nothing_to_do(tmp_path: Path, paths: list[Path]) -> None:
    out = tmp_path / "out"
    first = extract(paths, out, TINY, **OPTIONS)
    assert (first["files"], first["failed"], first["kept"]) == (30, 1, 0)
    before = content(out)
    second = extract(paths, out, TINY, **OPTIONS)
    assert (second["files"], second["failed"], second["kept"], second["failed_before"]) == (0, 0, 30, 1)
    assert content(out) == before
    (out / INDEX).unlink()  # killed before the index
    extract(paths, out, TINY, **OPTIONS)
    assert content(out) == before


def test_other_inputs_add_to_a_store(tmp_path: Path, paths: list[Path]) -> None:
    out = tmp_path / "out"
    extract(paths[5:10], out, TINY, **OPTIONS)
    report = extract([*paths[:12], paths[3]], out, TINY, **OPTIONS)
    assert (report["files"], report["kept"]) == (7, 5)
    store = Store(out)
    assert [Path(row["path"]).name for row in store.rows] == [
        path.name for path in [*paths[5:10], *paths[:5], *paths[10:12]]
    ]
    for path in [path for path in paths[:12] if path != paths[7]]:
        np.testing.assert_array_equal(store[path], features(path))


def test_a_retry_takes_what_failed_or_changed(tmp_path: Path, paths: list[Path]) -> None:
    out = tmp_path / "out"
    extract(paths, out, TINY, **OPTIONS)
    order = [row["path"] for row in Store(out).rows]
    write(paths[7], tone())
    write(paths[11], tone(hz=1000))
    paths[12].unlink()  # keeps what it has
    report = extract(paths, out, TINY, retry_errors=True, **OPTIONS)
    assert (report["files"], report["failed"], report["kept"], report["failed_before"]) == (2, 0, 28, 0)
    store = Store(out)
    assert [row["path"] for row in store.rows] == order
    assert {row["status"] for row in store.rows} == {"ok"}
    for path in (paths[7], paths[11], paths[13]):
        np.testing.assert_array_equal(store[path], features(path))
    assert extract(paths, out, TINY, retry_errors=True, **OPTIONS)["files"] == 0


def test_starting_over_keeps_the_old_store_until_there_is_a_new_shard(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, other = tmp_path / "out", TINY.replace(n_mels=12)
    extract(paths, out, TINY, **OPTIONS)
    before = content(out)
    with monkeypatch.context() as patch:
        patch.setattr(shards_module.ShardWriter, "complete", interrupt)
        with pytest.raises(KeyboardInterrupt, match="without --overwrite goes on"):
            extract(paths, out, other, overwrite=True, **OPTIONS)
    assert content(out) == before
    extract(paths, out, other, overwrite=True, **OPTIONS)
    extract(paths, tmp_path / "new", other, **OPTIONS)
    assert content(out) == content(tmp_path / "new")


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_interrupt_finishes_the_shard_and_the_next_call_goes_on(tmp_path: Path, paths: list[Path]) -> None:
    extract(paths, tmp_path / "whole", TINY, **OPTIONS)
    out = tmp_path / "out"
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match=r"out keeps \d+ files; the same call goes on"), when_shards(2):
        extract(paths, out, TINY, **OPTIONS)
    assert signal.getsignal(signal.SIGINT) is before
    done = len(Store(out))
    assert len(sidecars(out)) == 3
    assert not list(out.glob(".*.part"))
    assert extract(paths, out, TINY, **OPTIONS)["kept"] == done
    assert content(out) == content(tmp_path / "whole")


class when_shards:  # noqa: N801
    """Send this process SIGINT while it writes its n-th shard."""

    def __init__(self, n: int) -> None:
        self.n, self.patch = n, pytest.MonkeyPatch()

    def __enter__(self) -> None:
        add = shards_module.ShardWriter.add

        def patched(writer: shards_module.ShardWriter, *arguments: Any) -> None:
            if writer.number == self.n and not writer.rows:
                os.kill(os.getpid(), signal.SIGINT)
            add(writer, *arguments)

        self.patch.setattr(shards_module.ShardWriter, "add", patched)

    def __exit__(self, *_: object) -> None:
        self.patch.undo()


def test_two_processes_do_not_share_a_store(tmp_path: Path, paths: list[Path]) -> None:
    code = "import sys, time; from cumel.esc50.lock import locked; from pathlib import Path\n"
    code += "with locked(Path(sys.argv[1])): print('locked', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "out"], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(CumelError, match=rf"out: process {other.pid} on .* is writing there; wait for it"):
            extract(paths, tmp_path / "out", TINY, **OPTIONS)
        other.kill()
    assert extract(paths, tmp_path / "out", TINY, **OPTIONS)["files"] == 30


class Full:
    """A file on a disk that is full after so many bytes."""

    def __init__(self, path: Path, room: int) -> None:
        self.file, self.room = path.open("wb"), room

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, data: Any) -> int:
        if self.file.tell() + len(data) > self.room:
            raise OSError(28, "No space left on device")
        return self.file.write(data)


@pytest.mark.parametrize("room", [100, 3000])
def test_a_full_disk_keeps_whole_shards(
    tmp_path: Path, paths: list[Path], room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    opened = shards_module.ShardWriter._open

    def limited(writer: shards_module.ShardWriter) -> Any:
        if writer.number == 3 and writer._file is None:
            path = shards_module.part_of(shards_module.shard_path(writer.folder, writer.number))
            writer._file = Full(path, room)  # type: ignore[assignment]
            writer._header(writer._file)
            writer._header_bytes = writer._file.tell()
        return opened(writer)

    with monkeypatch.context() as patch:
        patch.setattr(shards_module.ShardWriter, "_open", limited)
        with pytest.raises(CumelError, match=r"features-00003.npy: cannot be .*No space left.*free some.*kept"):
            extract(paths, out, TINY, **OPTIONS)
    assert len(sidecars(out)) == 3
    assert not list(out.glob(".*.part"))
    for row in Store(out).rows:
        if row["status"] == "ok":
            np.testing.assert_array_equal(Store(out)[row["path"]], features(Path(row["path"])))
    extract(paths, out, TINY, **OPTIONS)
    extract(paths, tmp_path / "whole", TINY, **OPTIONS)
    assert content(out) == content(tmp_path / "whole")


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "shard gone": (lambda out: (out / "features-00001.npy").unlink(), "features-00001.npy: damaged"),
    "shard cut": (lambda out: os.truncate(out / "features-00001.npy", 500), "features-00001.npy: damaged"),
    "sidecar": (lambda out: (out / "features-00002.parquet").write_text("rows"), "features-00002.parquet: not usable"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_shard_is_named_and_can_be_made_anew(tmp_path: Path, paths: list[Path], damage: str) -> None:
    out = tmp_path / "out"
    extract(paths, out, TINY, **OPTIONS)
    harm, message = DAMAGE[damage]
    harm(out)
    with pytest.raises(CumelError, match=message) as caught:
        extract(paths, out, TINY, **OPTIONS)
    name = "features-00001.parquet" if damage != "sidecar" else "features-00002.parquet"
    assert "delete" in str(caught.value)
    (out / name).unlink()
    extract(paths, out, TINY, **OPTIONS)
    store = Store(out)
    for path in [path for path in paths if path != paths[7]]:
        np.testing.assert_array_equal(store[path], features(path))
