"""What an extraction finds in its folder, and what is left to do there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from ....kernels import CumelError
from ...inputs import RECORDING, Listing
from ...store import CONFIG, StoreConfig, is_store
from ...store.integrity import examine, fits, restore_sidecars
from ...store.places import PLACES, Places
from ...store.rows import IDENTITY
from ...store.shards import INDEX, Sidecar, read_rows, rows_of, shard_path, sidecars
from ...store.takeover import current, settle
from ...system import LOCK
from .compare import compare
from .todo import Todo


@dataclass
class StoreTodo(Todo):
    """What is left to do in a store."""

    number: int = 0  # the next shard's
    overwrites: bool = False  # what is there is removed once the first new shard is complete


def not_both(*, overwrite: bool, retry_errors: bool, repair: bool) -> None:
    """Refuse what contradicts itself, with a `CumelError`."""
    if overwrite and repair:
        raise CumelError("--overwrite and --repair: starting over keeps nothing to repair; name one of them")
    if overwrite and retry_errors:
        raise CumelError("--overwrite and --retry-errors: starting over keeps nothing to retry; name one of them")


def check_place(out: Path, *, overwrite: bool, retry_errors: bool, repair: bool) -> None:
    """Refuse a folder that is not for stores, before anything is made there, with a `CumelError`."""
    if out.exists() and not out.is_dir():
        raise CumelError(f"{out}: is a file; --out names a folder")
    not_both(overwrite=overwrite, retry_errors=retry_errors, repair=repair)
    there = current(out)
    if (there / CONFIG).exists():
        if not is_store(there) and not sidecars(there):
            raise CumelError(f"{out}: its {CONFIG} is not a store's; choose another --out")
    elif out.exists() and any(path.name != LOCK and path.suffix != ".part" for path in out.iterdir()):
        raise CumelError(f"{out}: is not empty and holds no store; choose another --out")
    else:
        refuse_nothing(out, retry_errors=retry_errors, repair=repair)


def lost(files: Iterable[Path]) -> list[str]:
    """Say which damaged files took with them what recordings they were of."""
    return [
        f"{path} was damaged, and no index says what it held: of its recordings, those given here are taken again"
        for path in files
    ]


def taken_again(n: int) -> list[str]:
    """Say how many recordings are extracted again since their features were damaged."""
    who = "1 recording whose features were damaged is" if n == 1 else f"{n} recordings whose features were damaged are"
    return [f"{who} taken again"] if n else []


def refuse_nothing(out: Path, *, retry_errors: bool, repair: bool) -> None:
    """Refuse a wish that only a store can fulfil, where there is none, with a `CumelError`."""
    if retry_errors or repair:
        wish = "retry; leave --retry-errors" if retry_errors else "repair; leave --repair"
        raise CumelError(f"{out}: holds no features to {wish} away")


def places_that_fit(out: Path, repaired: bool) -> list[str]:
    """Remove a damaged file of places, if it is to be repaired; returns what there is to say."""
    try:
        Places.load(out)
    except CumelError as error:
        if not repaired:
            raise
        (out / PLACES).unlink()
        return [f"{str(error).partition(';')[0]}; it was removed, and recordings that moved are recognised again"]
    return []


def plan_store(
    out: Path, config: StoreConfig, paths: Sequence[Path], *, overwrite: bool, retry_errors: bool, repair: bool = False
) -> StoreTodo:
    """Find out what is left to do in a folder whose lock is held; makes it a store when it is none.

    A recording that has a row is not extracted again unless it changed, whatever else is in `paths`; one that is not in
    `paths` keeps its row. So the same call goes on where the last one ended, and another list of recordings adds to the
    store.

    Raises
    ------
    CumelError
        When the store holds other features, or a file of it is damaged.
    """
    settle(out)
    # A process that was killed left these.
    for name in (".features-*.part", *(f".{name}.part" for name in (INDEX, CONFIG, PLACES))):
        for old in out.glob(name):
            old.unlink()
    found = sidecars(out)
    started = (out / CONFIG).exists() and (bool(found) or (out / INDEX).exists())
    notes: list[str] = []
    harmed, restored = {}, []
    if started and not overwrite:
        notes = [*config.goes_on(out), *places_that_fit(out, repair)]
        damaged, harmed = restore_sidecars(out, config, damaged=repair)
        notes += lost(one.path for one in damaged if not one.path.exists())
        retry_errors = retry_errors or any(one.again for one in damaged)  # the rows before theirs count again
        before, found = found, sidecars(out)
        restored = [one.path.name for one in found if one not in before]
        notes += [f"{out}: {', '.join(restored)} were gone, and are written anew out of the index"] * bool(restored)
    elif not started:
        config.save(out)
        found = []
        (out / PLACES).unlink(missing_ok=True)
    if not (started and overwrite):
        _remove_orphans(out, found)
    harmed |= examine(out, config).harmed if repair else {}
    if started and not overwrite:
        notes += taken_again(len(harmed))
        notes += _index_that_fits(out, repair or bool(restored))
        if not repair:
            _check_shards(out, config, found)
    listing = Listing.of(paths)
    rows = rows_of([] if overwrite else found)
    todo = compare(listing.of_kind(RECORDING), rows, retry_errors=retry_errors, harmed=harmed)
    number = 0 if overwrite else max([0, Places.load(out).number, *(1 + one.number for one in found)])
    if len(todo.places):
        (out / INDEX).unlink(missing_ok=True)
        Places.load(out).changed(todo.places, number, (one.read([*IDENTITY]) for one in found)).save(out)
    return StoreTodo.of(listing, todo, notes, number=number, overwrites=started and overwrite)


def _remove_orphans(out: Path, found: list[Sidecar]) -> None:
    """Remove shards without a sidecar: their run was killed in between."""
    complete = {shard_path(out, one.number) for one in found}
    for path in out.glob("features-*.npy"):
        if path not in complete and path.stem.removeprefix("features-").isdecimal():
            path.unlink()


def _check_shards(out: Path, config: StoreConfig, found: list[Sidecar]) -> None:
    """Compare shards with the frames that are due, with a `CumelError`."""
    for sidecar in found:
        table = sidecar.read(["offset", "n_frames"])
        ends = pc.add(table["offset"], table["n_frames"])  # pyright: ignore[reportAttributeAccessIssue]
        due = pc.max(ends).as_py() or 0  # pyright: ignore[reportAttributeAccessIssue]
        if due and not fits(shard_path(out, sidecar.number), config, due):
            break
    else:
        return
    for file in examine(out, config, deep=False).files:  # it matters where a row counts that no later one replaces
        raise CumelError(file["error"])


def _index_that_fits(out: Path, repaired: bool) -> list[str]:
    """Remove an index that is damaged, or that the sidecars may have outgrown: the run writes it anew."""
    if not (out / INDEX).exists():
        return []
    notes = []
    try:
        read_rows(out / INDEX, ["path"])
    except CumelError as error:
        notes, repaired = [f"{out / INDEX} was damaged ({error}); it is written anew"], True
    if repaired:
        (out / INDEX).unlink()
    return notes
