"""`fetch` from a server on this machine that misbehaves to order."""

import http.client
import random
import urllib.request
from dataclasses import replace
from functools import partial

import pytest

from cumel.esc50.datasets import transfer
from cumel.kernels.errors import CumelError

from support.archive_server import Exchange, Reply, serve

PART = "esc50.zip.cumel-part"
CONTENT, CHANGED = (random.Random(seed).randbytes(150_000) for seed in range(2))
BREAK = 100_000  # bytes of the body, after which the server hangs up: past one read of the client, short of the end
DATE = "Wed, 21 Oct 2015 07:28:00 GMT"
ALL = Exchange(None, None, 200, len(CONTENT))
REST = Exchange(f"bytes={BREAK}-", '"first"', 206, len(CONTENT) - BREAK)

fetch = partial(transfer.fetch, retries=5, backoff=0.001)


@pytest.fixture
def site():
    with serve(CONTENT) as site:
        yield site


@pytest.fixture
def target(tmp_path):
    return tmp_path / "esc50.zip"


@pytest.fixture
def broken(target, site):
    """Break a first run off after `BREAK` bytes."""
    site.replies = [Reply(break_after=BREAK)]
    with pytest.raises(CumelError, match="run again later, it resumes"):
        fetch(site.url, target, retries=0)
    assert target.with_name(PART).read_bytes() == CONTENT[:BREAK]
    assert not target.exists()
    site.log.clear()
    return target


def assert_whole(target, content=CONTENT):
    assert target.read_bytes() == content
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_one_run_brings_the_whole_file(target, site, framing):
    site.replies = [Reply(framing=framing)]
    fetch(site.url, target)
    assert_whole(target)
    assert site.log == [ALL]


def test_a_broken_transfer_resumes_within_the_run(target, site):
    site.replies = [Reply(break_after=BREAK)]
    fetch(site.url, target)
    assert_whole(target)
    assert site.log[1:] == [REST]


def test_a_broken_transfer_resumes_in_the_next_run(broken, site):
    fetch(site.url, broken)
    assert_whole(broken)
    assert site.log == [REST]


def test_a_range_need_not_repeat_what_is_known(broken, site):
    site.replies = [Reply(terse=True, break_after=20_000), Reply(terse=True)]
    fetch(site.url, broken)
    assert_whole(broken)
    assert site.log == [replace(REST, n_sent=20_000), replace(REST, range=f"bytes={BREAK + 20_000}-", n_sent=30_000)]


def test_resuming_survives_a_redirect(broken, site):
    site.replies = [Reply(status=302, location="/elsewhere.zip")]
    fetch(site.url, broken)
    assert_whole(broken)
    assert site.log == [replace(REST, status=302, n_sent=0), REST]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
@pytest.mark.parametrize(("modified", "second"), [(DATE, replace(REST, if_range=DATE)), (None, ALL)])
def test_only_the_date_vouches_where_no_strong_etag_does(target, site, etag, modified, second):
    site.etag, site.modified = etag, modified
    site.replies = [Reply(break_after=BREAK)]
    fetch(site.url, target)
    assert_whole(target)
    assert site.log[1:] == [second]


def test_bytes_from_another_address_are_not_resumed(broken, site):
    fetch(f"{site.url}?mirror", broken)
    assert_whole(broken)
    assert site.log == [ALL]


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
def test_what_cannot_be_resumed_starts_over(broken, site, reply, statuses):
    site.replies = [reply]
    fetch(site.url, broken)
    assert_whole(broken)
    assert [seen.status for seen in site.log] == statuses
    assert site.log[0].range == f"bytes={BREAK}-"
    assert site.log[-1].n_sent == len(CONTENT)


@pytest.mark.parametrize(("if_range", "statuses"), [(True, [200]), (False, [206, 200])])
def test_changed_content_starts_over(broken, site, if_range, statuses):
    site.content, site.etag = CHANGED, '"second"'
    site.replies = [Reply(if_range=if_range)]
    fetch(site.url, broken)
    assert_whole(broken, CHANGED)
    assert [seen.status for seen in site.log] == statuses


def test_a_complete_part_needs_no_byte_more(broken, site):
    broken.with_name(PART).write_bytes(CONTENT)
    fetch(site.url, broken)
    assert_whole(broken)
    assert site.log == [Exchange(f"bytes={len(CONTENT)}-", '"first"', 416, 0)]


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
def test_passing_trouble_is_retried(target, site, reply):
    site.replies = [reply, reply]
    fetch(site.url, target, retries=2)
    assert_whole(target)
    assert len(site.log) == 3


