"""A recording's path, its name and what it is are three things: links, moves, changes, copies, and what finds a row."""

import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from cumel.esc50.extraction.local import extract
from cumel.esc50.inputs.find import resolve
from cumel.esc50.inputs.naming import absolute, escaped, key_of, unescaped
from cumel.esc50.store import Store
from cumel.esc50.store.shards import INDEX, sidecars
from cumel.kernels import CumelError

from support.recordings import TINY, content, tiny_log_mel, tone, write

OPTIONS: dict[str, Any] = {"device": torch.device("cpu"), "quiet": True, "shard_bytes": 3000}


def noise(path: Path, seed: int) -> Path:
    return write(path, np.random.default_rng(seed).normal(0, 0.1, 900 + seed))


def run(out: Path, *inputs: Path | str, **options: Any) -> dict[str, Any]:
    return extract(resolve(inputs), out, TINY, **OPTIONS, **options)


def linked(root: Path) -> Path:
    """Make a folder of links as caches of data sets do: the content under names of its own, elsewhere."""
    names = {"train/dog.wav": "0a1b", "train/cat.wav": "0c2d", "test/same-dog.wav": "0a1b", "test/cow.wav": "0e3f"}
    for number, blob in enumerate(sorted(set(names.values()))):
        noise(root / "blobs" / f"{blob}.wav", number).rename(root / "blobs" / blob)
    for name, blob in names.items():
        link = root / "snapshots" / "r1" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(root / "blobs" / blob, link.parent))
    return root / "snapshots" / "r1"


def test_links_keep_their_names_and_a_second_name_is_said_and_found(tmp_path: Path) -> None:
    data, out = linked(tmp_path / "cache"), tmp_path / "out"
    report = run(out, data)
    assert (report["files"], report["n_duplicates"]) == (3, 1)
    assert report["duplicates"] == [{"path": str(data / "train/dog.wav"), "same_as": str(data / "test/same-dog.wav")}]
    store = Store(out)
    assert [row["name"] for row in store.rows] == ["test/cow.wav", "test/same-dog.wav", "train/cat.wav"]
    assert [row["path"] for row in store.rows] == [str(data / row["name"]) for row in store.rows]
    blob = tmp_path / "cache" / "blobs" / "0a1b"
    for name in ("same-dog.wav", "dog.wav", "train/dog.wav", data / "train" / "dog.wav", blob):
        assert store.row(name)["name"] == "test/same-dog.wav"
    before = content(out)
    assert run(out, data)["files"] == 0
    assert content(out) == before
    later = data / "later" / "hound.wav"  # another link, found by another call
    later.parent.mkdir()
    later.symlink_to(blob)
    assert run(out, later)["files"] == 0
    shutil.rmtree(tmp_path / "cache")
    for name in ("hound.wav", "train/dog.wav"):
        assert Store(out).row(name)["name"] == "test/same-dog.wav"


def test_a_link_that_leads_elsewhere_now_is_the_same_recording_changed(tmp_path: Path) -> None:
    data, out = linked(tmp_path / "cache"), tmp_path / "out"
    run(out, data)
    order = [row["path"] for row in Store(out).rows]
    noise(tmp_path / "new.wav", 9).rename(tmp_path / "cache" / "blobs" / "ffff")
    (data / "train" / "cat.wav").unlink()
    (data / "train" / "cat.wav").symlink_to(tmp_path / "cache" / "blobs" / "ffff")
    report = run(out, data)
    assert (report["files"], report["changed"], report["moved"], report["gone"]) == (1, 1, 0, 0)
    assert [row["path"] for row in Store(out).rows] == order
    np.testing.assert_array_equal(Store(out)["cat.wav"], tiny_log_mel(data / "train" / "cat.wav"))
    (data / "train" / "dog.wav").unlink()
    (data / "train" / "dog.wav").symlink_to(noise(tmp_path / "dog.wav", 8))
    run(out, data)
    np.testing.assert_array_equal(Store(out)[data / "train" / "dog.wav"], tiny_log_mel(tmp_path / "dog.wav"))


def mv(old: Path, new: Path) -> None:
    old.rename(new)


def copy_without_times(old: Path, new: Path) -> None:
    shutil.copytree(old, new, copy_function=shutil.copyfile)
    shutil.rmtree(old)


def behind_a_link(old: Path, new: Path) -> None:
    old.rename(new)
    old.symlink_to(new)


