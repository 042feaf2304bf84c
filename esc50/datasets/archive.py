"""ESC-50 from its public archive: a dataset that is whole or absent."""

from __future__ import annotations

import csv
import errno
import filecmp
import logging
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pooch
import requests

from ...kernels import CumelError
from ..system import bar

ESC50_URL = "https://github.com/karolpiczak/ESC-50/archive/33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6.zip"
# Published by several projects that fetch this commit. GitHub packs on demand, and may one day pack other bytes.
ESC50_SHA256 = "661183a6f53ef04f12c9bd618fed0ddc1713280d6c94a5a5431e844ba6f6a21f"
NO_CHECKSUM = "none"
ESC50_CLIPS = 2000
LICENSE_NOTICE = (
    "ESC-50 by Karol J. Piczak (2015) is licensed CC BY-NC 3.0 (not for commercial use), its subset ESC-10 CC BY.\n"
    "Cite: K. J. Piczak, ESC: Dataset for Environmental Sound Classification, ACM Multimedia 2015."
)

TABLE = "meta/esc50.csv"
ARCHIVE = "esc50.zip"
STAGING = ".cumel-download-"  # prefix of a run's own folder; a later run removes those of runs that were killed
KEPT = ("audio", "meta", "LICENSE", "README.md")
MAX_UNPACKED_BYTES = 4 << 30  # ESC-50 is 0.9 GB of 16-bit audio
TIMEOUT_SECONDS = 30.0  # longest silence of a server
CHUNK_BYTES = 1 << 16
TRANSIENT_CLIENT_ERRORS = (408, 425, 429)  # request timeout, too early, too many requests
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, UnicodeDecodeError)  # what zipfile raises

log = logging.getLogger(__name__)


class _ArchiveError(Exception):
    """An archive with the wrong content: it has to go."""


class _RefusedError(Exception):
    """An answer of the server that another try would not change."""


def download(
    root: Path, url: str = ESC50_URL, sha256: str | None = None, retries: int = 5, *, n_clips: int = ESC50_CLIPS
) -> Path:
    """Put ESC-50 into `root`, or do nothing if it is there; return `root`.

    Parameters
    ----------
    root : Path
        Gets ``meta/esc50.csv``, ``audio/`` and the archive, ``esc50.zip``. An archive already there is not fetched, and
        never removed. A clip there that differs from the archive's is kept beside it, as ``NAME.kept``.
    url : str
        Where the archive is. A redirect from https to anything else is refused.
    sha256 : str, optional
        The archive's checksum, 64 hexadecimal digits; "none" leaves it unchecked. At the default address it is known,
        at others unchecked. The content is checked in any case: every clip's CRC, and that none is missing.
    retries : int
        How often a failed download is tried again, each time from its first byte.
    n_clips : int
        How many clips the table must name.

    Raises
    ------
    CumelError
        If the archive cannot be fetched, has the wrong content, or does not fit on the disk; if `root` holds another
        dataset's ``meta/esc50.csv``.
    """
    if not re.match("https?://[^/]", url):
        raise CumelError(f"url={url} is not a web address; use one that starts with https://")
    if sha256 is None and url == ESC50_URL:
        sha256 = ESC50_SHA256
    if sha256 not in (None, NO_CHECKSUM) and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise CumelError(f"sha256={sha256} is not a SHA-256 checksum; give all of its 64 hexadecimal digits")
    archive = root / ARCHIVE
    fetched = False
    try:
        if is_complete(root, n_clips):
            with bar("complete already, nothing to do", n_clips, unit="clips") as advance:
                advance(n_clips)
            return root
        if (root / TABLE).is_file() and len(_named(root)) != n_clips:
            raise _another_table(root)
        root.mkdir(parents=True, exist_ok=True)
        for remains in root.glob(f"{STAGING}*"):
            shutil.rmtree(remains, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=STAGING, dir=root, ignore_cleanup_errors=True) as staging:
            if not archive.exists():
                _fetch(url, Path(staging), retries).replace(archive)
                fetched = True
            _check_sum(archive, None if sha256 == NO_CHECKSUM else sha256)
            _move(_unpack(archive, Path(staging) / "unpacked", n_clips), root)
    except _ArchiveError as error:
        if fetched:
            archive.unlink()
            remedy = "it was removed, run the same command again to start afresh"
        else:
            remedy = "this run did not fetch it, so it stays; move it away, and run again"
        raise CumelError(f"{archive}: {error}; {remedy}") from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space and run again" if full else "choose a ROOT that can be written to"
        raise CumelError(f"{error.filename or root}: {error.strerror or error}; {remedy}") from error
    return root


def is_complete(root: Path, n_clips: int = ESC50_CLIPS) -> bool:
    """Whether `root` holds the table and every clip that it names."""
    return _fault(root, n_clips) is None


def _fault(root: Path, n_clips: int) -> str | None:
    """Say what `root` lacks of the dataset."""
    if not (root / TABLE).is_file():
        return f"{TABLE} is missing"
    named = _named(root)
    if len(named) != n_clips:
        return f"{TABLE} names {len(named)} clips where {n_clips} are expected"
    missing = named - {clip.name for clip in (root / "audio").glob("*")}
    return f"{len(missing)} of {n_clips} clips are missing, audio/{min(missing)} first" if missing else None


