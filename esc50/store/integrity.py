"""What of a store is as it was written, and what is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ...kernels import CumelError
from ..inputs import split_root, unescaped
from ..system import replacing
from .arrays import REWRITE, damaged, open_shard
from .config import StoreConfig
from .places import NO_PLACES, PLACES, Places, keys_of
from .reader import check_frames
from .rows import DROPPED, IDENTITY
from .seals import CHECKSUM, write_sealed
from .shards import INDEX, ROW_SCHEMA, Row, Sidecar, merged, read_rows, shard_path, sidecar_path, sidecars


@dataclass
class Findings:
    """What an examination found."""

    recordings: int = 0
    checked: int = 0  # recordings whose features were compared with their checksum
    unchecked: int = 0  # that have none: an earlier version extracted them
    files: list[dict[str, str]] = field(default_factory=list)  # damaged ones: file, error
    rows: list[dict[str, str]] = field(default_factory=list)  # damaged recordings: path, file, error
    harmed: dict[str, tuple[str, str]] = field(default_factory=dict)  # those, by key: where they are, as `place_of`

    def add_file(self, path: Path, error: CumelError) -> None:
        """Note a file that cannot be read as what it is."""
        self.files.append({"file": path.name, "error": str(error)})

    def add_row(self, row: Row, file: Path, error: CumelError) -> None:
        """Note a recording whose features are not those that were written."""
        self.rows.append({"path": row["path"], "file": file.name, "error": str(error)})
        self.harmed[key_of_row(row)] = place_of(row)

    def count(self, checksum: int | None) -> None:
        """Count a recording that is right as far as can be known."""
        self.checked += checksum is not None
        self.unchecked += checksum is None

    def report(self) -> dict[str, Any]:
        """Return all of it, as JSON types."""
        passed = not self.files and not self.rows
        facts = {name: value for name, value in vars(self).items() if name != "harmed"}
        return facts | {"damaged": len(self.rows), "passed": passed}


def key_of_row(row: Row) -> str:
    """Return what tells a row's recording from others: its real path."""
    return row["real"] or row["path"]


def place_of(row: Row) -> tuple[str, str]:
    """Return the folder from which a row's recording was given, and its name there; of a lost link, its file."""
    path, name = unescaped(row["path"]), unescaped(row["name"])
    if row["real"] is not None and not os.path.lexists(path):
        return split_root(unescaped(row["real"]))
    return (path[: -len(name)], name) if path.endswith(f"/{name}") else split_root(path)


def places_of(folder: Path, found: Findings) -> Places:
    """Read where the recordings are now; what is wrong with that goes to the findings."""
    try:
        return Places.load(folder)
    except CumelError as error:
        found.add_file(folder / PLACES, error)
        return Places(NO_PLACES)


def nothing(_: int = 1) -> None:
    """Do not tell how far it is."""


def examine(
    folder: Path, config: StoreConfig, *, deep: bool = True, advance: Callable[[int], None] = nothing
) -> Findings:
    """Compare a store's shards with its sidecars; only rows that count, and unless `deep` without their features."""
    found, readable, later = Findings(), [], {}
    places = places_of(folder, found)
    for one in sidecars(folder):
        try:
            keys = keys_of(places.apply(one.read([*IDENTITY]), one.number)).to_pylist()
        except CumelError as error:
            found.add_file(one.path, error)
            continue
        readable.append(one)
        if one.again:
            later.update(dict.fromkeys(keys, one.number))
    for one in readable:
        rows = places.apply(one.read(), one.number).to_pylist()
        rows = [row for row in rows if later.get(key_of_row(row), one.number) == one.number]
        rows = [row for row in rows if row["status"] != DROPPED]
        found.recordings += len(rows)
        _examine_shard(folder, config, one, [row for row in rows if row["n_frames"]], found, deep)
        advance(1)
    return found