def into_an_annex(old: Path, new: Path) -> None:
    """Move each file away, and leave a link in its place."""
    for number, path in enumerate(sorted(old.rglob("*.wav"))):
        new.mkdir(exist_ok=True)
        path.rename(new / f"{number}.wav")
        path.symlink_to(new / f"{number}.wav")
    shutil.copytree(old, new / "links", symlinks=True)


@pytest.mark.parametrize("move", [mv, copy_without_times, behind_a_link, into_an_annex])
def test_a_data_set_that_moved_is_not_extracted_again(tmp_path: Path, move: Callable[[Path, Path], None]) -> None:
    old, new, out = tmp_path / "old", tmp_path / "new", tmp_path / "out"
    for number, name in enumerate(["a.wav", "sub/a.wav", "b.wav"]):
        noise(old / name, number)
    shutil.copy(old / "a.wav", old / "c.wav")  # equal content: names tell which is which
    (old / "bad.wav").write_text("no sound")
    run(out, old)
    before = {row["name"]: row for row in Store(out).rows}
    move(old, new)
    given = new / "links" if move is into_an_annex else new
    report = run(out, given)
    assert (report["files"], report["kept"], report["gone"], report["failed_before"]) == (0, 5, 0, 1)
    assert report["moved"] == 5
    assert any("5 recordings moved" in note for note in report["notes"])
    assert str(given / "bad.wav") in report["failures"][0]["error"]
    store = Store(out)
    for row in store.rows:
        assert row["path"] == str(given / row["name"])
        assert all(row[name] == before[row["name"]][name] for name in ("shard", "offset", "n_frames", "status"))
    np.testing.assert_array_equal(store[given / "sub" / "a.wav"], tiny_log_mel(given / "sub" / "a.wav"))
    again = content(out)
    assert run(out, given)["moved"] == 0
    assert content(out) == again
    (out / INDEX).unlink()
    assert Store(out).rows == store.rows
    write(given / "b.wav", tone())  # a moved file may change as well
    assert run(out, given)["changed"] == 1
    np.testing.assert_array_equal(Store(out)[given / "b.wav"], tiny_log_mel(given / "b.wav"))
    assert len(Store(out)) == 5


def test_a_copy_beside_the_original_is_another_recording_and_said(tmp_path: Path) -> None:
    noise(tmp_path / "a" / "1.wav", 1)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").mkdir()
    os.link(tmp_path / "a" / "1.wav", tmp_path / "c" / "1.wav")
    run(tmp_path / "out", tmp_path / "a")
    report = run(tmp_path / "out", tmp_path / "b", tmp_path / "c")
    assert (report["files"], report["moved"], report["n_copies"]) == (2, 0, 2)
    assert report["copies"][0] == {"path": str(tmp_path / "b/1.wav"), "copy_of": str(tmp_path / "a/1.wav")}
    with pytest.raises(
        CumelError, match=r"3 recordings are named 1\.wav: .*/a/1\.wav, .*/b/1\.wav, .*more of its path"
    ):
        Store(tmp_path / "out")["1.wav"]
    assert Store(tmp_path / "out").row("b/1.wav")["path"] == str(tmp_path / "b" / "1.wav")


def test_same_names_and_sizes_of_other_content_are_not_taken_for_moved(tmp_path: Path) -> None:
    write(tmp_path / "clean" / "1.wav", tone(5.0, level=0.5))
    run(tmp_path / "out", tmp_path / "clean")
    write(tmp_path / "noisy" / "1.wav", tone(5.0, level=0.4))
    shutil.rmtree(tmp_path / "clean")
    report = run(tmp_path / "out", tmp_path / "noisy")
    assert (report["files"], report["moved"], report["gone"]) == (1, 0, 1)
    assert report["gone_files"] == [str(tmp_path / "clean" / "1.wav")]


def test_an_older_stores_rows_are_found_kept_and_recognised(tmp_path: Path) -> None:
    """Its rows have neither names nor fingerprints, and real paths."""
    old, out = tmp_path / "old", tmp_path / "out"
    for number in range(6):
        noise(old / f"{number}.wav", number)
    run(out, old)
    for path in [*(one.path for one in sidecars(out)), out / INDEX]:
        table = pq.read_table(path)
        pq.write_table(table.drop_columns(["name", "real", "also", "fingerprint", "crc32"]), path)
    np.testing.assert_array_equal(Store(out)["3.wav"], tiny_log_mel(old / "3.wav"))
    assert run(out, old)["files"] == 0
    old.rename(tmp_path / "new")
    noise(tmp_path / "new" / "6.wav", 6)
    report = run(out, tmp_path / "new")
    assert (report["files"], report["moved"], report["kept"]) == (1, 6, 6)
    assert [row["name"] for row in Store(out).rows] == [f"{number}.wav" for number in range(7)]


