"""ESC-50 from its public archive: a transfer that resumes, a checked archive, a dataset that is whole or absent."""

from __future__ import annotations

import csv
import errno
import hashlib
import http.client
import logging
import re
import shutil
import stat
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path

from ..kernels.errors import CumelError
from .progress import bar

ESC50_URL = "https://github.com/karoldvl/ESC-50/archive/master.zip"
ESC50_SHA256: str | None = None  # GitHub packs the archive on demand and does not promise the same bytes twice
ESC50_CLIPS = 2000
LICENSE_NOTICE = (
    "ESC-50 by Karol J. Piczak (2015) is licensed CC BY-NC 3.0 (not for commercial use), its subset ESC-10 CC BY.\n"
    "Cite: K. J. Piczak, ESC: Dataset for Environmental Sound Classification, ACM Multimedia 2015."
)

TABLE = "meta/esc50.csv"
KEPT = ("audio", "meta", "LICENSE", "README.md")
MAX_UNPACKED_BYTES = 4 << 30  # ESC-50 is 0.9 GB of 16-bit audio
TIMEOUT_SECONDS = 30.0  # without a byte
CHUNK_BYTES = 1 << 16
TRANSIENT_CLIENT_ERRORS = (408, 425, 429)  # request timeout, too early, too many requests
UNSAFE_NAME = re.compile(r"^/|[:\\]|(^|/)\.\.(/|$)")  # absolute, a drive's, climbing
PLAIN_MODES = (0, stat.S_IFREG, stat.S_IFDIR)  # no links, no devices; 0: packed without a mode
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, UnicodeDecodeError, OSError)  # as zipfile reports it

log = logging.getLogger(__name__)


class _TransferError(Exception):
    """A transfer that broke off and is worth another try."""


class _ArchiveError(Exception):
    """An archive whose content is wrong: it has to go."""


def download(
    root: Path,
    url: str = ESC50_URL,
    sha256: str | None = ESC50_SHA256,
    retries: int = 5,
    *,
    n_clips: int = ESC50_CLIPS,
    backoff: float = 1.0,
) -> Path:
    """Put ESC-50 into `root`, or do nothing if it is there; return `root`.

    Parameters
    ----------
    root : Path
        Gets ``meta/esc50.csv``, ``audio/`` and the archive, ``esc50.zip``. An archive already there is not fetched.
    sha256 : str, optional
        The archive's checksum, 64 hexadecimal digits. The content is checked with or without it.
    retries : int
        How many tries in a row may fail without a new byte before it gives up.
    n_clips : int
        How many clips the table must name.
    backoff : float
        Seconds before the first retry, doubled before each further one.

    Raises
    ------
    CumelError
        If the archive cannot be had, is not what it should be, or does not fit on the disk.
    """
    if not url.startswith(("http://", "https://")):
        raise CumelError(f"url={url} is not a web address; use one that starts with https://")
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise CumelError(f"sha256={sha256} is not a SHA-256 checksum; give all of its 64 hexadecimal digits")
    archive = root / "esc50.zip"
    try:
        if is_complete(root, n_clips):
            with bar("complete already, nothing to do", n_clips, unit="clips") as advance:
                advance(n_clips)
            return root
        root.mkdir(parents=True, exist_ok=True)
        if not archive.exists():
            _fetch(url, archive, retries, backoff)
        _unpack(archive, sha256, n_clips)
    except _ArchiveError as error:
        archive.unlink()
        raise CumelError(f"{archive}: {error}; it was removed, run the same command again to start afresh") from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space and run again, it resumes" if full else "choose a ROOT that can be written to"
        raise CumelError(f"{error.filename or root}: {error.strerror or error}; {remedy}") from error
    return root


def is_complete(root: Path, n_clips: int = ESC50_CLIPS) -> bool:
    """Whether `root` holds the table and every clip that it names."""
    return _fault(root, n_clips) is None


