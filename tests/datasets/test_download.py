"""`download` on a small archive: a dataset that is whole or absent."""

import errno
import hashlib
import shutil
import stat
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from cumel.esc50.datasets import archive
from cumel.esc50.datasets.archive import ESC50_SHA256, LICENSE_NOTICE, STAGING, is_complete
from cumel.kernels.errors import CumelError

from support.archive_server import BREAK, CLIPS, N_CLIPS, TOP, assert_whole, dataset, fetch, flip, pack


def test_a_first_run_leaves_the_whole_dataset(root, site):
    assert fetch(root, site.url) == root
    assert_whole(root)
    assert (root / "esc50.zip").read_bytes() == site.content
    assert site.n_requests == 1


def test_a_second_run_does_nothing_and_says_so(root, site, capsys):
    fetch(root, site.url)
    (root / "esc50.zip").unlink()
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    capsys.readouterr()
    assert fetch(root, site.url) == root
    assert "complete already, nothing to do" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    assert site.n_requests == 1


def test_a_lost_clip_comes_back_from_the_archive(root, site):
    fetch(root, site.url)
    (root / "audio" / CLIPS[1]).write_bytes(b"cut off")
    (root / "audio" / CLIPS[2]).unlink()
    assert not is_complete(root, N_CLIPS)
    fetch(root, site.url)
    assert (root / "audio" / f"{CLIPS[1]}.kept").read_bytes() == b"cut off"
    assert_whole(root)
    assert site.n_requests == 1


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
    assert site.n_requests == 0


def without(name):
    return pack({key: content for key, content in dataset().items() if key != TOP + name})


def with_table(content):
    return pack(dataset() | {TOP + "meta/esc50.csv": content})


def misplace_directory(content):
    """Claim that the central directory starts 2 GB in: zipfile then seeks to before the file's start."""
    return content[:-6] + b"\xff\xff\xff\x7f" + content[-2:]


