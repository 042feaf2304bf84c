"""The recordings that the user names, as one list: files, folders, patterns, manifests, a list on stdin."""

# Paths are strings here, as there may be millions of them:
# ruff: noqa: PTH112, PTH118, PTH120

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...kernels import CumelError, Later
from ..audio import EXTENSIONS
from .folders import HIDDEN, SYSTEM, Search, is_audio, left_out
from .listing import MISSING, UNUSABLE, Builder, Listing, shown
from .manifests import MANIFESTS, named

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc
else:  # More than a block of names alone needs them, as a store does.
    pa, pc = Later("pyarrow", "cumel.esc50.store"), Later("pyarrow.compute", "cumel.esc50.store")

STDIN = "-"
STDIN_BYTES = 1 << 20  # bytes per read
BLOCK = 1 << 16  # names that are Python objects at a time


def resolve(inputs: Sequence[str | Path]) -> Listing:
    """List the recordings in `inputs`, each once, in an order that depends on their names alone.

    A file is taken as it is. A folder is searched for audio by extension, depth first, by name; it is entered once,
    however many links lead to it, so a loop of links ends. In it, names that begin with a dot and those of systems
    (``__MACOSX``, ``$RECYCLE.BIN``, ...) are left out. A pattern (``*``, ``?``, ``[``, ``**``) that names no file is
    expanded, and takes what a folder would. A ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` manifest lists files in
    its column path, file or filename, a ``.txt`` one on each line, relative to its own folder. ``-`` reads paths from
    stdin, one a line, or with a NUL after each.

    Parameters
    ----------
    inputs : sequence of str or path

    Returns
    -------
    Listing
        The paths. An input that cannot be read (a missing file, a folder without recordings beside other inputs) is
        listed as well, so that the report says what is wrong with it; `check` refuses misspelt paths.

    Raises
    ------
    CumelError
        When there is no recording in any of `inputs`, or a manifest is not usable.
    """
    resolver = _Resolver()
    for path in inputs:
        resolver.take(os.fspath(path))
    listing = resolver.builder.listing()
    if not resolver.n_recordings:
        raise CumelError(resolver.nothing or "no recordings given; name files or folders")
    return listing


def check(listing: Sequence[Path]) -> None:
    """Refuse inputs that do not exist, with a `CumelError`."""
    if isinstance(listing, Listing) and listing.missing:
        raise CumelError(listing.missing)


