"""`download` on a small archive, from a server on this machine that misbehaves to order."""

import errno
import hashlib
import http.server
import importlib
import io
import random
import shutil
import stat
import threading
import zipfile
from collections import namedtuple
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from cumel.esc50.download import LICENSE_NOTICE, download, is_complete
from cumel.kernels.errors import CumelError

N_CLIPS = 5
CLIP_BYTES = 30_000
BREAK = 100_000  # bytes of the body, after which the server hangs up: past one read of the client, short of the end
CLIPS = [f"1-{number}-A-0.wav" for number in range(N_CLIPS)]
PART = "esc50.zip.part"

fetch = partial(download, n_clips=N_CLIPS, backoff=0.001)
module = importlib.import_module("cumel.esc50.download")  # to change its limits


@dataclass
class Reply:
    """How the server treats one request; as it stands, correctly."""

    status: int | None = None  # answered with an empty body
    location: str | None = None
    break_after: int | None = None  # bytes of the body
    framing: str = "length"  # or "chunked", or "close": no Content-Length either
    ranges: bool = True  # honours Range
    if_range: bool = True  # honours If-Range
    shift: int = 0  # added to the first byte of the range that was asked for
    vanish: bool = False  # hangs up without an answer
    stall: bool = False  # sends nothing more after `break_after`, but stays connected


@dataclass
class Exchange:
    range: str | None
    if_range: str | None
    status: int = 0
    n_sent: int = 0


@dataclass
class Site:
    content: bytes
    etag: str | None = '"first"'
    modified: str | None = None
    replies: list[Reply] = field(default_factory=list)  # to the first requests; to all others a correct one
    log: list[Exchange] = field(default_factory=list)
    url: str = ""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        site, self.close_connection = self.server.site, True
        reply = site.replies.pop(0) if site.replies else Reply()
        exchange = Exchange(self.headers["Range"], self.headers["If-Range"], reply.status or 200)
        site.log.append(exchange)
        if reply.vanish:
            return
        start, n_bytes = 0, len(site.content)
        unchanged = exchange.if_range in (site.etag, site.modified) or not reply.if_range
        if exchange.range and reply.ranges and unchanged and not reply.status:
            start = int(exchange.range.removeprefix("bytes=").removesuffix("-")) + reply.shift
            exchange.status = 206 if start < n_bytes else 416
        body = site.content[start:] if exchange.status in (200, 206) else b""
        sent = body[: reply.break_after]
        exchange.n_sent = len(sent)
        self.send_response(exchange.status)
        spans = {206: f"bytes {start}-{n_bytes - 1}/{n_bytes}", 416: f"bytes */{n_bytes}"}
        headers = {
            "ETag": site.etag,
            "Last-Modified": site.modified,
            "Location": reply.location,
            "Content-Range": None if reply.status else spans.get(exchange.status),
            "Content-Length": str(len(body)) if reply.framing == "length" else None,
            "Transfer-Encoding": "chunked" if reply.framing == "chunked" else None,
        }
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if reply.framing == "chunked":
            end = b"0\r\n\r\n" if len(sent) == len(body) else b""
            sent = b"%x\r\n%b\r\n%b" % (len(sent), sent, end)
        self.wfile.write(sent)
        if reply.stall:
            self.connection.recv(1)  # returns when the client hangs up


class Server(http.server.HTTPServer):
    def handle_error(self, *_):
        """Expect clients that hang up in the middle of an answer."""


def member(name, mode):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def dataset(seed=0):
    """Return the members of an archive like GitHub's, name to content."""
    rng = random.Random(seed)
    rows = ["filename,fold,target,category,esc10,src_file,take", *(f"{clip},1,0,dog,True,1,A" for clip in CLIPS)]
    members = {
        "ESC-50-master/README.md": b"ESC-50",
        "ESC-50-master/LICENSE": b"CC BY-NC",
        "ESC-50-master/tests/test_dataset.py": b"assert True",
        "ESC-50-master/meta/esc50.csv": "\n".join(rows).encode(),
    }
    return members | {f"ESC-50-master/audio/{clip}": rng.randbytes(CLIP_BYTES) for clip in CLIPS}


def pack(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(("127.0.0.1", 0), Handler) as server:
        server.site = Site(pack(dataset()), url=f"http://127.0.0.1:{server.server_port}/master.zip")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.002})
        thread.start()
        yield server.site
        server.shutdown()
        thread.join()


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data" / "esc50"


def assert_whole(root, seed=0):
    assert is_complete(root, N_CLIPS)
    for name, content in dataset(seed=seed).items():
        path = root / Path(name).relative_to("ESC-50-master")
        assert "tests" in name or path.read_bytes() == content
    assert {path.name for path in root.iterdir()} == {"audio", "meta", "LICENSE", "README.md", "esc50.zip"}