BAD_ARCHIVES = {
    "flipped bit": (flip(pack(dataset())), r"it is damaged \(Bad CRC-32 for file"),
    "web page": (b"<html>sign in</html>", "File is not a zip file"),
    "cut off": (pack(dataset())[:BREAK], "File is not a zip file"),
    "wrong offset": (misplace_directory(pack(dataset())), "it is damaged"),
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
    assert site.n_requests == 1


def test_a_disk_that_fills_up_while_unpacking(root, site, monkeypatch):
    def extract(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extract", extract)
        with pytest.raises(CumelError, match=r"No space left on device; free some space and run again$"):
            fetch(root, site.url)
    assert [path.name for path in root.iterdir()] == ["esc50.zip"]
    fetch(root, site.url)
    assert_whole(root)


@pytest.mark.parametrize(
    "name", ["../evil.txt", "/evil.txt", "../../evil.txt", f"{TOP}audio/../../../evil.txt", f"{TOP}../evil.txt"]
)
def test_no_member_leaves_the_folder(root, site, name):
    site.content = pack({name: b"evil"} | dataset())
    if name.startswith(TOP):  # zipfile leaves the dots out: an ordinary file of the dataset's folder
        fetch(root, site.url)
    else:
        with pytest.raises(CumelError, match=r"meta/esc50\.csv is missing; it was removed"):
            fetch(root, site.url)
    places = {path.relative_to(root).parent.as_posix() for path in root.parents[1].rglob("evil*")}
    assert places <= {"audio"}
    assert not Path("/evil.txt").exists()


def test_a_link_is_not_made(root, site):
    link = zipfile.ZipInfo(f"{TOP}audio/{CLIPS[0]}")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    members = {name: content for name, content in dataset().items() if name != link.filename}
    site.content = pack(members | {link: b"/etc/passwd"})
    fetch(root, site.url)
    assert not (root / "audio" / CLIPS[0]).is_symlink()
    assert (root / "audio" / CLIPS[0]).read_bytes() == b"/etc/passwd"


def test_a_zip_bomb_is_not_unpacked(root, site, monkeypatch):
    site.content = pack({"one": bytes(500_000), "two": bytes(500_001)}, zipfile.ZIP_DEFLATED)
    assert len(site.content) < 10_000
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 1_000_000)
    with pytest.raises(CumelError, match="would unpack to 1000001 bytes where 1000000 are the limit; it was removed"):
        fetch(root, site.url)
    assert list(root.iterdir()) == []


def test_a_root_that_is_a_file(root, site):
    root.parent.mkdir()
    root.touch()
    with pytest.raises(CumelError, match="choose a ROOT that can be written to"):
        fetch(root, site.url)


@pytest.mark.parametrize("n_done", [0, 3, N_CLIPS + 2])  # in the last case all files but the table are moved
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
    assert not list(root.glob(f"{STAGING}*"))
    n_moved = sum(path.is_file() for path in root.rglob("*")) - 1  # the archive
    assert n_moved == (n_done if step == "replace" else 0)
    fetch(root, site.url)
    assert_whole(root)
    assert site.n_requests == 0


def test_the_remains_of_a_killed_run_are_cleared(root, site):
    (root / f"{STAGING}abc" / TOP / "audio").mkdir(parents=True)
    (root / f"{STAGING}abc" / "other").touch()
    fetch(root, site.url)
    assert_whole(root)


OWN = ["README.md", "audio/own.wav", "notes.txt", "esc50.zip.part", "esc50.unpacking/a.wav", "meta/own.csv"]


@pytest.mark.parametrize("times", [1, 2])
def test_the_users_own_files_stay(root, site, times, caplog):
    for name in [*OWN, f"audio/{CLIPS[0]}"]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    for _ in range(times):
        fetch(root, site.url)
        assert is_complete(root, N_CLIPS)
        assert [(root / name).read_text() for name in OWN] == ["mine"] * len(OWN)
        assert (root / "audio" / f"{CLIPS[0]}.kept").read_text() == "mine"
        assert (root / "audio" / CLIPS[0]).read_bytes() == dataset()[f"{TOP}audio/{CLIPS[0]}"]
        (root / "audio" / CLIPS[1]).unlink()
    assert caplog.text.count("differs from ESC-50's, and is kept as") == 1


def test_what_is_kept_takes_no_name_that_is_taken(root, site):
    (root / "audio").mkdir(parents=True)
    for name in (CLIPS[0], f"{CLIPS[0]}.kept", f"{CLIPS[0]}.kept2"):
        (root / "audio" / name).write_text(name)
    fetch(root, site.url)
    kept = [(root / "audio" / f"{CLIPS[0]}{ending}").read_text() for ending in (".kept", ".kept2", ".kept3")]
    assert kept == [f"{CLIPS[0]}.kept", f"{CLIPS[0]}.kept2", CLIPS[0]]


@pytest.mark.parametrize("n_named", [1, N_CLIPS])
def test_another_datasets_table_stays(root, site, n_named):
    (root / "meta").mkdir(parents=True)
    table = "\n".join(["filename,fold,target,category", *(f"own{i}.wav,1,0,dog" for i in range(n_named))])
    (root / "meta" / "esc50.csv").write_text(table)
    with pytest.raises(CumelError, match=r"meta/esc50\.csv: is not ESC-50's table, and stays; choose another ROOT"):
        fetch(root, site.url)
    assert (root / "meta" / "esc50.csv").read_text() == table
    assert not (root / "audio").exists()
    assert site.n_requests == (n_named == N_CLIPS), "a table of another size is seen before anything is fetched"


@pytest.mark.parametrize("content", [b"<html>sign in</html>", flip(pack(dataset())), pack({})])
def test_an_archive_that_was_there_before_is_never_removed(root, site, content):
    root.mkdir(parents=True)
    (root / "esc50.zip").write_bytes(content)
    with pytest.raises(
        CumelError, match="this run did not fetch it, so it stays; move it away, and run again"
    ) as caught:
        fetch(root, site.url)
    assert "\n" not in str(caught.value)
    assert (root / "esc50.zip").read_bytes() == content
    assert site.n_requests == 0


def test_the_default_archive_has_a_pinned_checksum(root, site, monkeypatch):
    monkeypatch.setattr("cumel.esc50.datasets.archive.ESC50_URL", site.url)
    with pytest.raises(CumelError, match=rf"where {ESC50_SHA256} is expected \(if it was packed anew, --sha256 none"):
        fetch(root, site.url)
    fetch(root, site.url, sha256="none")
    assert_whole(root)


def test_an_archive_without_a_top_folder(root, site):
    site.content = pack({name.removeprefix(TOP): content for name, content in dataset().items()})
    fetch(root, site.url)
    assert_whole(root)


def test_the_licence_is_two_lines():
    assert len(LICENSE_NOTICE.splitlines()) <= 2
    assert all(word in LICENSE_NOTICE for word in ("Piczak", "2015", "CC BY-NC 3.0", "ESC-10"))