def _examine_shard(
    folder: Path, config: StoreConfig, one: Sidecar, rows: list[Row], found: Findings, deep: bool
) -> None:
    path = shard_path(folder, one.number)
    if not rows:
        return
    try:
        shard = open_shard(path, config.n_rows, config.dtype)
        if len(shard) < max(row["offset"] + row["n_frames"] for row in rows):
            raise damaged(path, f"{len(shard)} frames are less than its recordings have")
    except CumelError as error:
        found.add_file(path, error)
        for row in rows:
            found.add_row(row, path, error)
        return
    for row in rows if deep else ():
        try:
            check_frames(folder, row, shard[row["offset"] : row["offset"] + row["n_frames"]])
            found.count(row[CHECKSUM])
        except CumelError as error:
            found.add_row(row, path, error)


def examine_index(folder: Path, found: Findings) -> None:
    """Compare the index of a finished store with its sidecars, when these are whole."""
    path = folder / INDEX
    if not path.exists():
        return
    try:
        index = read_rows(path)
        if not found.files and index != pa.concat_tables(merged(sidecars(folder))):
            raise CumelError("its rows are not those of the sidecars")
    except CumelError as error:
        found.add_file(path, CumelError(f"{path}: damaged ({error}); {REWRITE}"))


def restore_sidecars(
    folder: Path, config: StoreConfig, *, damaged: bool
) -> tuple[list[Sidecar], dict[str, tuple[str, str]]]:
    """Write sidecars anew out of the index: those that are gone, and if wanted those that are damaged.

    A damaged one of which the index knows nothing is removed, so that its recordings have no row.

    Returns
    -------
    list of Sidecar
        The damaged ones. Rows may be lost that stood in the place of earlier ones.
    dict of str to (str, str)
        Recordings whose rows of before count again, as the shard that took their place is gone as well: by key, where
        they are, as `place_of`.
    """
    broken, found, lost = [], sidecars(folder), {}
    missing = set(_index(folder, ["shard"])["shard"].unique().to_pylist()) - {-1, *(one.number for one in found)}
    known: set[str] = set()
    places = Places.load(folder)
    for one in found if damaged or missing else ():
        try:
            known |= set(keys_of(places.apply(one.read([*IDENTITY]), one.number)).to_pylist())
        except CumelError:
            if not damaged:
                raise
            broken.append(one)
    index = _index(folder) if broken or missing else ROW_SCHEMA.empty_table()
    gone = []
    for number in sorted(missing):
        rows = index.filter(pc.field("shard") == number).to_pylist()
        again = not known.isdisjoint(map(key_of_row, rows))
        if fits(shard_path(folder, number), config):
            gone.append(Sidecar(number, again, sidecar_path(folder, number, again)))
        elif again:
            lost |= {key_of_row(row): place_of(row) for row in rows}
    elsewhere = pa.array(known, pa.string())
    for one in [*broken, *gone]:
        key = pc.coalesce(pc.field("real"), pc.field("path"))  # pyright: ignore[reportAttributeAccessIssue]
        without_frames = (pc.field("shard") < 0) & ~key.isin(elsewhere)
        rows = index.filter((pc.field("shard") == one.number) | without_frames)
        index = index.filter(~without_frames)
        if len(rows):
            with replacing(one.path) as part:
                write_sealed(part, ROW_SCHEMA, [places.written(rows, one.number)])
        else:
            one.path.unlink()
    return broken, lost


def fits(path: Path, config: StoreConfig, n_frames: int = 1) -> bool:
    """Whether a shard is whole by its size and header, and has so many frames."""
    try:
        return len(open_shard(path, config.n_rows, config.dtype)) >= n_frames
    except CumelError:
        return False


def _index(folder: Path, columns: list[str] | None = None) -> pa.Table:
    """Read the index, if there is one to be read."""
    try:
        return read_rows(folder / INDEX, columns)
    except CumelError:
        return ROW_SCHEMA.empty_table()
