"""`download` from a server on this machine that misbehaves to order."""

from contextlib import contextmanager
from pathlib import Path

import pooch.core
import pytest
import requests
from requests.adapters import HTTPAdapter

from cumel.esc50.cli import main
from cumel.kernels.errors import CumelError

from support.archive_server import BREAK, Reply, assert_whole, fetch, serve

TROUBLE = {
    "broken off": Reply(break_after=BREAK),
    "broken chunk": Reply(chunked=True, break_after=BREAK),
    "no answer": Reply(vanish=True),
    "500": Reply(status=500),
    "503": Reply(status=503),
    "429": Reply(status=429),
}


@pytest.mark.parametrize("reply", TROUBLE.values(), ids=TROUBLE)
def test_passing_trouble_is_tried_again(root, site, waits, reply):
    site.replies = [reply, reply]
    fetch(root, site.url, retries=2)
    assert_whole(root)
    assert site.n_requests == 3
    assert waits == [1, 2]


@pytest.mark.parametrize("reply", TROUBLE.values(), ids=TROUBLE)
def test_what_does_not_pass_leaves_nothing(root, site, reply):
    site.replies = [reply] * 2
    with pytest.raises(CumelError, match=r"/master\.zip: .*, tried 2 times; run again later$") as caught:
        fetch(root, site.url, retries=1)
    assert "\n" not in str(caught.value)
    assert list(root.iterdir()) == []
    fetch(root, site.url)
    assert_whole(root)


@pytest.mark.usefixtures("site")  # frees the address from proxies
def test_no_network_is_one_line_of_the_command(root, capsys):
    with serve(b"") as gone:
        pass
    assert main(["download", str(root), "--url", gone.url]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cumel: ")]
    assert len(lines) == 1
    assert lines[0].endswith("tried 6 times; run again later")
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("status", [403, 404, 416])
def test_a_final_no_is_not_tried_again(root, site, status):
    site.replies = [Reply(status=status)]
    with pytest.raises(CumelError, match=rf"HTTP {status} [A-Z].*; check the address$"):
        fetch(root, site.url)
    assert site.n_requests == 1
    assert list(root.iterdir()) == []


@pytest.fixture
def https(monkeypatch):
    """Let https addresses reach the server, which speaks plain http."""

    class Plain(HTTPAdapter):
        def send(self, request, *args, **settings):
            asked, request.url = request.url, request.url.replace("https:", "http:")
            response = super().send(request, *args, **settings)
            request.url = response.url = asked
            return response

    monkeypatch.setattr(requests.Session, "get_adapter", lambda *_, **__: Plain())


@pytest.mark.usefixtures("https")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("scheme", ["http", "HTTP", "ftp"])
def test_https_never_becomes_anything_else(root, site, status, scheme):
    site.replies = [Reply(status=status, location=site.url.replace("http", scheme, 1))]
    with pytest.raises(CumelError, match=rf"redirects from https to (?i:{scheme})://.*, which is not followed; check"):
        fetch(root, site.url.replace("http", "https", 1))
    assert site.n_requests == 1
    assert list(root.iterdir()) == []


@pytest.mark.usefixtures("https")
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("absolute", [True, False])
def test_redirects_that_stay_or_become_https_are_followed(root, site, scheme, absolute):
    location = site.url.replace("http", "https", 1) if absolute else "/elsewhere.zip"
    site.replies = [Reply(status=302, location=location)]
    fetch(root, site.url.replace("http", scheme, 1))
    assert_whole(root)
    assert site.n_requests == 2


def test_only_web_addresses(root):
    for url in ("file:///esc50.zip", "https://", "esc50.zip"):
        with pytest.raises(CumelError, match=f"url={url} is not a web address"):
            fetch(root, url)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the disk that is always full is Linux's")
def test_a_disk_that_fills_up_in_the_transfer_is_not_tried_again(root, site, monkeypatch):
    @contextmanager
    def temporary_file(**_):
        yield "/dev/full"

    monkeypatch.setattr(pooch.core, "temporary_file", temporary_file)
    with pytest.raises(CumelError, match=r"No space left on device; free some space and run again$"):
        fetch(root, site.url)
    assert site.n_requests == 1
    assert list(root.iterdir()) == []


def test_an_interrupted_transfer_leaves_nothing(root, site, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(requests.Response, "iter_content", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch(root, site.url)
    assert list(root.iterdir()) == []
    fetch(root, site.url)
    assert_whole(root)