def _named(root: Path) -> set[str]:
    """Return the clips that the table names."""
    with (root / TABLE).open(newline="", encoding="utf-8", errors="replace") as file:
        return {row.get("filename") or "" for row in csv.DictReader(file)}


def _another_table(root: Path) -> CumelError:
    return CumelError(f"{root / TABLE}: is not ESC-50's table, and stays; choose another ROOT, or move it away")


def _fetch(url: str, folder: Path, retries: int) -> Path:
    """Fetch the archive into a folder. pooch tries again, and leaves no part of a file behind."""
    unchecked: Any = {ARCHIVE: None}  # after a wrong checksum pooch would fetch all of it again
    source = pooch.Pooch(folder, base_url="", registry=unchecked, urls={ARCHIVE: url}, retry_if_failed=retries)
    try:
        return Path(source.fetch(ARCHIVE, downloader=_transfer))  # pyright: ignore[reportArgumentType]
    except _RefusedError as error:
        raise CumelError(f"{url}: {error}; check the address") from error
    except requests.RequestException as error:
        raise CumelError(f"{url}: {error}, tried {retries + 1} times; run again later") from error


def _transfer(url: str, path: str, _: pooch.Pooch) -> None:
    """Write what a server sends into a file, under our own progress bar."""
    hooks = {"response": _check_answer}
    with requests.get(url, stream=True, timeout=TIMEOUT_SECONDS, hooks=hooks) as response:
        response.raise_for_status()
        total = response.headers.get("Content-Length")
        with Path(path).open("wb") as file, bar("downloading", int(total) if total else None, unit="B") as advance:
            for chunk in response.iter_content(CHUNK_BYTES):
                file.write(chunk)
                advance(len(chunk))


def _check_answer(response: requests.Response, **_: Any) -> None:
    """Refuse to follow a server that proved its identity to one that did not, and to repeat a question in vain."""
    target = urljoin(response.url, response.headers.get("Location", ""))
    if response.is_redirect and urlsplit(response.url).scheme == "https" != urlsplit(target).scheme:
        raise _RefusedError(f"redirects from https to {target}, which is not followed")
    if 400 <= response.status_code < 500 and response.status_code not in TRANSIENT_CLIENT_ERRORS:
        raise _RefusedError(f"HTTP {response.status_code} {response.reason}")


def _check_sum(archive: Path, sha256: str | None) -> None:
    if sha256 and (actual := pooch.file_hash(archive, alg="sha256")) != sha256.lower():
        known = sha256.lower() == ESC50_SHA256
        hint = " (if it was packed anew, --sha256 none checks its content alone)" if known else ""
        raise _ArchiveError(f"its SHA-256 is {actual} where {sha256.lower()} is expected{hint}")


def _unpack(archive: Path, folder: Path, n_clips: int) -> Path:
    """Unpack every member, which checks its CRC, and return the folder of the dataset in it.

    zipfile keeps every member inside `folder`, makes no links, and reads no more of a member than its stated size.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            total = sum(member.file_size for member in zipped.infolist())
            if total > MAX_UNPACKED_BYTES:
                raise _ArchiveError(f"it would unpack to {total} bytes where {MAX_UNPACKED_BYTES} are the limit")
            if total > (free := shutil.disk_usage(archive.parent).free):
                raise CumelError(f"{archive}: unpacks to {total} bytes, {free} are free; free some space and run again")
            with bar("unpacking", total, unit="B") as advance:
                for member in zipped.infolist():
                    zipped.extract(member, folder)
                    advance(member.file_size)
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # zipfile seeks to a wrong offset all the same
            raise
        raise _ArchiveError(f"it is damaged ({str(error) or type(error).__name__})") from error
    tops = list(folder.glob("*"))
    source = tops[0] if len(tops) == 1 else folder  # GitHub puts everything into a folder ESC-50-master/
    if fault := _fault(source, n_clips):
        raise _ArchiveError(fault)
    return source


def _move(source: Path, root: Path) -> None:
    """Move the dataset's files into `root`, the table last: until it is there nothing looks like a dataset.

    A file there that differs is kept: README.md and LICENSE in their place, others beside the dataset's.
    """
    if (root / TABLE).is_file() and not filecmp.cmp(source / TABLE, root / TABLE, shallow=False):
        raise _another_table(root)
    files = [file for file in source.rglob("*") if file.is_file() and file.relative_to(source).parts[0] in KEPT]
    for file in sorted(files, key=lambda file: file == source / TABLE):
        target = root / file.relative_to(source)
        if target.exists():
            if target.parent == root:
                continue
            if not filecmp.cmp(file, target, shallow=False):
                kept = next(place for place in _places(target) if not place.exists())
                target.rename(kept)
                log.warning("%s: differs from ESC-50's, and is kept as %s", target, kept.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)


def _places(target: Path) -> Iterator[Path]:
    """Yield names under which a file may be kept."""
    yield target.with_name(f"{target.name}.kept")
    yield from (target.with_name(f"{target.name}.kept{i}") for i in count(2))