def break_off(root, site):
    """Let a first run fail after `BREAK` bytes."""
    site.replies = [Reply(break_after=BREAK)]
    with pytest.raises(CumelError, match="run again later, it resumes"):
        fetch(root, site.url, retries=0)
    assert (root / PART).stat().st_size == BREAK
    assert not is_complete(root, N_CLIPS)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_first_run_leaves_the_whole_dataset(root, site, framing):
    site.replies = [Reply(framing=framing)]
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
    (root / "audio" / CLIPS[2]).unlink()
    assert not is_complete(root, N_CLIPS)
    fetch(root, site.url)
    assert_whole(root)
    assert len(site.log) == 1


def test_a_broken_transfer_resumes_within_the_run(root, site):
    site.replies = [Reply(break_after=BREAK)]
    fetch(root, site.url)
    assert_whole(root)
    rest = len(site.content) - BREAK
    assert site.log[1:] == [Exchange(f"bytes={BREAK}-", '"first"', 206, rest)]


def test_a_broken_transfer_resumes_in_the_next_run(root, site):
    break_off(root, site)
    fetch(root, site.url)
    assert_whole(root)
    rest = len(site.content) - BREAK
    assert site.log[1:] == [Exchange(f"bytes={BREAK}-", '"first"', 206, rest)]


def test_resuming_survives_a_redirect(root, site):
    break_off(root, site)
    site.replies = [Reply(status=302, location="/elsewhere.zip")]
    fetch(root, site.url)
    assert_whole(root)
    assert [(seen.range, seen.status) for seen in site.log[1:]] == [(f"bytes={BREAK}-", 302), (f"bytes={BREAK}-", 206)]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_the_date_vouches_where_no_strong_etag_does(root, site, etag):
    site.etag, site.modified = etag, "Wed, 21 Oct 2015 07:28:00 GMT"
    break_off(root, site)
    fetch(root, site.url)
    assert_whole(root)
    rest = len(site.content) - BREAK
    assert site.log[1:] == [Exchange(f"bytes={BREAK}-", site.modified, 206, rest)]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_validator_it_starts_over(root, site, etag):
    site.etag = etag
    break_off(root, site)
    fetch(root, site.url)
    assert_whole(root)
    assert site.log[1:] == [Exchange(None, None, 200, len(site.content))]


def test_bytes_from_another_address_are_not_resumed(root, site):
    break_off(root, site)
    fetch(root, f"{site.url}?mirror")
    assert_whole(root)
    assert site.log[1:] == [Exchange(None, None, 200, len(site.content))]


@pytest.mark.parametrize(
    ("reply", "statuses"),
    [
        (Reply(ranges=False), [200]),
        (Reply(shift=-1), [206, 200]),  # not the range that was asked for
        (Reply(shift=1_000_000), [416, 200]),
        (Reply(status=416), [416, 200]),
    ],
    ids=["range ignored", "wrong range", "no such range", "no such range, size unsaid"],
)
def test_what_cannot_be_resumed_starts_over(root, site, reply, statuses):
    break_off(root, site)
    site.replies = [reply]
    fetch(root, site.url)
    assert_whole(root)
    assert [seen.status for seen in site.log[1:]] == statuses
    assert site.log[1].range == f"bytes={BREAK}-"
    assert site.log[-1].n_sent == len(site.content)


@pytest.mark.parametrize(("if_range", "statuses"), [(True, [200]), (False, [206, 200])])
def test_changed_content_starts_over(root, site, if_range, statuses):
    break_off(root, site)
    site.content, site.etag = pack(dataset(seed=1)), '"second"'
    site.replies = [Reply(if_range=if_range)]
    fetch(root, site.url)
    assert_whole(root, seed=1)
    assert [seen.status for seen in site.log[1:]] == statuses


def test_a_complete_part_needs_no_byte_more(root, site):
    break_off(root, site)
    (root / PART).write_bytes(site.content)
    fetch(root, site.url)
    assert_whole(root)
    assert site.log[1:] == [Exchange(f"bytes={len(site.content)}-", '"first"', 416, 0)]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=500),
        Reply(status=503),
        Reply(status=429),
        Reply(vanish=True),
        Reply(framing="chunked", break_after=20_000),
    ],
    ids=["500", "503", "429", "no answer", "half a chunk"],
)
def test_passing_trouble_is_retried(root, site, reply):
    site.replies = [reply, reply]
    fetch(root, site.url, retries=2)
    assert_whole(root)
    assert len(site.log) == 3


def test_silence_is_retried(root, site, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.2)
    site.replies = [Reply(break_after=BREAK, stall=True)]
    fetch(root, site.url)
    assert_whole(root)
    assert len(site.log) > 1


def test_it_gives_up_after_the_retries(root, site):
    site.replies = [Reply(status=503)] * 10
    with pytest.raises(CumelError, match=r"HTTP 503 .*, tried 4 times; run again later, it resumes$"):
        fetch(root, site.url, retries=3)
    assert len(site.log) == 4


