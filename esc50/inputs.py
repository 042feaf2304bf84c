"""What the user points at becomes a list of recordings: files, folders, patterns, manifests, a list on stdin."""

# Strings until the end, for there may be millions of names:
# ruff: noqa: PTH112, PTH116, PTH118

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..kernels import CumelError
from .audio import EXTENSIONS
from .files import RealPaths

STDIN = "-"
MANIFESTS = (".csv", ".parquet")
COLUMNS = ("path", "file", "filename")  # of a manifest; the first that it has
STDIN_BYTES = 1 << 20  # read at once


def resolve(inputs: Sequence[str | Path]) -> list[Path]:
    """List the recordings in `inputs`, each once, in an order that depends on their names alone.

    A file is taken as it is. A folder is searched for audio by extension, depth first, by name; it is entered once,
    however many links lead to it, so a loop of links ends. A pattern (``*``, ``?``, ``[``, ``**``) that names no file
    is expanded. A ``.csv`` or ``.parquet`` manifest lists files in its column path, file or filename, relative to its
    own folder. ``-`` reads paths from stdin, one a line, or with a NUL after each.

    Parameters
    ----------
    inputs : sequence of str or path

    Returns
    -------
    list of Path
        What cannot be read (a missing file, a folder without recordings beside other inputs) is listed as well,
        for `load` to say what is wrong with it.

    Raises
    ------
    CumelError
        When there is no recording in any of `inputs`, or a manifest is not usable.
    """
    found = _Found()
    for given in inputs:
        text = os.fspath(given)
        if text == STDIN:
            found.add_list(_from_stdin(), "stdin")
        elif os.path.isdir(text):
            found.add_folder(text)
        elif Path(text).suffix.lower() in MANIFESTS:
            found.add_list(_from_manifest(Path(text)), text)
        elif _is_pattern(text) and not os.path.lexists(text):
            found.add_pattern(text)
        else:
            found.add(text)
    if not found.n_recordings:
        raise CumelError(found.nothing or "no recordings given; name files or folders")
    return list(found.paths.values())


class _Found:
    """The recordings so far, by real path, and the folders that were entered."""

    def __init__(self) -> None:
        self.paths: dict[str, Path] = {}
        self.folders: set[tuple[int, int]] = set()  # device and inode
        self.real = RealPaths()
        self.n_recordings = 0
        self.nothing = ""  # why the first input without recordings has none

    def add(self, path: str, real: str | None = None) -> None:
        """Take a recording."""
        self.n_recordings += 1
        self.paths.setdefault(real or self.real(path), Path(path))

    def add_list(self, paths: Iterable[str], name: str) -> None:
        """Take the recordings of a list."""
        before = self.n_recordings
        for path in paths:
            self.add(path)
        if self.n_recordings == before:
            self.nothing = self.nothing or f"{name}: lists no recordings; name files or folders"

    def add_folder(self, top: str) -> None:
        """Search a folder, without a look at the files themselves."""
        before = self.n_recordings
        pending = [(top, os.path.realpath(top), True)]
        while pending:
            path, real, is_folder = pending.pop()
            if not is_folder:
                self.add(path, real)
                continue
            try:
                inside = self._enter(path, real)
            except OSError:
                self._add_empty(path, real, "cannot be searched")
                continue
            if inside is not None:
                pending += inside
                if not inside and _is_audio(path):  # a folder in a recording's place
                    self.add(path, real)
            elif path == top:
                return
        if self.n_recordings == before:
            self._add_empty(top, os.path.realpath(top), "no recordings in this folder")

    def add_pattern(self, pattern: str) -> None:
        """Expand a pattern. ``**`` follows no links to folders: pathlib does not, `glob` would for ever."""
        parts = Path(pattern).parts
        while parts[-1] == "**":  # the folder with all that is in it
            parts = parts[:-1] or (os.curdir,)
        fixed = next((i for i, part in enumerate(parts) if _is_pattern(part)), len(parts))
        base, rest = Path(*parts[:fixed]), os.sep.join(parts[fixed:])
        try:
            matches = [str(match) for match in sorted(base.glob(rest))] if rest else [str(base)]
        except ValueError as error:
            raise CumelError(f"{pattern}: {error}; quote it, or name a folder") from None
        for match in matches:
            if os.path.isdir(match):
                self.add_folder(match)
            else:
                self.add(match)
        if not matches:
            self._add_empty(pattern, self.real(pattern), "no recordings match this pattern")

    def _add_empty(self, path: str, real: str, why: str) -> None:
        """Take what `load` will refuse; alone it is no input at all."""
        self.paths.setdefault(real, Path(path))
        self.nothing = self.nothing or f"{path}: {why}; looked for {', '.join(EXTENSIONS)}"

    def _enter(self, folder: str, real: str) -> list[tuple[str, str, bool]] | None:
        """List the recordings and folders in a folder, last name first; None when it was entered before."""
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in self.folders:
            return None
        self.folders.add((status.st_dev, status.st_ino))
        inside = []
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
                is_folder = _is_folder(entry)
                if is_folder or _is_audio(entry.name):
                    own = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(real, entry.name)
                    inside.append((entry.path, own, is_folder))
        return inside


def _is_audio(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS)


def _is_pattern(text: str) -> bool:
    return any(character in text for character in "*?[")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _from_stdin() -> Iterator[str]:
    """Read paths from stdin, bytes as they are: one a line, or with a NUL after each when there is one."""
    rest, separator = b"", b""
    while block := sys.stdin.buffer.read(STDIN_BYTES):
        separator = separator or (b"\0" if b"\0" in block else b"\n")
        *whole, rest = (rest + block).split(separator)
        yield from (os.fsdecode(one.rstrip(b"\r")) for one in whole if one.strip())
    if rest.strip():
        yield os.fsdecode(rest.rstrip(b"\r"))


def _from_manifest(manifest: Path) -> Iterator[str]:
    rows = _from_csv if manifest.suffix.lower() == ".csv" else _from_parquet
    try:
        for number, name in enumerate(rows(manifest), start=1):
            if not name or "\0" in name:
                raise CumelError(f"{manifest}: row {number} names no file; fill it in, or leave the row out")
            yield os.path.join(manifest.parent, name)
    except OSError as error:
        raise CumelError(f"{manifest}: {error.strerror or error}; check the path and its permissions") from None
    except (csv.Error, pa.ArrowException) as error:
        raise CumelError(f"{manifest}: not a usable manifest ({str(error).splitlines()[0]})") from None


def _from_csv(manifest: Path) -> Iterator[str | None]:
    with manifest.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:  # a name is any bytes
        rows = csv.DictReader(file)
        column = _column(manifest, rows.fieldnames or [])
        for row in rows:
            yield row[column]


def _from_parquet(manifest: Path) -> Iterator[str | None]:
    with pq.ParquetFile(manifest) as file:
        column = _column(manifest, file.schema_arrow.names)
        for batch in file.iter_batches(columns=[column]):
            for name in batch.column(0).to_pylist():
                yield name if name is None else os.fsdecode(name)


def _column(manifest: Path, names: Sequence[str]) -> str:
    for name in COLUMNS:
        if name in names:
            return name
    raise CumelError(
        f"{manifest}: has no column {', '.join(COLUMNS[:-1])} or {COLUMNS[-1]}; its columns: {', '.join(names)}"
    )
