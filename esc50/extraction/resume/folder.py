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
from .compare import Comparison, compare
from .todo import Todo


@dataclass
class StoreTodo(Todo):
    """What is left to do in a store."""

    number: int = 0  # number of the next shard
    overwrites: bool = False  # whether the first shard replaces the old store
    opened: Sidecar | None = None  # sidecar of the shard that a stopped run left open, to go on with


def not_both(*, overwrite: bool, retry_errors: bool, repair: bool) -> None:
    """Refuse options that contradict each other, with a `CumelError`."""
    if overwrite and repair:
        raise CumelError("--overwrite and --repair: starting over keeps nothing to repair; name one of them")
    if overwrite and retry_errors:
        raise CumelError("--overwrite and --retry-errors: starting over keeps nothing to retry; name one of them")


def check_place(out: Path, *, overwrite: bool, retry_errors: bool, repair: bool) -> None:
    """Refuse a folder that is not for stores, before anything is made there, with a `CumelError`."""
    if out.exists() and not out.is_dir():
        raise CumelError(f"{out}: is a file; --out names a folder")
    not_both(overwrite=overwrite, retry_errors=retry_errors, repair=repair)
    folder = current(out)
    if (folder / CONFIG).exists():
        if not is_store(folder) and not sidecars(folder):
            raise CumelError(f"{out}: its {CONFIG} is not a store's; choose another --out")
    elif out.exists() and any(path.name != LOCK and path.suffix != ".part" for path in out.iterdir()):
        raise CumelError(f"{out}: is not empty and holds no store; choose another --out")
    else:
        refuse_nothing(out, retry_errors=retry_errors, repair=repair)


def lost(files: Iterable[Path]) -> list[str]:
    """Return a note on each damaged file whose recordings are not known."""
    return [
        f"{path} was damaged, and no index says what it held: of its recordings, those given here are taken again"
        for path in files
    ]


def taken_again(n: int) -> list[str]:
    """Return a note on the recordings that are extracted again because their features were damaged."""
    who = "1 recording whose features were damaged is" if n == 1 else f"{n} recordings whose features were damaged are"
    return [f"{who} taken again"] if n else []


def refuse_nothing(out: Path, *, retry_errors: bool, repair: bool) -> None:
    """Refuse options that need a store where there is none, with a `CumelError`."""
    if retry_errors or repair:
        wish = "retry; leave --retry-errors" if retry_errors else "repair; leave --repair"
        raise CumelError(f"{out}: holds no features to {wish} away")


def places_that_fit(out: Path, repaired: bool) -> list[str]:
    """Check places.parquet; if `repaired`, remove a damaged one, and return a note on that."""
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
    """Find out what is left to do in a folder whose lock is held; an empty folder becomes a store.

    A recording that has a row is not extracted again unless it changed; a recording that is not in `paths` keeps its
    row. So the same call goes on where the last one ended, and another list of recordings adds to the store.

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
    listed = sidecars(out)
    started = (out / CONFIG).exists() and (bool(listed) or (out / INDEX).exists())
    notes: list[str] = []
    harmed, restored = {}, []
    if started and not overwrite:
        notes = [*config.goes_on(out), *places_that_fit(out, repair)]
        damaged, harmed = restore_sidecars(out, config, damaged=repair)
        notes += lost(sidecar.path for sidecar in damaged if not sidecar.path.exists())
        retry_errors = retry_errors or any(sidecar.again for sidecar in damaged)  # older rows count again
        before, listed = listed, sidecars(out)
        restored = [sidecar.path.name for sidecar in listed if sidecar not in before]
        notes += [f"{out}: {', '.join(restored)} were gone, and are written anew out of the index"] * bool(restored)
    elif not started:
        config.save(out)
        listed = []
        (out / PLACES).unlink(missing_ok=True)
    if not (started and overwrite):
        _remove_orphans(out, listed)
    harmed |= examine(out, config).harmed if repair else {}
    if started and not overwrite:
        notes += taken_again(len(harmed))
        notes += _index_that_fits(out, repair or bool(restored))
        if not repair:
            _check_shards(out, config, listed)
    listing = Listing.of(paths)
    rows = rows_of([] if overwrite else listed)
    todo = compare(listing.of_kind(RECORDING), rows, retry_errors=retry_errors, harmed=harmed)
    number = 0 if overwrite else max([0, Places.load(out).number, *(1 + sidecar.number for sidecar in listed)])
    if len(todo.places):
        (out / INDEX).unlink(missing_ok=True)
        Places.load(out).changed(todo.places, number, (sidecar.read([*IDENTITY]) for sidecar in listed)).save(out)
    opened = _opened([] if overwrite else listed, todo, goes_on=not repair)
    number = number if opened is None else opened.number
    return StoreTodo.of(listing, todo, notes, number=number, overwrites=started and overwrite, opened=opened)


def _opened(listed: list[Sidecar], todo: Comparison, *, goes_on: bool) -> Sidecar | None:
    """Return the open shard that the run's first recordings belong to; any other one ends as it is."""
    goes_on = goes_on and not len(todo.places)  # `Places` holds for whole shards, not for rows to come
    going_on = None
    for sidecar in listed:
        if (
            sidecar.is_open
            and goes_on
            and len(todo.again if sidecar.again else todo.new)
            and not (sidecar.again and len(todo.new))
        ):
            going_on = sidecar
        elif sidecar.is_open:
            sidecar.close()
    return going_on


def _remove_orphans(out: Path, listed: list[Sidecar]) -> None:
    """Remove shards without a sidecar: their run was killed in between."""
    complete = {shard_path(out, sidecar.number) for sidecar in listed}
    for path in out.glob("features-*.npy"):
        if path not in complete and path.stem.removeprefix("features-").isdecimal():
            path.unlink()


def _check_shards(out: Path, config: StoreConfig, listed: list[Sidecar]) -> None:
    """Raise a `CumelError` for a shard with fewer frames than its rows say."""
    for sidecar in listed:
        table = sidecar.read(["offset", "n_frames"])
        ends = pc.add(table["offset"], table["n_frames"])  # pyright: ignore[reportAttributeAccessIssue]
        due = pc.max(ends).as_py() or 0  # pyright: ignore[reportAttributeAccessIssue]
        if due and not fits(shard_path(out, sidecar.number), config, due):
            break
    else:
        return
    for file in examine(out, config, deep=False).files:  # rows that later ones replaced do not matter
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
