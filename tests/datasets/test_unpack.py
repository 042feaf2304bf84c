"""`unpack` on archives that are damaged or mean harm."""

import errno
import random
import re
import shutil
import stat
import zipfile
from collections import namedtuple

import pytest

from cumel.esc50.datasets import unpack as module
from cumel.esc50.datasets.unpack import ArchiveError, unpack
from cumel.kernels.errors import CumelError

from support.archive_server import flip, pack

MEMBERS = {"first.txt": b"harmless", "clip.wav": random.Random(0).randbytes(1000)}
GOOD = pack(MEMBERS)
CUT = 500  # bytes, in the middle of the clip


@pytest.fixture
def unpacked(tmp_path):
    """Return a function from an archive's bytes to its members, checking that nothing lands elsewhere."""

    def unpacked(content):
        archive, folder = tmp_path / "esc50.zip", tmp_path / "unpacking"
        archive.write_bytes(content)
        try:
            unpack(archive, folder)
        finally:
            assert set(tmp_path.iterdir()) <= {archive, folder}
            assert archive.read_bytes() == content
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    return unpacked


def member(name, mode):
    """Return a member's header with the `mode` that Unix packers leave there."""
    header = zipfile.ZipInfo(name)
    header.external_attr = mode << 16
    return header


def misplace_directory(content):
    """Claim that the central directory starts 2 GB in: zipfile then seeks to before the file's start."""
    return content[:-6] + b"\xff\xff\xff\x7f" + content[-2:]


@pytest.mark.parametrize(
    ("content", "members"),
    [
        (GOOD, MEMBERS),
        (pack(MEMBERS, zipfile.ZIP_DEFLATED), MEMBERS),
        (pack({member("a/", stat.S_IFDIR | 0o755): b"", member("a/b", stat.S_IFREG | 0o644): b"1"}), {"a/b": b"1"}),
        (pack({"notes..old/..x": b"1"}), {"notes..old/..x": b"1"}),
        (pack({}), {}),
    ],
    ids=["stored", "deflated", "with modes", "dots that do not climb", "empty"],
)
def test_every_member_comes_out(unpacked, content, members):
    assert unpacked(content) == members


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (flip(GOOD), r"it is damaged \(Bad CRC-32 for file 'clip.wav'\)"),
        (GOOD[:CUT], "File is not a zip file"),
        (misplace_directory(GOOD), "it is damaged"),
        (b"<html>sign in</html>", "File is not a zip file"),
    ],
    ids=["flipped bit", "cut off", "wrong offset", "web page"],
)
def test_damage_is_named(unpacked, content, fault):
    with pytest.raises(ArchiveError, match=fault) as caught:
        unpacked(content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "mean",
    [
        "../evil.txt",
        "top/audio/../../../evil.txt",
        "top/..",
        "/evil.txt",
        "C:/evil.txt",
        "..\\evil.txt",
        member("link.wav", stat.S_IFLNK | 0o777),
        member("pipe.wav", stat.S_IFIFO | 0o666),
    ],
    ids=["parent", "climbing", "climbing to the end", "absolute", "drive", "backslash", "symlink", "pipe"],
)
def test_nothing_of_an_unsafe_archive_comes_out(unpacked, tmp_path, mean):
    name = mean if isinstance(mean, str) else mean.filename
    with pytest.raises(ArchiveError, match=re.escape(f"its member {name!r} is unsafe: a link or a path out")) as caught:
        unpacked(pack({**MEMBERS, mean: b"/etc/passwd"}))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "unpacking").exists()


def test_a_zip_bomb_is_not_unpacked(unpacked, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_UNPACKED_BYTES", 1_000_000)
    bomb = pack({"one": bytes(500_000), "two": bytes(500_001)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 10_000
    with pytest.raises(ArchiveError, match="would unpack to 1000001 bytes where 1000000 are the limit"):
        unpacked(bomb)
    assert not (tmp_path / "unpacking").exists()
    assert len(unpacked(pack({"just": bytes(1_000_000)}))) == 1


def test_the_room_is_measured_first(unpacked, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    total = sum(map(len, MEMBERS.values()))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(total, 1, total - 1))
    with pytest.raises(CumelError, match=f"unpacks to {total} bytes, {total - 1} are free; free some space and run"):
        unpacked(GOOD)
    assert not (tmp_path / "unpacking").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(total, 0, total))
    assert unpacked(GOOD) == MEMBERS


def test_a_disk_that_fills_up_is_no_damage(unpacked, monkeypatch):
    def extract(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "extract", extract)
    with pytest.raises(OSError, match="No space left on device"):
        unpacked(GOOD)
