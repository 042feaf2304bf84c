"""Ctrl-C keeps every recording that is done, however often it comes, and the store ends with the bytes of one run."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cumel.esc50.audio import recording
from cumel.esc50.extraction import check, local, long, short
from cumel.esc50.extraction.job import Job, Result
from cumel.esc50.extraction.local import extract
from cumel.esc50.inputs import Keys
from cumel.esc50.store import Store, writer as writer_module
from cumel.esc50.store.shards import sidecars
from cumel.esc50.store.writer import ShardWriter
from cumel.esc50.system.pipeline import Cancelled
from cumel.esc50.system.stopping import Stop, StoppedError
from cumel.kernels import CumelError

from support.interrupts import at_recording, interrupt, out_of_memory_at
from support.recordings import TINY, content, thirty, tiny_log_mel, tone, write

MANY = 3000  # bytes of a shard
ONE = 1 << 20
OPTIONS: dict[str, Any] = {"device": torch.device("cpu"), "quiet": True, "shard_bytes": ONE}


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return thirty(tmp_path / "in")


def check_right(store: Path, n: int) -> None:
    """Check that a store has `n` recordings, all of them right."""
    assert check(store, quiet=True)["passed"]
    rows = Store(store).rows
    assert len(rows) == n
    for row in rows:
        if row["status"] == "ok":
            np.testing.assert_array_equal(Store(store)[row["path"]], tiny_log_mel(Path(row["path"])))


@pytest.mark.parametrize("shard_bytes", [MANY, ONE], ids=["many shards", "one shard"])
def test_however_often_it_is_interrupted_every_recording_is_kept(
    tmp_path: Path, paths: list[Path], shard_bytes: int
) -> None:
    options = OPTIONS | {"shard_bytes": shard_bytes}
    out, whole, before = tmp_path / "out", tmp_path / "whole", signal.getsignal(signal.SIGINT)
    extract(paths, whole, TINY, **options)
    done = 0
    for n in (*range(4, 29, 4), 30):
        goes_on = pytest.raises(StoppedError, match=rf"out keeps {n} files; the same call goes on")
        with goes_on, at_recording(n - done):
            extract(paths, out, TINY, **options)
        assert signal.getsignal(signal.SIGINT) is before
        assert not list(out.glob(".*.part"))
        check_right(out, n)
        done = n
    assert extract(paths, out, TINY, **options)["kept"] == 30
    assert content(out) == content(whole)
    for path in paths[8:20]:
        os.utime(path, ns=(0, 10**18))
    extract(paths, whole, TINY, **options)
    with pytest.raises(StoppedError, match="keeps 23 files"), at_recording(5):
        extract(paths, out, TINY, **options)
    check_right(out, 30)
    extract(paths, out, TINY, **options)
    assert content(out) == content(whole)


def test_an_open_shard_ends_where_rows_to_come_could_be_taken_for_those_that_moved(
    tmp_path: Path, paths: list[Path]
) -> None:
    out = tmp_path / "out"
    with pytest.raises(StoppedError), at_recording(12):
        extract(paths, out, TINY, **OPTIONS)
    assert [sidecar.is_open for sidecar in sidecars(out)] == [True]
    moved = paths[3].rename(paths[3].with_name("moved.wav"))
    write(paths[3], tone(hz=1234))
    extract([*paths, moved], out, TINY, **OPTIONS)
    assert [sidecar.is_open for sidecar in sidecars(out)] == [False, False]
    check_right(out, 31)


def test_an_open_shard_is_not_gone_on_with_by_recordings_of_another_kind(tmp_path: Path, paths: list[Path]) -> None:
    """New recordings stand before those that are taken again, in shards of their own."""
    out = tmp_path / "out"
    extract(paths[:10], out, TINY, **OPTIONS)
    for path in paths[:6]:
        os.utime(path, ns=(0, 10**18))
    with pytest.raises(StoppedError), at_recording(2):
        extract(paths[:10], out, TINY, **OPTIONS)
    extract(paths, out, TINY, **OPTIONS)
    assert [(sidecar.again, sidecar.is_open) for sidecar in sidecars(out)] == [
        (False, False),
        (True, False),
        (False, False),
        (True, False),
    ]
    check_right(out, 30)


@pytest.mark.parametrize("killed", ["in the shard", "before the sidecar"])
def test_killed_while_an_open_shard_goes_on_nothing_of_it_is_lost(
    tmp_path: Path, paths: list[Path], killed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract(paths, tmp_path / "whole", TINY, **OPTIONS)
    out = tmp_path / "out"
    with pytest.raises(StoppedError), at_recording(12):
        extract(paths, out, TINY, **OPTIONS)

    def kill(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        if killed == "in the shard":
            patch.setattr(ShardWriter, "complete", kill)
            patch.setattr(ShardWriter, "drop", lambda writer: writer._file.close())
        else:
            patch.setattr(writer_module, "write_sealed", kill)
        with pytest.raises(SystemExit):
            extract(paths, out, TINY, **OPTIONS)
    check_right(out, 12)
    assert extract(paths, out, TINY, **OPTIONS)["kept"] == 12
    assert content(out) == content(tmp_path / "whole")


def until_cancelled(asked: threading.Event, hold: Callable[[int], None]) -> None:
    """Interrupt twice, and wait; send each again, as one just before the main thread begins to wait wakes nobody."""
    interrupt()
    while not asked.wait(1):
        interrupt()
    while True:
        interrupt()
        for _ in range(100):
            hold(1)
            time.sleep(0.01)


@pytest.mark.parametrize("place", ["decoding", "writing"])
def test_a_second_interrupt_leaves_a_long_recording_out_and_keeps_the_others(
    tmp_path: Path, paths: list[Path], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract(paths, tmp_path / "whole", TINY, **OPTIONS)
    out, written, asked, now = tmp_path / "out", threading.Semaphore(0), threading.Event(), ""
    add, take, second, ask = ShardWriter.add, short.take, long._second, Stop.ask

    def added(writer: ShardWriter, row: Any, given: Any) -> None:
        nonlocal now
        now = row["path"]
        add(writer, row, given)
        written.release()

    def stops(stop: Stop, *given: Any) -> None:
        asked.set()
        ask(stop, *given)

    def endless(result: Result, hold: Any, *given: Any) -> Result:
        if place == "decoding" and result.path == paths[21]:
            assert all(written.acquire(timeout=60) for _ in range(21))
            until_cancelled(asked, hold)
        return take(result, hold, *given)

    def parts(*given: Any) -> Iterator[np.ndarray]:
        for part in second(*given):
            yield part
            if now == str(paths[21]):
                interrupt(2)
                pytest.fail("the second did not stop it")

    with monkeypatch.context() as patch:
        patch.setattr(ShardWriter, "add", added)
        patch.setattr(Stop, "ask", stops)
        patch.setattr(short, "take", endless)
        if place == "writing":
            patch.setattr(short, "WHOLE_BYTES", 1000)
            patch.setattr(long, "_second", parts)
        with pytest.raises(StoppedError, match="keeps 21 files"):
            extract(paths, out, TINY, **OPTIONS)
    check_right(out, 21)
    extract(paths, out, TINY, **OPTIONS)
    assert content(out) == content(tmp_path / "whole")


def test_a_long_recording_is_not_computed_to_its_end_for_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, blocks = write(tmp_path / "long.wav", tone(60.0)), 0

    def hold(_: int) -> None:
        nonlocal blocks
        blocks += 1
        if blocks > 2:  # the first is for the recording as a whole
            raise Cancelled

    monkeypatch.setattr(short, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(recording, "BLOCK_BYTES", 1000)
    job = Job("logmel", "float32", TINY, torch.device("cpu"), tmp_path)
    helpers = long.Helpers(1, lambda: None)
    with pytest.raises(Cancelled):
        short.take(short.begin(path, Keys()), hold, job, helpers)
    helpers.close()


def test_starting_over_replaces_the_old_store_as_soon_as_a_recording_is_done(tmp_path: Path, paths: list[Path]) -> None:
    out, other = tmp_path / "out", TINY.replace(n_mels=12)
    extract(paths, out, TINY, **OPTIONS)
    before = content(out)

    def nothing(*_: Any) -> Iterator[Result]:
        interrupt(2)
        yield from ()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local._Run, "_results", nothing)
        with pytest.raises(StoppedError, match="out is as it was; the same call starts over"):
            extract(paths, out, other, overwrite=True, **OPTIONS)
    assert content(out) == before
    with pytest.raises(StoppedError, match="keeps 9 files; the same call without --overwrite goes on"), at_recording(9):
        extract(paths, out, other, overwrite=True, **OPTIONS)
    assert len(Store(out)) == 9
    extract(paths, out, other, **OPTIONS)
    extract(paths, tmp_path / "new", other, **OPTIONS)
    assert content(out) == content(tmp_path / "new")


def test_a_faulty_device_keeps_what_is_done_of_the_shard(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        out_of_memory_at(paths[21], "CUDA out of memory.", patch)
        with pytest.raises(CumelError, match="out of memory"):
            extract(paths, out, TINY, **OPTIONS)
    check_right(out, 21)
    extract(paths, out, TINY, **OPTIONS)
    extract(paths, tmp_path / "whole", TINY, **OPTIONS)
    assert content(out) == content(tmp_path / "whole")
