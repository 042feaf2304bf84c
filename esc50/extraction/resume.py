"""What an extraction finds in its folder, and what is left to do there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from ...kernels import CumelError
from ..listing import RECORDING, Listing
from ..store import CONFIG, StoreConfig, is_store
from ..store.places import PLACES, Places
from ..store.shards import INDEX, Sidecar, rows_of, shard_path, sidecars
from .compare import compare
from .lock import LOCK
from .todo import Todo


@dataclass
class Plan(Todo):
    """What is left to do in a store."""

    number: int = 0  # of the next shard
    overwrites: bool = False  # what is there is removed once the first new shard is complete


def not_both(*, overwrite: bool, retry_errors: bool) -> None:
    """Refuse what contradicts itself, with a `CumelError`."""
    if overwrite and retry_errors:
        raise CumelError("--overwrite and --retry-errors: starting over keeps nothing to retry; name one of them")


def check_place(out: Path, *, overwrite: bool, retry_errors: bool) -> None:
    """Refuse a folder that is not for stores, before anything is made there, with a `CumelError`."""
    if out.exists() and not out.is_dir():
        raise CumelError(f"{out}: is a file; --out names a folder")
    not_both(overwrite=overwrite, retry_errors=retry_errors)
    if (out / CONFIG).exists():
        if not is_store(out):
            raise CumelError(f"{out}: its {CONFIG} is not a store's; choose another --out")
    elif out.exists() and any(path.name != LOCK and path.suffix != ".part" for path in out.iterdir()):
        raise CumelError(f"{out}: is not empty and holds no store; choose another --out")
    elif retry_errors:
        raise CumelError(f"{out}: holds no features to retry; leave --retry-errors away")


def plan(out: Path, config: StoreConfig, paths: Sequence[Path], *, overwrite: bool, retry_errors: bool) -> Plan:
    """Find out what is left to do in a folder whose lock is held; makes it a store when it is none.

    A recording that has a row is not extracted again unless it changed, whatever else is in `paths`; one that is not in
    `paths` keeps its row. So the same call goes on where the last one ended, and another list of recordings adds to the
    store.

    Raises
    ------
    CumelError
        When the store holds other features, or a shard of it is damaged.
    """
    for name in (
        ".features-*.part",
        f".{INDEX}.part",
        f".{CONFIG}.part",
        f".{PLACES}.part",
    ):  # of a process that was killed
        for old in out.glob(name):
            old.unlink()
    found = sidecars(out)
    started = (out / CONFIG).exists() and (bool(found) or (out / INDEX).exists())
    notes: list[str] = []
    if started and not overwrite:
        notes = config.goes_on(out)
    elif not started:
        config.save(out)
        found = []
        (out / PLACES).unlink(missing_ok=True)
    if not (started and overwrite):
        _remove_orphans(out, found)
    _check_shards(out, found)
    listing = Listing.of(paths)
    todo = compare(listing.of_kind(RECORDING), rows_of([] if overwrite else found), retry_errors=retry_errors)
    if len(todo.places):
        (out / INDEX).unlink(missing_ok=True)
        Places.load(out).changed(todo.places).save(out)
    number = 0 if overwrite else 1 + max((one.number for one in found), default=-1)
    return Plan.of(listing, todo, notes, number=number, overwrites=started and overwrite)


def clear(out: Path, config: StoreConfig) -> None:
    """Remove the old store's files and begin the new one; what is being written stays."""
    for path in [
        out / INDEX,
        out / PLACES,
        *(one.path for one in reversed(sidecars(out))),
    ]:  # from now on none of it counts
        path.unlink(missing_ok=True)
    config.save(out)
    _remove_orphans(out, [])


def _remove_orphans(out: Path, found: list[Sidecar]) -> None:
    """Remove shards without a sidecar: their run was killed in between."""
    complete = {shard_path(out, one.number) for one in found}
    for path in out.glob("features-*.npy"):
        if path not in complete and path.stem.removeprefix("features-").isdecimal():
            path.unlink()


def _check_shards(out: Path, found: list[Sidecar]) -> None:
    """Compare shards with the frames that are due, with a `CumelError`."""
    for sidecar in found:
        n_frames = pc.sum(sidecar.read(["n_frames"])["n_frames"]).as_py() or 0  # pyright: ignore[reportAttributeAccessIssue]
        _check_shard(shard_path(out, sidecar.number), n_frames, sidecar)


def _check_shard(path: Path, n_frames: int, sidecar: Sidecar) -> None:
    if n_frames == 0:
        return
    try:
        there = len(np.load(path, mmap_mode="r"))
    except (OSError, ValueError) as error:
        there = str(error)
    if there != n_frames:
        raise CumelError(
            f"{path}: damaged: {n_frames} frames are due, found {there}; delete {sidecar.path.name} to extract its "
            "recordings again"
        )