def _fault(root: Path, n_clips: int) -> str | None:
    """Say what `root` lacks of the dataset."""
    if not (root / TABLE).is_file():
        return f"{TABLE} is missing"
    with (root / TABLE).open(newline="", encoding="utf-8", errors="replace") as file:
        named = {row.get("filename") or "" for row in csv.DictReader(file)}
    if len(named) != n_clips:
        return f"{TABLE} names {len(named)} clips where {n_clips} are expected"
    missing = named - {clip.name for clip in (root / "audio").glob("*")}
    return f"{len(missing)} of {n_clips} clips are missing, audio/{min(missing)} first" if missing else None


def _fetch(url: str, archive: Path, retries: int, backoff: float) -> None:
    """Transfer until all is there or `retries` tries in a row brought nothing new."""
    part, origin = (archive.with_name(archive.name + suffix) for suffix in (".part", ".part.origin"))
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
    part.replace(archive)
    origin.unlink()


def _transfer(url: str, part: Path, origin: Path) -> None:
    """Bring `part` up to the whole file, from where it stands if the server vouches that the file is still the same.

    `origin` remembers the address of the bytes in `part` and their validator (RFC 9110, sections 8.8 and 13.1.5).
    """
    known_url, _, validator = origin.read_text("utf-8").partition("\n") if origin.exists() else ("", "", "")
    start = _size(part) if known_url == url and validator else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-", "If-Range": validator} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:
            if error.headers["Content-Range"] == f"bytes */{start}":
                return  # the last run ended between the last byte and the renaming
            part.unlink()
        elif error.code < 500 and error.code not in TRANSIENT_CLIENT_ERRORS:
            raise CumelError(f"{url}: HTTP {error.code} {error.reason}; check the address") from error
        raise _TransferError(f"HTTP {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _TransferError(f"no connection ({error})") from error
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


def _unpack(archive: Path, sha256: str | None, n_clips: int) -> None:
    """Check the archive, unpack it beside the dataset, check that too, and move it into place."""
    with archive.open("rb") as file:
        if sha256 and (actual := hashlib.file_digest(file, "sha256").hexdigest()) != sha256.lower():
            raise _ArchiveError(f"its SHA-256 is {actual} where {sha256.lower()} is expected")
    staging = archive.with_name("esc50.unpacking")
    shutil.rmtree(staging, ignore_errors=True)  # a run that was killed could not clean up
    try:
        _extract(archive, staging)
        tops = list(staging.glob("*"))
        source = tops[0] if len(tops) == 1 else staging  # GitHub wraps all of it in ESC-50-master/
        if fault := _fault(source, n_clips):
            raise _ArchiveError(fault)
        _install(source, archive.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _extract(archive: Path, staging: Path) -> None:
    """Extract every member, and with it check its CRC, once all of them are known to be harmless."""
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = zipped.infolist()
            for member in members:
                if UNSAFE_NAME.search(member.filename) or stat.S_IFMT(member.external_attr >> 16) not in PLAIN_MODES:
                    raise _ArchiveError(f"its member {member.filename!r} is unsafe: a link or a path out of the folder")
            total = sum(member.file_size for member in members)  # binding: zipfile reads no further
            if total > MAX_UNPACKED_BYTES:
                raise _ArchiveError(f"it would unpack to {total} bytes where {MAX_UNPACKED_BYTES} are the limit")
            if total > (free := shutil.disk_usage(archive.parent).free):
                raise CumelError(f"{archive}: unpacks to {total} bytes, {free} are free; free some space and run again")
            with bar("unpacking", total, unit="B") as advance:
                for member in members:
                    zipped.extract(member, staging)
                    advance(member.file_size)
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # a wrong offset is EINVAL
            raise
        raise _ArchiveError(f"it is damaged ({str(error) or type(error).__name__})") from error


def _install(source: Path, root: Path) -> None:
    """Move the dataset's files into `root`, the table last: until it is there nothing looks like a dataset."""
    files = [file for file in source.rglob("*") if file.is_file() and file.relative_to(source).parts[0] in KEPT]
    for file in sorted(files, key=lambda file: file == source / TABLE):
        target = root / file.relative_to(source)
        if target.parent == root and target.exists():
            continue  # a README.md or LICENSE that may be the user's own
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