class _Resolver:
    """Takes inputs one after another, and collects their recordings."""

    def __init__(self) -> None:
        self.builder = Builder()
        self.search = Search(self.builder)
        self.n_recordings = 0
        self.nothing = ""  # error message for the first input without recordings

    def take(self, text: str) -> None:
        """Take an input."""
        if text == STDIN:
            self.take_list(_from_stdin(), "stdin", "")
        elif os.path.isdir(text):
            self.take_folder(text)
        elif _is_pattern(text) and not os.path.lexists(text):
            self.take_pattern(text)
        elif os.path.splitext(text)[1].lower() in MANIFESTS:  # noqa: PTH122
            self.take_list((name for name, _ in named(Path(text))), text, os.path.dirname(text))
        elif os.path.lexists(text):
            self.n_recordings += 1
            self.builder.add_path(text)
        else:
            self.n_recordings += 1
            self.builder.add_path(text, kind=MISSING)
            self.builder.missing = self.builder.missing or f"{text}: no such file or folder; check the spelling"

    def take_list(self, paths: Iterable[str], name: str, root: str) -> None:
        """Take the recordings of a list; if none of its paths exists, note that it is no list, or lies elsewhere."""
        kinds, before, n_existing, path = self.builder.kinds, len(self.builder.kinds), 0, ""
        for path in paths:
            n_existing = n_existing or os.path.lexists(os.path.join(root, path))
            self.builder.add_path(path, root)
        self.n_recordings += len(kinds) - before
        if len(kinds) == before:
            why = f"{name}: lists no recordings; name files or folders"
            self.nothing, self.builder.missing = self.nothing or why, self.builder.missing or why
        elif not n_existing:
            self.builder.missing = self.builder.missing or (
                f"{name}: none of its paths is there, such as {os.path.join(root, path)}; "
                "a list has a path on each line, or a column of them, relative to its own folder"
            )

    def take_folder(self, top: str) -> None:
        """Take the recordings in a folder."""
        before = len(self.builder.nodes)
        try:
            why = "" if self.search(top) else "no recordings in this folder"
        except OSError:
            why = "cannot be searched"
        self.n_recordings += len(self.builder.nodes) - before
        if why:
            self._take_empty(top, why, UNUSABLE)

    def take_pattern(self, pattern: str) -> None:
        """Expand a pattern. pathlib's ``**`` follows no links to folders; that of `glob` would never leave a loop."""
        parts = Path(pattern).parts
        while parts[-1] == "**":  # `folder/**` is the folder itself
            parts = parts[:-1] or (os.curdir,)
        fixed = next((i for i, part in enumerate(parts) if _is_pattern(part)), len(parts))
        base, rest = os.path.join("", *parts[:fixed]), os.sep.join(parts[fixed:])
        if not rest:
            return self.take_folder(base)
        n_matches, suffix = 0, os.path.splitext(rest)[1]  # noqa: PTH122
        try:
            for match in _sorted(str(match) for match in Path(base).glob(rest)):
                self._take_match(match, base, suffix)
                n_matches += 1
        except ValueError as error:
            raise CumelError(f"{pattern}: {error}; quote it, or name a folder") from None
        if not n_matches:
            self._take_empty(pattern, "no recordings match this pattern", MISSING)
        return None

    def _take_match(self, match: str, base: str, suffix: str) -> None:
        """Take a match that a search of the folder would take, or that the pattern names by its extension."""
        below = os.path.relpath(match, base or os.curdir)
        parts = Path(below).parts
        reasons = [left_out(part, is_folder=True) for part in parts]
        is_folder = os.path.isdir(match)
        why = next(filter(None, reasons), None) or left_out(parts[-1], is_folder)
        if why in (HIDDEN, SYSTEM) or (why and not (suffix and match.endswith(suffix))):
            self.builder.left_out[why] += 1
        elif is_folder:
            self.take_folder(match)
        elif is_audio(match) or os.path.splitext(match)[1].lower() not in MANIFESTS:  # noqa: PTH122
            self.n_recordings += 1
            self.builder.add_path(below, base)
        else:
            self.take(match)

    def _take_empty(self, path: str, why: str, kind: int) -> None:
        """Note an input without recordings: the report names it, and alone it is refused."""
        left = f"; left out: {shown(self.builder.left_out)}" if self.builder.left_out else ""
        why = f"{path}: {why}; looked for {', '.join(EXTENSIONS)}{left}"
        self.nothing = self.nothing or why
        self.builder.add_path(path, kind=kind)
        if kind == MISSING:
            self.builder.missing = self.builder.missing or why


def _is_pattern(text: str) -> bool:
    return any(character in text for character in "*?[")


def _sorted(paths: Iterable[str]) -> Iterator[str]:
    """Sort any number of paths by their parts."""
    blocks, block = [], []
    for path in paths:
        block.append(os.fsencode(path).replace(b"/", b"\0"))
        if len(block) == BLOCK:
            blocks.append(pa.array(block, pa.binary()))
            block = []
    if not blocks:
        yield from (os.fsdecode(name.replace(b"\0", b"/")) for name in sorted(block))
        return
    packed = pa.chunked_array([*blocks, pa.array(block, pa.binary())])
    order = pc.sort_indices(packed)  # pyright: ignore[reportAttributeAccessIssue]
    for start in range(0, len(order), BLOCK):
        for name in packed.take(order[start : start + BLOCK]).to_pylist():
            yield os.fsdecode(name.replace(b"\0", b"/"))


def _from_stdin() -> Iterator[str]:
    """Read paths from stdin as raw bytes: NUL-terminated if the first block has a NUL, else one a line."""
    rest, separator = b"", b""
    while block := sys.stdin.buffer.read(STDIN_BYTES):
        separator = separator or (b"\0" if b"\0" in block else b"\n")
        *lines, rest = (rest + block).split(separator)
        yield from (os.fsdecode(line.rstrip(b"\r")) for line in lines if line.strip())
    if rest.strip():
        yield os.fsdecode(rest.rstrip(b"\r"))
