"""What an extraction finds in its folder, and what is left to do there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc

from ...kernels import CumelError
from ..store import CONFIG, Keys, StoreConfig, is_store
from ..store.integrity import examine, fits, restore_sidecars
from ..store.shards import INDEX, Sidecar, read_rows, shard_path, sidecars
from ..store.takeover import current, settle
from .compute import look
from .lock import LOCK


class Plan(NamedTuple):
    """What is left to do."""

    new: list[Path]  # recordings that have no row
    again: list[Path]  # that have one, and are extracted again
    kept: int  # recordings whose rows stay
    failed_before: int  # of the kept ones
    number: int  # of the next shard
    overwrites: bool  # what is there is removed once the first new shard is complete
    notes: list[str]


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


def refuse_nothing(out: Path, *, retry_errors: bool, repair: bool) -> None:
    """Refuse a wish that only a store can fulfil, where there is none, with a `CumelError`."""
    if retry_errors or repair:
        wish = "retry; leave --retry-errors" if retry_errors else "repair; leave --repair"
        raise CumelError(f"{out}: holds no features to {wish} away")


def plan(
    out: Path, config: StoreConfig, paths: list[Path], *, overwrite: bool, retry_errors: bool, repair: bool = False
) -> Plan:
    """Find out what is left to do in a folder whose lock is held; makes it a store when it is none.

    A recording that has a row is never extracted twice, whatever else is in `paths`; one that is not in `paths` keeps
    its row. So the same call goes on where the last one ended, and another list of recordings adds to the store.

    Raises
    ------
    CumelError
        When the store holds other features, or a shard of it is damaged.
    """
    settle(out)
    for name in (".features-*.part", f".{INDEX}.part", f".{CONFIG}.part"):  # of a process that was killed
        for old in out.glob(name):
            old.unlink()
    found = sidecars(out)
    started = (out / CONFIG).exists() and (bool(found) or (out / INDEX).exists())
    notes: list[str] = []
    harmed, restored = [], []
    if started and not overwrite:
        notes = config.goes_on(out)
        damaged, harmed = restore_sidecars(out, config, damaged=repair)
        notes += lost(one.path for one in damaged if not one.path.exists())
        retry_errors = retry_errors or any(one.again for one in damaged)  # the rows before theirs count again
        before, found = found, sidecars(out)
        restored = [one.path.name for one in found if one not in before]
        notes += [f"{out}: {', '.join(restored)} were gone, and are written anew out of the index"] * bool(restored)
    elif not started:
        config.save(out)
        found = []
    if not (started and overwrite):
        _remove_orphans(out, found)
    harmed += [row["path"] for row in examine(out, config).rows] if repair else []
    if started and not overwrite:
        notes += [f"{len(harmed)} recordings whose features were damaged are taken again"] * bool(harmed)
        notes += _index_that_fits(out, repair or bool(restored))
    done = {} if overwrite else _done(out, config, found, retry_errors, repair)
    new, again, seen, key_of, asked = [], [], set(), Keys(), set(harmed)
    for path in paths:
        key = key_of(path)
        if key in seen:
            continue
        seen.add(key)
        if key not in done:
            new.append(path)
        elif key in asked or (retry_errors and is_stale(path, done[key])):
            again.append(path)
    again += [Path(key) for key in harmed if key not in seen]
    kept, retried = len(done) - len(again), {key_of(path) for path in again}
    failed = sum(status == "error" for key, (status, _) in done.items() if key not in retried)
    number = 0 if overwrite else 1 + max((one.number for one in found), default=-1)
    return Plan(new, again, kept, failed, number, started and overwrite, notes)


def _remove_orphans(out: Path, found: list[Sidecar]) -> None:
    """Remove shards without a sidecar: their run was killed in between."""
    complete = {shard_path(out, one.number) for one in found}
    for path in out.glob("features-*.npy"):
        if path not in complete and path.stem.removeprefix("features-").isdecimal():
            path.unlink()


Facts = tuple[str, tuple[int, int] | None]  # of a row: status, and size and time of change where they matter


def _done(out: Path, config: StoreConfig, found: list[Sidecar], with_facts: bool, repaired: bool) -> dict[str, Facts]:
    """Return the recordings that have a row, the last one where there are several."""
    done: dict[str, Facts] = {}
    whole = True
    for sidecar in found:
        table = sidecar.read(["path", "status", "offset", "n_frames", *(("size", "mtime_ns") if with_facts else ())])
        ends = pc.add(table["offset"], table["n_frames"])  # pyright: ignore[reportAttributeAccessIssue]
        due = pc.max(ends).as_py() or 0  # pyright: ignore[reportAttributeAccessIssue]
        whole = whole and (due == 0 or fits(shard_path(out, sidecar.number), config, due))
        facts = zip(table["size"].to_pylist(), table["mtime_ns"].to_pylist(), strict=True) if with_facts else None
        for path, status in zip(table["path"].to_pylist(), table["status"].to_pylist(), strict=True):
            done[path] = (status, next(facts) if facts else None)
    if not whole and not repaired:  # it matters where a row counts that no later one replaces
        for file in examine(out, config, deep=False).files:
            raise CumelError(file["error"])
    return done


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


def is_stale(path: Path, facts: Facts) -> bool:
    """Whether a recording failed, or is not the file that it was; one that is gone keeps what it has."""
    status, before = facts
    *now, _ = look(path)
    return status == "error" or (tuple(now) != before and now[0] >= 0)