NAMES = [
    b"\xff.wav",
    rb"\xff.wav",
    rb"\x5cxff.wav",
    b"\\\xff.wav",
    b"a\nb.wav",
    "é.wav".encode(),
    b"\\.wav",
    b"e\xcc\x81.wav",
]


def test_every_name_has_its_own_key(tmp_path: Path) -> None:
    keys = [escaped(os.fsdecode(name)) for name in NAMES]
    assert len(set(keys)) == len(NAMES)
    assert [os.fsencode(unescaped(key)) for key in keys] == NAMES
    rng = np.random.default_rng(0)
    drawn = {bytes(rng.choice(list(b"\\xf5c0\xff\xc3\xa9"), size)) for size in range(1, 9) for _ in range(400)}
    texts = {escaped(os.fsdecode(name)): name for name in drawn}
    assert len(texts) == len(drawn)
    assert all(os.fsencode(unescaped(text)) == name for text, name in texts.items())
    expected = {}
    for number, name in enumerate(NAMES):
        path = noise(tmp_path / "in.wav", number)
        expected[name] = tiny_log_mel(path)
        path.rename(tmp_path / os.fsdecode(name))
    run(tmp_path / "out", tmp_path)
    store = Store(tmp_path / "out")
    assert len(store) == len(NAMES)
    for name in NAMES:
        path = tmp_path / os.fsdecode(name)
        for asked in (path, path.name):
            np.testing.assert_array_equal(store[asked], expected[name])


def test_a_row_is_found_by_its_own_path(tmp_path: Path) -> None:
    for number, name in enumerate((b"caf\xe9.wav", rb"back\slash.wav", b"a\nb.wav")):
        noise(tmp_path / "in.wav", number).rename(tmp_path / os.fsdecode(name))
    run(tmp_path / "out", tmp_path)
    store = Store(tmp_path / "out")
    for row in store.rows:
        assert store.row(row["path"]) == store.row(row["name"]) == row


def test_a_name_in_another_unicode_form_is_found(tmp_path: Path) -> None:
    apart = unicodedata.normalize("NFD", "Glück.wav")
    noise(tmp_path / "in" / apart, 1)
    run(tmp_path / "out", tmp_path / "in")
    assert Store(tmp_path / "out").row(unicodedata.normalize("NFC", apart))["name"] == apart
    with pytest.raises(CumelError, match="has no features of glück"):
        Store(tmp_path / "out")["glück.wav"]


def test_paths_are_read_as_the_system_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise(tmp_path / "real" / "deep" / "a.wav", 1)
    noise(tmp_path / "real" / "b.wav", 2)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "deep")
    monkeypatch.chdir(tmp_path)
    assert absolute("link/../b.wav") == str(tmp_path / "real" / "b.wav")  # not ./b.wav
    assert absolute("./link//a.wav") == str(tmp_path / "link" / "a.wav")
    report = run(tmp_path / "out", "link/../b.wav", "real/b.wav", "link/a.wav", "real/deep")
    assert (report["files"], report["n_duplicates"]) == (2, 1)
    assert [row["name"] for row in Store(tmp_path / "out").rows] == ["b.wav", "link/a.wav"]
    assert key_of("link/a.wav") == str(tmp_path / "real" / "deep" / "a.wav")


def test_a_path_comes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise(tmp_path / "a.wav", 1)
    noise(tmp_path / "sub" / "a.wav", 2)
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "out", "a.wav", tmp_path / "sub")
    assert Store("out").row("a.wav")["path"] == str(tmp_path / "a.wav")
    monkeypatch.chdir(tmp_path / "sub")
    assert Store("../out").row("a.wav")["path"] == str(tmp_path / "sub" / "a.wav")
    monkeypatch.chdir("/")
    with pytest.raises(CumelError, match=r"2 recordings are named a\.wav"):
        Store(tmp_path / "out").row("a.wav")
