"""Archives like ESC-50's, and a server on this machine that misbehaves to order."""

import http.server
import io
import random
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from cumel.esc50.datasets.archive import download, is_complete

MAX_REQUESTS = 12  # requests of one test; a client that never ends gets an error
N_CLIPS = 5
CLIPS = [f"1-{number}-A-0.wav" for number in range(N_CLIPS)]
TOP = "ESC-50-master/"
BREAK = 100_000  # bytes of an archive that arrive before the server hangs up

fetch = partial(download, n_clips=N_CLIPS)


def dataset(seed: int = 0) -> dict[str, bytes]:
    """Return the members of an archive like GitHub's, name to content."""
    rng = random.Random(seed)
    rows = ["filename,fold,target,category,esc10,src_file,take", *(f"{clip},1,0,dog,True,1,A" for clip in CLIPS)]
    members = {
        "README.md": b"ESC-50",
        "LICENSE": b"CC BY-NC",
        "tests/test_dataset.py": b"assert True",
        "meta/esc50.csv": "\n".join(rows).encode(),
    }
    members |= {f"audio/{clip}": rng.randbytes(30_000) for clip in CLIPS}
    return {TOP + name: content for name, content in members.items()}


def pack(members: dict[str | zipfile.ZipInfo, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Zip `members`, name to content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    return buffer.getvalue()


def flip(content: bytes) -> bytes:
    """Change the bit in the middle."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def assert_whole(root: Path) -> None:
    """Compare the folder with the archive."""
    assert is_complete(root, N_CLIPS)
    for name, content in dataset().items():
        path = root / Path(name).relative_to(TOP)
        assert "tests" in name or path.read_bytes() == content
    assert {path.name for path in root.iterdir()} == {"audio", "meta", "LICENSE", "README.md", "esc50.zip"}


@dataclass
class Reply:
    """How the server treats one request; as it stands, correctly."""

    status: int = 200  # any other status has an empty body
    location: str | None = None
    break_after: int | None = None  # bytes of the body before the server hangs up
    chunked: bool = False
    vanish: bool = False  # whether the server hangs up without an answer


@dataclass
class Site:
    """One file, the order of its replies, and how many requests came."""

    content: bytes
    url: str
    replies: list[Reply] = field(default_factory=list)  # answers to the first requests; all others are correct
    n_requests: int = 0


class Server(http.server.HTTPServer):
    site: Site

    def handle_error(self, *_):
        """Expect clients that hang up in the middle of an answer."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_):
        pass

    def do_GET(self):
        site, self.close_connection = self.server.site, True
        reply = site.replies.pop(0) if site.replies else Reply()
        site.n_requests += 1
        if site.n_requests > MAX_REQUESTS:
            reply = Reply(status=410)
        if reply.vanish:
            return
        body = site.content if reply.status == 200 else b""
        sent = body[: reply.break_after]
        self.send_response(reply.status)
        if reply.location:
            self.send_header("Location", reply.location)
        if reply.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            end = b"0\r\n\r\n" if len(sent) == len(body) else b""
            sent = b"%x\r\n%b\r\n%b" % (len(sent), sent, end)
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(sent)


@contextmanager
def serve(content: bytes) -> Iterator[Site]:
    """Serve `content` on a free port, past any proxy."""
    with pytest.MonkeyPatch.context() as patch, Server(("127.0.0.1", 0), Handler) as server:
        patch.setenv("no_proxy", "127.0.0.1")
        server.site = Site(content, f"http://127.0.0.1:{server.server_port}/master.zip")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.002})
        thread.start()
        try:
            yield server.site
        finally:
            server.shutdown()
            thread.join()
