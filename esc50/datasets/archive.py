"""ESC-50 from its public archive: a dataset that is whole or absent."""

from __future__ import annotations

import csv
import errno
import filecmp
import hashlib
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from ...kernels import CumelError
from ..system import bar
from .transfer import fetch
from .unpack import ArchiveError, unpack

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
STAGING = ".cumel-unpacking-"  # how folders begin in which an archive is unpacked
KEPT = ("audio", "meta", "LICENSE", "README.md")

log = logging.getLogger(__name__)


def download(
    root: Path,
    url: str = ESC50_URL,
    sha256: str | None = None,
    retries: int = 5,
    *,
    n_clips: int = ESC50_CLIPS,
    backoff: float = 1.0,
) -> Path:
    """Put ESC-50 into `root`, or do nothing if it is there; return `root`.

    Parameters
    ----------
    root : Path
        Gets ``meta/esc50.csv``, ``audio/`` and the archive, ``esc50.zip``. An archive already there is not fetched, and
        never removed. A clip or document there that differs from the archive's is kept beside it, as ``NAME.kept``.
    url : str
        Where the archive is. A redirect from https to anything else is refused.
    sha256 : str, optional
        The archive's checksum, 64 hexadecimal digits; "none" leaves it unchecked. At the default address it is known,
        at others unchecked. The content is checked in any case: every clip's CRC, and that none is missing.
    retries : int
        How many tries in a row may fail without a new byte before it gives up.
    n_clips : int
        How many clips the table must name.
    backoff : float
        Seconds before the first retry, doubled before each further one.

    Raises
    ------
    CumelError
        If the archive cannot be had, is not what it should be, or does not fit on the disk; if `root` holds another
        dataset's ``meta/esc50.csv``.
    """
    if not url.startswith(("http://", "https://")):
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
        if not archive.exists():
            fetch(url, archive, retries=retries, backoff=backoff)
            fetched = True
        _install(archive, None if sha256 == NO_CHECKSUM else sha256, n_clips)
    except ArchiveError as error:
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


def _install(archive: Path, sha256: str | None, n_clips: int) -> None:
    """Check the archive, unpack it beside the dataset, check that too, and move it into place."""
    with archive.open("rb") as file:
        if sha256 and (actual := hashlib.file_digest(file, "sha256").hexdigest()) != sha256.lower():
            known = sha256.lower() == ESC50_SHA256
            hint = " (if it was packed anew, --sha256 none checks its content alone)" if known else ""
            raise ArchiveError(f"its SHA-256 is {actual} where {sha256.lower()} is expected{hint}")
    for old in archive.parent.glob(f"{STAGING}*"):
        shutil.rmtree(old, ignore_errors=True)  # a run that was killed could not clean up
    staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=archive.parent))
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
