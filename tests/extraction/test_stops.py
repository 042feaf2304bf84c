"""Killed, out of room: what was complete is kept, and the next call goes on to the same bytes."""

import itertools
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cumel.esc50.cli import main
from cumel.esc50.extraction import local as module, short
from cumel.esc50.extraction.local import extract
from cumel.esc50.store import Store, writer as writer_module
from cumel.esc50.store.shards import sidecars
from cumel.kernels import CumelError

from support.interrupts import at_recording, out_of_memory_at
from support.recordings import TINY, content, thirty, tiny_log_mel

CPU = torch.device("cpu")
SHARD_BYTES = 3000
KILLS = 50
OPTIONS: dict[str, Any] = {"device": CPU, "quiet": True, "shard_bytes": SHARD_BYTES}


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return thirty(tmp_path / "in")


@pytest.fixture
def forkserver() -> ForkServerContext:
    """Start processes that have torch already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cumel.esc50.extraction.local"])
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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount an empty file system of 8 KB, where this process may."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k,nr_inodes=1000", "cumel-test", place]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs mount, of util-linux")
    if done.returncode:
        pytest.skip(f"may not mount a file system: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
def test_a_full_disk_keeps_what_is_complete_however_often_it_fills(
    tmp_path: Path, paths: list[Path], small_disk: Path, long: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if long:  # each recording needs room for a file between its passes as well
        monkeypatch.setattr(short, "WHOLE_BYTES", 1000)
    out, kept, stops = small_disk / "out", 0, 0
    for kilobytes in itertools.count(12, 4):  # a page more each time, so that it is full at every place
        said = what_stops(paths, out)
        if said is None:
            break
        stops += 1
        assert re.search(r"\(No space left on device\); free some space", said)
        if (out / "config.json").exists():
            assert re.search(r"\d MB free; what was complete before is kept, and the same call goes on", said)
            kept = check_kept(out, kept)
        subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", small_disk], check=True)
    assert stops > 10
    extract(paths, tmp_path / "whole", TINY, **OPTIONS)
    assert content(out) == content(tmp_path / "whole")


def what_stops(paths: list[Path], out: Path) -> str | None:
    try:
        extract(paths, out, TINY, **OPTIONS)
    except CumelError as error:
        return str(error)
    return None


def check_kept(out: Path, before: int) -> int:
    """Check that nothing half-written is in a stopped store, that it holds no fewer recordings than before, all right.

    A shard may lie there whose sidecar found no room: it does not count, and the next call removes it.
    """
    assert not list(out.glob(".*.part"))
    store = Store(out)
    for row in store.rows[before:]:
        if row["status"] == "ok":
            np.testing.assert_array_equal(store[row["path"]], tiny_log_mel(Path(row["path"])))
    assert len(store) >= before
    return len(store)


def test_a_full_disk_for_those_who_may_not_mount(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, opened = tmp_path / "out", writer_module.ShardWriter._open

    def full(writer: writer_module.ShardWriter) -> Any:
        if writer.number == 3 and writer._file is None:
            writer_module.part_of(writer_module.shard_path(out, 3)).symlink_to("/dev/full")
        return opened(writer)

    with monkeypatch.context() as patch:
        patch.setattr(writer_module.ShardWriter, "_open", full)
        with pytest.raises(CumelError, match=r"features-00003.npy: cannot be .*No space left.*free some.*kept"):
            extract(paths, out, TINY, **OPTIONS)
    assert len(sidecars(out)) == 3
    check_kept(out, 0)
    extract(paths, out, TINY, **OPTIONS)
    extract(paths, tmp_path / "whole", TINY, **OPTIONS)
    assert content(out) == content(tmp_path / "whole")


def test_a_device_without_memory_is_one_line(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        out_of_memory_at(paths[20], "CUDA out of memory. Tried to allocate 2 GiB.\nMore words", patch)
        with pytest.raises(CumelError, match=r"^cpu: CUDA out of memory. Tried.*GiB.; end what else .*kept") as caught:
            extract(paths, out, TINY, **OPTIONS)
    assert "\n" not in str(caught.value)
    assert len(Store(out)) > 10
    extract(paths, out, TINY, **OPTIONS)
    extract(paths, tmp_path / "whole", TINY, **OPTIONS)
    assert content(out) == content(tmp_path / "whole")


def test_a_disk_that_fails_while_a_shard_grows(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, flushed = tmp_path / "out", []

    def fdatasync(_: int) -> None:
        flushed.append(len(sidecars(out)))
        if flushed[-1] == 2:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(writer_module, "FLUSH_BYTES", 1000)
    monkeypatch.setattr(writer_module, "WRITE_BYTES", 1000)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fdatasync)
        with pytest.raises(CumelError, match=r"features-00002.npy: cannot be written \(Input/output error\)"):
            extract(paths, out, TINY, **OPTIONS)
    assert 0 in flushed
    assert len(sidecars(out)) == 2
    extract(paths, out, TINY, **OPTIONS)
    extract(paths, tmp_path / "whole", TINY, **OPTIONS)
    assert content(out) == content(tmp_path / "whole")


def test_what_the_command_says(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "extract", partial(extract, shard_bytes=SHARD_BYTES))
    options = [
        "--device",
        "cpu",
        "--sr",
        "8000",
        "--n-fft",
        "256",
        "--hop-length",
        "128",
        "--n-mels",
        "16",
        "--fmin",
        "0",
        "--fmax",
        "none",
    ]

    def ask(*more: str) -> tuple[int, str, str]:
        code = main(["extract", str(paths[0].parent), "--out", str(tmp_path / "out"), *options, *more])
        return code, *capsys.readouterr()

    with at_recording(9):
        code, out, err = ask()
    assert (code, out) == (130, "")
    assert re.search(r"cumel: interrupted: .*out keeps 9 files; the same call goes on\n$", err)
    code, out, err = ask("--json")
    report = json.loads(out)
    assert (code, report["failed_before"], report["files"] + report["kept"]) == (1, 1, 30)
    code, out, err = ask()
    assert code == 1
    assert re.fullmatch(r".*07.wav: not readable as audio.*\n", err)
    assert re.fullmatch(
        r"nothing to do: .*out holds all 30 files; 1 of those named here failed, --retry-errors takes them again\n", out
    )
    code, out, err = ask("--retry-errors", "--quiet")
    assert (code, out) == (1, "")
    assert re.fullmatch(r".*07.wav: not readable as audio.*\n", err)
    code, out, err = ask("--hop-length", "64", "--dtype", "float16")
    assert (code, out) == (2, "")
    assert err.endswith(
        "holds features with dtype=float32, not float16; hop_length=128, not 64; --overwrite starts over\n"
    )
    assert "must be local or ray" in ask("--engine", "spark")[2]
    assert "only --engine ray has one" in ask("--address", "auto")[2]
