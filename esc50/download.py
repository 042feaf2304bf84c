"""ESC-50 from its public archive: a dataset that is whole or absent."""

from __future__ import annotations

import csv
import errno
import hashlib
import re
import shutil
from pathlib import Path

from ..kernels.errors import CumelError
from .progress import bar
from .transfer import fetch
from .unpack import ArchiveError, unpack

ESC50_URL = "https://github.com/karoldvl/ESC-50/archive/master.zip"
ESC50_SHA256: str | None = None  # GitHub packs the archive on demand and does not promise the same bytes twice
ESC50_CLIPS = 2000
LICENSE_NOTICE = (
    "ESC-50 by Karol J. Piczak (2015) is licensed CC BY-NC 3.0 (not for commercial use), its subset ESC-10 CC BY.\n"
    "Cite: K. J. Piczak, ESC: Dataset for Environmental Sound Classification, ACM Multimedia 2015."
)

TABLE = "meta/esc50.csv"
KEPT = ("audio", "meta", "LICENSE", "README.md")


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
            fetch(url, archive, retries=retries, backoff=backoff)
        _install(archive, sha256, n_clips)
    except ArchiveError as error:
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


def _install(archive: Path, sha256: str | None, n_clips: int) -> None:
    """Check the archive, unpack it beside the dataset, check that too, and move it into place."""
    with archive.open("rb") as file:
        if sha256 and (actual := hashlib.file_digest(file, "sha256").hexdigest()) != sha256.lower():
            raise ArchiveError(f"its SHA-256 is {actual} where {sha256.lower()} is expected")
    staging = archive.with_name("esc50.unpacking")
    shutil.rmtree(staging, ignore_errors=True)  # a run that was killed could not clean up
    try:
        unpack(archive, staging)
        tops = list(staging.glob("*"))
        source = tops[0] if len(tops) == 1 else staging  # GitHub wraps all of it in ESC-50-master/
        if fault := _fault(source, n_clips):
            raise ArchiveError(fault)
        _move(source, archive.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _move(source: Path, root: Path) -> None:
    """Move the dataset's files into `root`, the table last: until it is there nothing looks like a dataset."""
    files = [file for file in source.rglob("*") if file.is_file() and file.relative_to(source).parts[0] in KEPT]
    for file in sorted(files, key=lambda file: file == source / TABLE):
        target = root / file.relative_to(source)
        if target.parent == root and target.exists():
            continue  # a README.md or LICENSE that may be the user's own
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
