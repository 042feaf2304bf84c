"""One file over HTTP: a transfer that resumes, within a run and in the next one."""

from __future__ import annotations

import http.client
import logging
import time
import urllib.error
import urllib.request
from pathlib import Path

from ..kernels.errors import CumelError
from .progress import bar

TIMEOUT_SECONDS = 30.0  # without a byte
CHUNK_BYTES = 1 << 16
TRANSIENT_CLIENT_ERRORS = (408, 425, 429)  # request timeout, too early, too many requests

log = logging.getLogger(__name__)


class _TransferError(Exception):
    """A transfer that broke off and is worth another try."""


def fetch(url: str, target: Path, *, retries: int, backoff: float) -> None:
    """Transfer until all of `target` is there or `retries` tries in a row brought nothing new.

    Parameters
    ----------
    target : Path
        Appears whole or not at all. Until then ``target.part`` holds the bytes and ``target.part.origin`` where they
        came from; a later call resumes from these.
    retries : int
        How many tries in a row may fail without a new byte before it gives up.
    backoff : float
        Seconds before the first retry, doubled before each further one.

    Raises
    ------
    CumelError
        If the server refuses, or the tries are used up.
    OSError
        If the disk does not take the bytes.
    """
    part, origin = (target.with_name(target.name + suffix) for suffix in (".part", ".part.origin"))
    furthest, failures = _size(part), 0
    while True:
        try:
            _transfer(url, part, origin)
            break
        except _TransferError as error:
            failures = 1 if _size(part) > furthest else failures + 1
            furthest = max(furthest, _size(part))
            if failures > retries:
                raise CumelError(f"{url}: {error}, tried {failures} times; run again later, it resumes") from error
            delay = backoff * 2 ** (failures - 1)
            log.warning("%s: %s; next try in %.0f s", url, error, delay)
            time.sleep(delay)
    part.replace(target)
    origin.unlink()


def _transfer(url: str, part: Path, origin: Path) -> None:
    """Bring `part` up to the whole file, from where it stands if the server vouches that the file is still the same.

    `origin` remembers the address of the bytes in `part` and their validator (RFC 9110, sections 8.8 and 13.1.5).
    """
    known_url, _, validator = origin.read_text("utf-8").partition("\n") if origin.exists() else ("", "", "")
    start = _size(part) if known_url == url and validator else 0
    response = _request(url, part, start, validator)
    if response is None:
        return
    with response:
        span = response.headers.get("Content-Range", "")
        if response.status != 206:
            start = 0
        elif not start or not span.startswith(f"bytes {start}-") or _validator(response) not in ("", validator):
            part.unlink(missing_ok=True)
            raise _TransferError("the file on the server has changed")
        size = span.rpartition("/")[2]
        total = int(size) if size.isdecimal() else None if response.length is None else start + response.length
        with part.open("ab" if start else "wb") as file, bar("downloading", total, unit="B") as advance:
            if not start:
                origin.write_text(f"{url}\n{_validator(response)}", "utf-8")
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
        return urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:
            if error.headers["Content-Range"] == f"bytes */{start}":
                return None  # the last run ended between the last byte and the renaming
            part.unlink()
        elif error.code < 500 and error.code not in TRANSIENT_CLIENT_ERRORS:
            raise CumelError(f"{url}: HTTP {error.code} {error.reason}; check the address") from error
        raise _TransferError(f"HTTP {error.code} {error.reason}") from error
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


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
