"""Integrity of a store: its damaged files and recordings, and lost sidecars restored from the index."""

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
    """Counts and lists of what an examination found."""

    recordings: int = 0
    checked: int = 0  # recordings whose features were compared with their checksum
    unchecked: int = 0  # recordings without a checksum, extracted by an earlier version
    files: list[dict[str, str]] = field(default_factory=list)  # damaged files: file, error
    rows: list[dict[str, str]] = field(default_factory=list)  # damaged recordings: path, file, error
    harmed: dict[str, tuple[str, str]] = field(default_factory=dict)  # damaged recordings: key -> `place_of`

    def add_file(self, path: Path, error: CumelError) -> None:
        """Note a damaged file."""
        self.files.append({"file": path.name, "error": str(error)})

    def add_row(self, row: Row, file: Path, error: CumelError) -> None:
        """Note a recording whose features are damaged."""
        self.rows.append({"path": row["path"], "file": file.name, "error": str(error)})
        self.harmed[key_of_row(row)] = place_of(row)

    def count(self, checksum: int | None) -> None:
        """Count an undamaged recording, by whether it has a checksum."""
        self.checked += checksum is not None
        self.unchecked += checksum is None

    def report(self) -> dict[str, Any]:
        """Return the findings as JSON types."""
        passed = not self.files and not self.rows
        facts = {name: value for name, value in vars(self).items() if name != "harmed"}
        return facts | {"damaged": len(self.rows), "passed": passed}


def key_of_row(row: Row) -> str:
    """Return the key of a row's recording: its real path."""
    return row["real"] or row["path"]


def place_of(row: Row) -> tuple[str, str]:
    """Return a row's recording as (given folder, name in it); for a link that is gone, its target."""
    path, name = unescaped(row["path"]), unescaped(row["name"])
    if row["real"] is not None and not os.path.lexists(path):
        return split_root(unescaped(row["real"]))
    return (path[: -len(name)], name) if path.endswith(f"/{name}") else split_root(path)


def places_of(folder: Path, findings: Findings) -> Places:
    """Read places.parquet; damage to it goes to the findings."""
    try:
        return Places.load(folder)
    except CumelError as error:
        findings.add_file(folder / PLACES, error)
        return Places(NO_PLACES)


def nothing(_: int = 1) -> None:
    """Report no progress."""


def examine(
    folder: Path, config: StoreConfig, *, deep: bool = True, advance: Callable[[int], None] = nothing
) -> Findings:
    """Compare a store's shards with its sidecars, without rows that later ones replace; features only if `deep`."""
    findings, readable, later = Findings(), [], {}
    places = places_of(folder, findings)
    for sidecar in sidecars(folder):
        try:
            keys = keys_of(places.apply(sidecar.read([*IDENTITY]), sidecar.number)).to_pylist()
        except CumelError as error:
            findings.add_file(sidecar.path, error)
            continue
        readable.append(sidecar)
        if sidecar.again:
            later.update(dict.fromkeys(keys, sidecar.number))
    for sidecar in readable:
        rows = places.apply(sidecar.read(), sidecar.number).to_pylist()
        rows = [row for row in rows if later.get(key_of_row(row), sidecar.number) == sidecar.number]
        rows = [row for row in rows if row["status"] != DROPPED]
        findings.recordings += len(rows)
        _examine_shard(folder, config, sidecar.number, [row for row in rows if row["n_frames"]], findings, deep)
        advance(1)
    return findings


def _examine_shard(
    folder: Path, config: StoreConfig, number: int, rows: list[Row], findings: Findings, deep: bool
) -> None:
    path = shard_path(folder, number)
    if not rows:
        return
    try:
        shard = open_shard(path, config.n_rows, config.dtype)
        if len(shard) < max(row["offset"] + row["n_frames"] for row in rows):
            raise damaged(path, f"{len(shard)} frames are less than its recordings have")
    except CumelError as error:
        findings.add_file(path, error)
        for row in rows:
            findings.add_row(row, path, error)
        return
    for row in rows if deep else ():
        try:
            check_frames(folder, row, shard[row["offset"] : row["offset"] + row["n_frames"]])
            findings.count(row[CHECKSUM])
        except CumelError as error:
            findings.add_row(row, path, error)


def examine_index(folder: Path, findings: Findings) -> None:
    """Compare the index of a finished store with its sidecars, if no file of these is damaged."""
    path = folder / INDEX
    if not path.exists():
        return
    try:
        index = read_rows(path)
        if not findings.files and index != pa.concat_tables(merged(sidecars(folder))):
            raise CumelError("its rows are not those of the sidecars")
    except CumelError as error:
        findings.add_file(path, CumelError(f"{path}: damaged ({error}); {REWRITE}"))


def restore_sidecars(
    folder: Path, config: StoreConfig, *, damaged: bool
) -> tuple[list[Sidecar], dict[str, tuple[str, str]]]:
    """Write missing sidecars anew out of the index; also damaged ones, if `damaged`.

    A damaged sidecar whose rows are not in the index is removed; its recordings then have no row.

    Returns
    -------
    list of Sidecar
        The damaged sidecars. Rows in them that replaced earlier rows may be lost.
    dict of str to (str, str)
        Recordings whose newest shard is gone too, so that an older row counts: key -> `place_of`.
    """
    broken, present, lost = [], sidecars(folder), {}
    missing = set(_index(folder, ["shard"])["shard"].unique().to_pylist()) - {
        -1,
        *(sidecar.number for sidecar in present),
    }
    keys: set[str] = set()  # keys of all rows in readable sidecars
    places = Places.load(folder)
    for sidecar in present if damaged or missing else ():
        try:
            keys |= set(keys_of(places.apply(sidecar.read([*IDENTITY]), sidecar.number)).to_pylist())
        except CumelError:
            if not damaged:
                raise
            broken.append(sidecar)
    index = _index(folder) if broken or missing else ROW_SCHEMA.empty_table()
    gone = []
    for number in sorted(missing):
        rows = index.filter(pc.field("shard") == number).to_pylist()
        again = not keys.isdisjoint(map(key_of_row, rows))
        if fits(shard_path(folder, number), config):
            gone.append(Sidecar(number, again, sidecar_path(folder, number, again)))
        elif again:
            lost |= {key_of_row(row): place_of(row) for row in rows}
    elsewhere = pa.array(keys, pa.string())
    for sidecar in [*broken, *gone]:
        key = pc.coalesce(pc.field("real"), pc.field("path"))  # pyright: ignore[reportAttributeAccessIssue]
        without_frames = (pc.field("shard") < 0) & ~key.isin(elsewhere)
        rows = index.filter((pc.field("shard") == sidecar.number) | without_frames)
        index = index.filter(~without_frames)
        if len(rows):
            with replacing(sidecar.path) as part:
                write_sealed(part, ROW_SCHEMA, [places.written(rows, sidecar.number)])
        else:
            sidecar.path.unlink()
    return broken, lost


def fits(path: Path, config: StoreConfig, n_frames: int = 1) -> bool:
    """Whether a shard's size and header fit each other, and it has at least `n_frames` frames."""
    try:
        return len(open_shard(path, config.n_rows, config.dtype)) >= n_frames
    except CumelError:
        return False


def _index(folder: Path, columns: list[str] | None = None) -> pa.Table:
    """Read the index; no rows if it is missing or damaged."""
    try:
        return read_rows(folder / INDEX, columns)
    except CumelError:
        return ROW_SCHEMA.empty_table()
