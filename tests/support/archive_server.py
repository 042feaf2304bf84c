"""Archives like ESC-50's, and a server on this machine that misbehaves to order."""

import http.server
import io
import random
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

MAX_REQUESTS = 12  # in one test
TIMEOUT_SECONDS = 5.0  # without a sign of life from the client
N_CLIPS = 5
CLIPS = [f"1-{number}-A-0.wav" for number in range(N_CLIPS)]
TOP = "ESC-50-master/"


def dataset(seed: int = 0) -> dict[str, bytes]:
    """Return the members of an archive like GitHub's, name to content."""
    rng = random.Random(seed)
    rows = ["filename,fold,target,category,esc10,src_file,take", *(f"{clip},1,0,dog,True,1,A" for clip in CLIPS)]
    members = {
        "README.md": b"ESC-50",
        "LICENSE": b"CC BY-NC",
        "tests/datasets/test_esc50.py": b"assert True",
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


@dataclass
class Reply:
    """How the server treats one request; as it stands, correctly."""

    status: int | None = None  # answered with an empty body
    location: str | None = None
    break_after: int | None = None  # bytes of the body, then it hangs up
    framing: str = "length"  # or "chunked", or "close": no Content-Length either
    ranges: bool = True  # honours Range
    if_range: bool = True  # honours If-Range
    terse: bool = False  # a range without ETag and the size of the whole
    shift: int = 0  # added to the first byte of the range that was asked for
    vanish: bool = False  # hangs up without an answer
    stall: bool = False  # sends nothing more after `break_after`, but stays connected


GONE = Reply(status=410)  # to a client that never ends or never hangs up: it fails instead


@dataclass
class Exchange:
    """What the client asked for and got."""

    range: str | None
    if_range: str | None
    status: int = 0
    n_sent: int = 0


@dataclass
class Site:
    """One file, the order of its replies, and what came of it."""

    content: bytes
    url: str
    etag: str | None = '"first"'
    modified: str | None = None
    ranges: str | None = "bytes"  # what it announces
    replies: list[Reply] = field(default_factory=list)  # to the first requests; to all others a correct one
    log: list[Exchange] = field(default_factory=list)


class Server(http.server.HTTPServer):
    site: Site

    def handle_error(self, *_):
        """Expect clients that hang up in the middle of an answer."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_SECONDS
    server: Server

    def log_message(self, *_):
        pass

    def do_GET(self):
        site, self.close_connection = self.server.site, True
        reply = site.replies.pop(0) if site.replies else Reply()
        if len(site.log) >= MAX_REQUESTS:
            reply = GONE
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
        whole = "*" if reply.terse else n_bytes
        spans = {206: f"bytes {start}-{n_bytes - 1}/{whole}", 416: f"bytes */{n_bytes}"}
        headers = {
            "ETag": None if reply.terse else site.etag,
            "Last-Modified": site.modified,
            "Accept-Ranges": site.ranges,
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
            try:
                self.connection.recv(1)  # returns when the client hangs up
            except TimeoutError:
                site.replies = [GONE]


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
