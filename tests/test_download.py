"""`download` on a small archive: a dataset that is whole or absent."""

import errno
import hashlib
import shutil
import zipfile
from collections import namedtuple
from functools import partial
from pathlib import Path

import pytest

from cumel.esc50 import transfer
from cumel.esc50.download import LICENSE_NOTICE, download, is_complete
from cumel.kernels.errors import CumelError

from archive_server import CLIPS, N_CLIPS, TOP, Exchange, Reply, dataset, flip, pack, serve

BREAK = 100_000  # bytes of the archive, after which the server hangs up
PART = "esc50.zip.part"

fetch = partial(download, n_clips=N_CLIPS, backoff=0.001)


@pytest.fixture
def site():
    with serve(pack(dataset())) as site:
        yield site


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data" / "esc50"


def assert_whole(root):
    assert is_complete(root, N_CLIPS)
    for name, content in dataset().items():
        path = root / Path(name).relative_to(TOP)
        assert "tests" in name or path.read_bytes() == content
    assert {path.name for path in root.iterdir()} == {"audio", "meta", "LICENSE", "README.md", "esc50.zip"}


def test_a_first_run_leaves_the_whole_dataset(root, site):
    assert fetch(root, site.url) == root
    assert_whole(root)
    assert (root / "esc50.zip").read_bytes() == site.content
    assert site.log == [Exchange(None, None, 200, len(site.content))]


def test_a_second_run_does_nothing_and_says_so(root, site, capsys):
    fetch(root, site.url)
    (root / "esc50.zip").unlink()
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    capsys.readouterr()
    assert fetch(root, site.url) == root
    assert "complete already, nothing to do" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    assert len(site.log) == 1


def test_a_lost_clip_comes_back_from_the_archive(root, site):
    fetch(root, site.url)
    (root / "audio" / CLIPS[1]).write_bytes(b"cut off")
    (root / "audio" / CLIPS[2]).unlink()
    assert not is_complete(root, N_CLIPS)
    fetch(root, site.url)
    assert_whole(root)
    assert len(site.log) == 1


def test_a_broken_run_resumes_in_the_next_one(root, site, monkeypatch):
    waits = []
    monkeypatch.setattr(transfer.time, "sleep", waits.append)
    site.replies = [Reply(break_after=BREAK), Reply(vanish=True)]
    with pytest.raises(CumelError, match="tried 2 times; run again later, it resumes"):
        fetch(root, site.url, retries=1, backoff=0.25)
    assert waits == [0.25]
    assert (root / PART).stat().st_size == BREAK
    assert not is_complete(root, N_CLIPS)
    fetch(root, site.url)
    assert_whole(root)
    assert site.log[2:] == [Exchange(f"bytes={BREAK}-", '"first"', 206, len(site.content) - BREAK)]


def test_only_web_addresses(root):
    with pytest.raises(CumelError, match="url=file:///etc/passwd is not a web address"):
        fetch(root, "file:///etc/passwd")


def test_the_right_checksum_passes(root, site):
    fetch(root, site.url, sha256=hashlib.sha256(site.content).hexdigest().upper())
    assert_whole(root)


def test_the_wrong_checksum_names_both_and_removes_the_archive(root, site):
    expected, actual = hashlib.sha256(b"").hexdigest(), hashlib.sha256(site.content).hexdigest()
    with pytest.raises(CumelError, match=f"is {actual} where {expected} is expected; it was removed, run the same"):
        fetch(root, site.url, sha256=expected)
    assert list(root.iterdir()) == []
    fetch(root, site.url)
    assert_whole(root)


def test_a_mistyped_checksum_costs_nothing(root, site):
    with pytest.raises(CumelError, match="sha256=abc is not a SHA-256 checksum"):
        fetch(root, site.url, sha256="abc")
    assert site.log == []


def without(name):
    return pack({key: content for key, content in dataset().items() if key != TOP + name})


def with_table(content):
    return pack(dataset() | {TOP + "meta/esc50.csv": content})


BAD_ARCHIVES = {
    "flipped bit": (flip(pack(dataset())), r"it is damaged \(Bad CRC-32 for file"),
    "web page": (b"<html>sign in</html>", "File is not a zip file"),
    "unsafe": (pack(dataset() | {"../evil.txt": b""}), r"'\.\./evil.txt' is unsafe"),
    "empty": (pack({}), "meta/esc50.csv is missing"),
    "no table": (without("meta/esc50.csv"), "meta/esc50.csv is missing"),
    "no clip": (without(f"audio/{CLIPS[3]}"), f"1 of {N_CLIPS} clips are missing, audio/{CLIPS[3]} first"),
    "short table": (with_table(b"filename\na.wav"), f"1 clips where {N_CLIPS} are"),
    "no UTF-8": (with_table(b"\xff\xfe\na.wav"), f"1 clips where {N_CLIPS} are"),
}


