"""One file over HTTP: a transfer that resumes, within a run and in the next one."""

from __future__ import annotations

import http.client
import logging
import time
import urllib.error
import urllib.request
from pathlib import Path

from ...kernels import CumelError
from ..system import bar

TIMEOUT_SECONDS = 30.0  # without a byte
CHUNK_BYTES = 1 << 16
PART = ".cumel-part"  # ending of a file that is on its way
TRANSIENT_CLIENT_ERRORS = (408, 425, 429)  # request timeout, too early, too many requests

log = logging.getLogger(__name__)


class _TransferError(Exception):
    """A transfer that broke off and is worth another try."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from a server that proved who it is to one that did not."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        schemes = ("https",) if req.type == "https" else ("http", "https")
        if newurl.partition(":")[0].lower() not in schemes:
            fp.close()
            raise CumelError(
                f"{req.full_url}: redirects from {req.type} to {newurl}, which is not followed; give an address that "
                f"stays with {req.type}"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(url: str, target: Path, *, retries: int, backoff: float) -> None:
    """Transfer until all of `target` is there or `retries` tries in a row brought nothing new.

    Parameters
    ----------
    target : Path
        Appears whole or not at all. Until then ``target.cumel-part`` holds the bytes and ``target.cumel-part.origin``
        where they came from; a later call resumes from these where the server can send the rest alone.
    retries : int
        How many tries in a row may fail without a new byte before it gives up.
    backoff : float
        Seconds before the first retry, doubled before each further one.

    Raises
    ------
    CumelError
        If the server refuses, redirects from https to something else, or the tries are used up.
    OSError
        If the disk does not take the bytes.
    """
    part, origin = (target.with_name(target.name + suffix) for suffix in (PART, f"{PART}.origin"))
    furthest, failures = _size(part), 0
    while True:
        try:
            _transfer(url, part, origin)
            break
        except _TransferError as error:
            failures = 1 if _size(part) > furthest else failures + 1
            furthest = max(furthest, _size(part))
            if failures > retries:
                again = f"run again later{_what_then(part, origin)}"
                raise CumelError(f"{url}: {error}, tried {failures} times; {again}") from error
            delay = backoff * 2 ** (failures - 1)
            log.warning("%s: %s; next try in %.0f s", url, error, delay)
            time.sleep(delay)
    part.replace(target)
    origin.unlink()


def _transfer(url: str, part: Path, origin: Path) -> None:
    """Bring `part` up to the whole file, from where it stands if the server vouches that the file is still the same.

    `origin` remembers the address of the bytes in `part`, their validator (RFC 9110, sections 8.8 and 13.1.5), and
    whether the server announced that it serves ranges (section 14.3).
    """
    known_url, validator, _ = _known(origin)
    start = _size(part) if known_url == url and validator else 0
    response = _request(url, part, start, validator)
    if response is None:
        return
    with response:
        span = response.headers.get("Content-Range", "")
        ranges = response.headers.get("Accept-Ranges", "")
        if response.status != 206:
            start, ranges = 0, "" if start else ranges  # a server that was asked for the rest and sent everything
        elif not start or not span.startswith(f"bytes {start}-") or _validator(response) not in ("", validator):
            part.unlink(missing_ok=True)
            raise _TransferError("the file on the server has changed")
        size = span.rpartition("/")[2]
        total = int(size) if size.isdecimal() else None if response.length is None else start + response.length
        with part.open("ab" if start else "wb") as file, bar("downloading", total, unit="B") as advance:
            if not start:
                origin.write_text(f"{url}\n{_validator(response)}\n{ranges}", "utf-8")
            advance(start)
            while chunk := _read(response):
                file.write(chunk)
                advance(len(chunk))
    if total is not None and _size(part) != total:
        raise _TransferError(f"the connection ended at byte {_size(part)} of {total}")


def _request(url: str, part: Path, start: int, validator: str) -> http.client.HTTPResponse | None:
    """Ask for the bytes from `start` on; None where `part` has all of them."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-", "If-Range": validator} if start else {})
    try:
        return urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:
            if error.headers["Content-Range"] == f"bytes */{start}":
                return None  # the last run ended between the last byte and the renaming
            part.unlink()
        elif error.code < 500 and error.code not in TRANSIENT_CLIENT_ERRORS:
            raise CumelError(f"{url}: HTTP {error.code} {error.reason}; check the address") from error
        raise _TransferError(f"HTTP {error.code} {error.reason}") from error
    except CumelError:
        raise
    except (ValueError, http.client.InvalidURL) as error:
        raise CumelError(f"{url}: not an address ({error}); check it") from error
    except (OSError, http.client.HTTPException) as error:
        raise _TransferError(f"no connection ({error})") from error


def _read(response: http.client.HTTPResponse) -> bytes:
    """Read a chunk; here an OSError comes from the network, around the caller's write from the disk."""
    try:
        return response.read(CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _TransferError(f"the connection broke ({error})") from error


def _validator(response: http.client.HTTPResponse) -> str:
    """Return what If-Range may carry: a strong ETag, else the date of the last change."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified", "")


def _known(origin: Path) -> tuple[str, str, str]:
    """Return what is remembered: address, validator, and the unit in which the server serves ranges."""
    lines = origin.read_text("utf-8").split("\n") if origin.exists() else []
    url, validator, ranges, *_ = [*lines, "", "", ""]
    return url, validator, ranges


def _what_then(part: Path, origin: Path) -> str:
    """Say what another run does with the bytes that are there."""
    if not _size(part):
        return ""
    _, validator, ranges = _known(origin)
    return ", it resumes" if validator and ranges == "bytes" else ", it starts over: the server sends no rest alone"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