def test_it_gives_up_where_each_try_starts_over(root, site):
    site.replies = [Reply(ranges=False, break_after=BREAK)] * 10
    with pytest.raises(CumelError, match=f"ended at byte {BREAK} of {len(site.content)}, tried 3 times"):
        fetch(root, site.url, retries=2)
    assert len(site.log) == 3


def test_each_new_byte_renews_the_retries(root, site):
    site.replies = [Reply(break_after=40_000)] * 3
    fetch(root, site.url, retries=1)
    assert_whole(root)
    assert [seen.n_sent for seen in site.log] == [40_000] * 3 + [len(site.content) - 120_000]


def test_the_wait_doubles(root, site, monkeypatch):
    waits = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    site.replies = [Reply(status=503)] * 4
    fetch(root, site.url, backoff=0.5)
    assert waits == [0.5, 1.0, 2.0, 4.0]


def test_a_final_no_is_not_retried(root, site):
    site.replies = [Reply(status=404)]
    with pytest.raises(CumelError, match="HTTP 404 Not Found; check the address"):
        fetch(root, site.url)
    assert len(site.log) == 1


def test_a_server_that_is_not_there(root):
    with Server(("127.0.0.1", 0), Handler) as server:
        port = server.server_port
    with pytest.raises(CumelError, match=r"no connection .*, tried 2 times"):
        fetch(root, f"http://127.0.0.1:{port}", retries=1)


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


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def misplace_directory(content):
    """Claim that the central directory starts 2 GB in: zipfile then seeks to before the file's start."""
    return content[:-6] + b"\xff\xff\xff\x7f" + content[-2:]


def without(name):
    return pack({key: content for key, content in dataset().items() if key != f"ESC-50-master/{name}"})


def with_member(name, content=b""):
    return pack(dataset() | {name: content})


BAD_ARCHIVES = {
    "flipped bit": (flip(pack(dataset())), r"damaged \(Bad CRC-32 for file"),
    "cut off": (pack(dataset())[:BREAK], "File is not a zip file"),
    "wrong offset": (misplace_directory(pack(dataset())), "it is damaged"),
    "web page": (b"<html>sign in</html>", "File is not a zip file"),
    "empty": (pack({}), "meta/esc50.csv is missing"),
    "no table": (without("meta/esc50.csv"), "meta/esc50.csv is missing"),
    "no clip": (without(f"audio/{CLIPS[3]}"), f"1 of {N_CLIPS} clips are missing, audio/{CLIPS[3]} first"),
    "short table": (with_member("ESC-50-master/meta/esc50.csv", b"filename\na.wav"), f"1 clips where {N_CLIPS} are"),
    "no UTF-8": (with_member("ESC-50-master/meta/esc50.csv", b"\xff\xfe\na.wav"), f"1 clips where {N_CLIPS} are"),
    "parent": (with_member("../evil.txt"), r"'\.\./evil.txt' is unsafe"),
    "climbing": (with_member("ESC-50-master/audio/../../../evil.txt"), "unsafe"),
    "climbing to the end": (with_member("ESC-50-master/.."), "unsafe"),
    "absolute": (with_member("/evil.txt"), "unsafe"),
    "drive": (with_member("C:/evil.txt"), "unsafe"),
    "backslash": (with_member("..\\evil.txt"), "unsafe"),
    "symlink": (with_member(member("ESC-50-master/audio/link.wav", stat.S_IFLNK | 0o777), b"/etc/passwd"), "unsafe"),
    "pipe": (with_member(member("ESC-50-master/audio/pipe.wav", stat.S_IFIFO | 0o666)), "unsafe"),
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


def test_dots_within_a_name_are_no_climbing(root, site):
    site.content = with_member("ESC-50-master/notes..old/..x")
    fetch(root, site.url)
    assert_whole(root)


def test_a_zip_bomb_is_not_unpacked(root, site, monkeypatch):
    monkeypatch.setattr(module, "MAX_UNPACKED_BYTES", 1_000_000)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("bomb", bytes(2_000_000))
    site.content = bomb.getvalue()
    assert len(site.content) < 10_000
    with pytest.raises(CumelError, match="would unpack to 2000000 bytes where 1000000 are the limit"):
        fetch(root, site.url)
    assert list(root.iterdir()) == []


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
    whole, steps = getattr(owner, step), iter(range(n_done))

    def interrupted(*args):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return whole(*args)

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, interrupted)
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
    (root / "esc50.unpacking" / "ESC-50-master" / "audio").mkdir(parents=True)
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
    site.content = pack({name.removeprefix("ESC-50-master/"): content for name, content in dataset().items()})
    fetch(root, site.url)
    assert_whole(root)


def test_the_licence_is_two_lines():
    assert len(LICENSE_NOTICE.splitlines()) <= 2
    assert all(word in LICENSE_NOTICE for word in ("Piczak", "2015", "CC BY-NC 3.0", "ESC-10"))