@pytest.mark.parametrize(("content", "fault"), BAD_ARCHIVES.values(), ids=BAD_ARCHIVES)
def test_a_bad_archive_is_named_and_removed(root, site, content, fault):
    good, site.content = site.content, content
    with pytest.raises(CumelError, match=rf"{fault}.*; it was removed, run the same command again") as caught:
        fetch(root, site.url)
    assert "\n" not in str(caught.value)
    assert list(root.parent.rglob("*")) == [root]
    site.content = good
    fetch(root, site.url)
    assert_whole(root)


def test_too_little_room_keeps_the_archive(root, site, monkeypatch):
    usage = namedtuple("usage", "total used free")(10_000, 0, 10_000)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(CumelError, match="10000 are free; free some space and run again"):
            fetch(root, site.url)
    assert [path.name for path in root.iterdir()] == ["esc50.zip"]
    fetch(root, site.url)
    assert_whole(root)
    assert len(site.log) == 1


def test_a_disk_that_fills_up_while_unpacking(root, site, monkeypatch):
    def extract(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extract", extract)
        with pytest.raises(CumelError, match="No space left on device; free some space and run again, it resumes"):
            fetch(root, site.url)
    assert [path.name for path in root.iterdir()] == ["esc50.zip"]
    fetch(root, site.url)
    assert_whole(root)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the disk that is always full is Linux's")
def test_a_disk_that_fills_up_in_the_transfer_is_not_retried(root, site):
    root.mkdir(parents=True)
    (root / PART).symlink_to("/dev/full")
    with pytest.raises(CumelError, match="No space left on device; free some space and run again, it resumes"):
        fetch(root, site.url)
    assert len(site.log) == 1


def test_a_root_that_is_a_file(root, site):
    root.parent.mkdir()
    root.touch()
    with pytest.raises(CumelError, match="choose a ROOT that can be written to"):
        fetch(root, site.url)


@pytest.mark.parametrize("n_done", [0, 3, N_CLIPS + 2])  # the last: all moved but the table
@pytest.mark.parametrize(("owner", "step"), [(zipfile.ZipFile, "extract"), (Path, "replace")])
def test_an_interrupted_run_never_looks_whole(root, site, monkeypatch, owner, step, n_done):
    root.mkdir(parents=True)
    (root / "esc50.zip").write_bytes(site.content)
    whole, steps, rglob = getattr(owner, step), iter(range(n_done)), Path.rglob

    def interrupted(*args):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return whole(*args)

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, interrupted)
        patch.setattr(Path, "rglob", lambda *args: sorted(rglob(*args), reverse=True))  # the worst order: meta/ first
        with pytest.raises(KeyboardInterrupt):
            fetch(root, site.url)
    assert not (root / "meta" / "esc50.csv").exists()
    assert not (root / "esc50.unpacking").exists()
    n_moved = sum(path.is_file() for path in root.rglob("*")) - 1  # the archive
    assert n_moved == (n_done if step == "replace" else 0)
    fetch(root, site.url)
    assert_whole(root)
    assert site.log == []


def test_the_remains_of_a_killed_run_are_cleared(root, site):
    (root / "esc50.unpacking" / TOP / "audio").mkdir(parents=True)
    (root / "esc50.unpacking" / "other").touch()
    fetch(root, site.url)
    assert_whole(root)


def test_the_users_own_files_stay(root, site):
    (root / "audio").mkdir(parents=True)
    own = [root / "README.md", root / "audio" / "own.wav", root / "notes.txt"]
    for path in own:
        path.write_text("mine")
    fetch(root, site.url)
    assert is_complete(root, N_CLIPS)
    assert [path.read_text() for path in own] == ["mine"] * 3


def test_an_archive_without_a_top_folder(root, site):
    site.content = pack({name.removeprefix(TOP): content for name, content in dataset().items()})
    fetch(root, site.url)
    assert_whole(root)


def test_the_licence_is_two_lines():
    assert len(LICENSE_NOTICE.splitlines()) <= 2
    assert all(word in LICENSE_NOTICE for word in ("Piczak", "2015", "CC BY-NC 3.0", "ESC-10"))