def test_silence_is_retried(target, site, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT_SECONDS", 0.2)
    site.replies = [Reply(break_after=BREAK, stall=True)]
    fetch(site.url, target)
    assert_whole(target)
    assert len(site.log) > 1


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (Reply(status=503), "HTTP 503 Service Unavailable, tried 4 times; run again later"),
        (
            Reply(ranges=False, break_after=BREAK),
            f"the connection ended at byte {BREAK} of {len(CONTENT)}, tried 4 times; run again later, it starts over.*",
        ),
    ],
    ids=["no byte", "the same bytes each time"],
)
def test_it_gives_up_after_the_retries(target, site, reply, fault):
    site.replies = [reply] * 10
    with pytest.raises(CumelError, match=rf"/master\.zip: {fault}$"):
        fetch(site.url, target, retries=3)
    assert len(site.log) == 4


def test_each_new_byte_renews_the_retries(target, site):
    site.replies = [Reply(break_after=40_000)] * 3
    fetch(site.url, target, retries=1)
    assert_whole(target)
    assert [seen.n_sent for seen in site.log] == [40_000, 40_000, 40_000, len(CONTENT) - 120_000]


def test_the_wait_doubles(target, site, monkeypatch):
    waits = []
    monkeypatch.setattr(transfer.time, "sleep", waits.append)
    site.replies = [Reply(status=503)] * 4
    fetch(site.url, target, backoff=0.5)
    assert waits == [0.5, 1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "run again later, it resumes$"),
        ({"etag": None}, "it starts over: the server sends no rest alone$"),
        ({"etag": 'W/"weak"'}, "it starts over: the server sends no rest alone$"),
        ({"etag": None, "modified": DATE}, "run again later, it resumes$"),
        ({"ranges": None}, "it starts over: the server sends no rest alone$"),
        ({"ranges": "none"}, "it starts over: the server sends no rest alone$"),
    ],
    ids=["etag", "no validator", "weak etag", "date", "no ranges announced", "no ranges"],
)
def test_only_what_the_server_announced_is_promised(target, site, changed, said):
    for name, value in changed.items():
        setattr(site, name, value)
    site.replies = [Reply(break_after=BREAK)]
    with pytest.raises(CumelError, match=said):
        fetch(site.url, target, retries=0)
    fetch(site.url, target)
    assert_whole(target)


@pytest.fixture
def https(monkeypatch):
    """Let https addresses reach the server, which speaks plain http."""

    def https_open(self, request):
        return self.do_open(http.client.HTTPConnection, request)

    monkeypatch.setattr(urllib.request.HTTPSHandler, "https_open", https_open)


@pytest.mark.usefixtures("https")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("scheme", ["http", "HTTP", "ftp"])
def test_https_never_becomes_anything_else(target, site, status, scheme):
    elsewhere = site.url.replace("http", scheme, 1)
    site.replies = [Reply(status=status, location=elsewhere)]
    with pytest.raises(
        CumelError, match=rf"redirects from https to (?i:{scheme})://.*; give an address that stays"
    ) as caught:
        fetch(site.url.replace("http", "https", 1), target)
    assert "\n" not in str(caught.value)
    assert len(site.log) == 1
    assert not any(target.parent.iterdir())


@pytest.mark.usefixtures("https")
def test_https_may_lead_to_https_and_http_to_https(target, site):
    secure = site.url.replace("http", "https", 1)
    for url in (secure, site.url):
        site.replies = [Reply(status=302, location=secure)]
        fetch(url, target)
        assert_whole(target)


@pytest.mark.parametrize("status", [404, 416])
def test_a_final_no_is_not_retried(target, site, status):
    site.replies = [Reply(status=status)]
    with pytest.raises(CumelError, match=rf"HTTP {status} [A-Z].*; check the address"):
        fetch(site.url, target)
    assert len(site.log) == 1


@pytest.mark.usefixtures("site")  # for its freedom from proxies
def test_a_server_that_is_not_there(target):
    with serve(CONTENT) as gone:
        pass
    with pytest.raises(CumelError, match=r"no connection .*, tried 2 times"):
        fetch(gone.url, target, retries=1)
