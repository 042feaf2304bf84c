"""Nothing is lost or done twice: the same call again, other inputs, retries, starting over, two at once, damage."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cumel.esc50.cli import main
from cumel.esc50.extraction.local import extract
from cumel.esc50.store import CONFIG, Store, writer as writer_module
from cumel.esc50.store.shards import INDEX
from cumel.kernels import CumelError, Normalize

from support.recordings import TINY, content, thirty, tiny_log_mel, tone, write

CPU = torch.device("cpu")
SHARD_BYTES = 3000
OPTIONS: dict[str, Any] = {"device": CPU, "quiet": True, "shard_bytes": SHARD_BYTES}


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return thirty(tmp_path / "in")


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
        np.testing.assert_array_equal(store[path], tiny_log_mel(path))


def test_what_changed_is_taken_again_and_what_is_gone_is_said(tmp_path: Path, paths: list[Path]) -> None:
    out = tmp_path / "out"
    extract(paths, out, TINY, **OPTIONS)
    order = [row["path"] for row in Store(out).rows]
    write(paths[7], tone())
    write(paths[11], tone(hz=1000))
    os.utime(paths[13], ns=(0, 10**18))  # the size stays
    paths[12].unlink()  # its row stays
    report = extract(paths, out, TINY, **OPTIONS)
    assert (report["files"], report["failed"], report["kept"], report["failed_before"]) == (3, 0, 27, 0)
    assert (report["changed"], report["gone"], report["gone_files"]) == (3, 1, [str(paths[12])])
    assert [note for note in report["notes"] if "changed" in note or "gone" in note] == [
        "3 recordings changed since; taken again",
        f"1 recording is gone; their rows stay: {paths[12]}",
    ]
    store = Store(out)
    assert [row["path"] for row in store.rows] == order
    assert {row["status"] for row in store.rows} == {"ok"}
    for path in (paths[7], paths[11], paths[13]):
        np.testing.assert_array_equal(store[path], tiny_log_mel(path))
    assert extract(paths, out, TINY, retry_errors=True, **OPTIONS)["files"] == 0
    rest = [path for path in paths if path != paths[12]]
    assert extract(rest, out, TINY, **OPTIONS)["gone_files"] == [str(paths[12])]  # although it is not among the inputs


def test_a_retry_takes_what_failed_although_it_did_not_change(tmp_path: Path, paths: list[Path]) -> None:
    out = tmp_path / "out"
    extract(paths, out, TINY, **OPTIONS)
    assert extract(paths, out, TINY, **OPTIONS)["files"] == 0
    report = extract(paths, out, TINY, retry_errors=True, **OPTIONS)
    assert (report["files"], report["failed"], report["kept"]) == (1, 1, 29)


def test_a_recording_that_changes_into_no_recording_loses_its_features(tmp_path: Path, paths: list[Path]) -> None:
    out = tmp_path / "out"
    extract(paths, out, TINY, **OPTIONS)
    paths[3].write_text("no sound")
    assert extract(paths, out, TINY, **OPTIONS)["failed"] == 1
    with pytest.raises(CumelError, match=r"03\.wav could not be extracted: .*no known format"):
        Store(out)[paths[3]]


def test_rows_of_failures_can_be_dropped(tmp_path: Path, paths: list[Path]) -> None:
    out = tmp_path / "out"
    extract(paths, out, TINY, **OPTIONS)
    paths[3].write_text("no sound")
    good = [path for path in paths if path not in (paths[3], paths[7])]
    report = extract(paths, out, TINY, drop_errors=True, **OPTIONS)
    assert (report["failed"], report["failed_before"], report["dropped"]) == (1, 1, 2)
    assert [row["path"] for row in Store(out).rows] == list(map(str, good))
    before = content(out)
    assert extract(good, out, TINY, drop_errors=True, **OPTIONS)["dropped"] == 0
    assert content(out) == before
    (out / INDEX).unlink()
    assert len(Store(out)) == 28
    write(paths[3], tone())  # a dropped recording is taken when it is asked for
    report = extract(paths, out, TINY, **OPTIONS)
    assert (report["files"], report["failed"], report["kept"]) == (2, 1, 28)
    assert [row["path"] for row in Store(out).rows] == list(map(str, paths))
    np.testing.assert_array_equal(Store(out)[paths[3]], tiny_log_mel(paths[3]))


@pytest.mark.parametrize("killed", [False, True], ids=["finished", "killed before the index"])
def test_the_exit_code_is_the_state_of_what_is_asked_for(
    tmp_path: Path, paths: list[Path], killed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(*more: Path | str) -> tuple[int, str, str]:
        code = main(["extract", *map(str, more), "--out", str(tmp_path / "out"), "--device", "cpu", "--preset=compact"])
        if killed:
            (tmp_path / "out" / INDEX).unlink(missing_ok=True)
        return code, *capsys.readouterr()

    folder, bad, good = paths[0].parent, paths[7], paths[3]
    for inputs, code in [([folder], 1), ([folder], 1), ([good], 0), ([bad], 1), ([bad, good], 1), ([good], 0)]:
        given, _, err = ask(*inputs)
        assert (given, "07.wav: not readable as audio" in err) == (code, code == 1)
        given, out, _ = ask(*inputs, "--json")
        report = json.loads(out)
        assert given == code == min(1, report["failed"] + report["failed_before"])
        assert len(report["failures"]) == code


def test_starting_over_keeps_the_old_store_until_there_is_a_new_shard(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, other = tmp_path / "out", TINY.replace(n_mels=12)
    extract(paths, out, TINY, **OPTIONS)
    before = content(out)

    def kill(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(writer_module.ShardWriter, "complete", kill)
        with pytest.raises(SystemExit):
            extract(paths, out, other, overwrite=True, **OPTIONS)
    assert content(out) == before
    extract(paths, out, other, overwrite=True, **OPTIONS)
    extract(paths, tmp_path / "new", other, **OPTIONS)
    assert content(out) == content(tmp_path / "new")


def test_two_processes_do_not_share_a_store(tmp_path: Path, paths: list[Path]) -> None:
    code = "import sys, time; from cumel.esc50.system.lock import locked; from pathlib import Path\n"
    code += "with locked(Path(sys.argv[1])): print('locked', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "out"], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(CumelError, match=rf"out: process {other.pid} on .* is writing there; wait for it"):
            extract(paths, tmp_path / "out", TINY, **OPTIONS)
        other.kill()
    assert extract(paths, tmp_path / "out", TINY, **OPTIONS)["files"] == 30


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
        np.testing.assert_array_equal(store[path], tiny_log_mel(path))


# The config that a store of TINY had before configs described the front ends of pretrained models.
EARLIER = """{
  "format": 3,
  "kind": "logmel",
  "dtype": "float32",
  "features": {
    "sr": 8000, "n_fft": 256, "hop_length": 128, "win_length": null, "window": "hann", "center": true,
    "pad_mode": "constant", "power": 2.0, "n_mels": 16, "fmin": 0.0, "fmax": null, "htk": false, "norm": "slaney",
    "ref": 1.0, "amin": 1e-10, "top_db": 80.0, "n_mfcc": 20, "lifter": 0.0
  },
  "versions": {"cumel": "0.3.0", "numpy": "2.3.1", "soundfile": "0.13.1", "soxr": "1.0.0", "torch": "2.8.0"},
  "device": "cpu",
  "decoder": "libsndfile 1.2.2",
  "resampler": "soxr, HQ",
  "crc32": 3640164620
}
"""


def test_a_store_from_before_a_field_was_there_goes_on(tmp_path: Path, paths: list[Path]) -> None:
    out = tmp_path / "out"
    extract(paths[:5], out, TINY, **OPTIONS)
    before = content(out)
    (out / CONFIG).write_text(EARLIER)
    assert Store(out).config.features == TINY
    report = extract(paths[:6], out, TINY, **OPTIONS)
    assert (report["files"], report["kept"]) == (1, 5)
    assert (out / CONFIG).read_text() == EARLIER
    assert {name: data for name, data in content(out).items() if name in before} == before | {
        name: content(out)[name] for name in (CONFIG, INDEX)
    }
    store = Store(out)
    for path in paths[:6]:
        np.testing.assert_array_equal(store[path], tiny_log_mel(path))
    for changes, message in (
        ({"log": "ln"}, "log=db, not ln"),
        ({"time_major": True}, "time_major=False, not True"),
        ({"normalize": Normalize()}, "normalize=None, not Normalize"),
    ):
        with pytest.raises(CumelError, match=message):
            extract(paths[:6], out, TINY.replace(**changes), **OPTIONS)
