"""Replacing a store by a new one, so that one of the two is whole at every moment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..system import commit, part_of, synced, unwritable
from .config import CONFIG, RAY_CONFIG, StoreConfig
from .places import PLACES
from .shards import INDEX, sidecars

NEXT = ".next"  # subfolder that is the store as long as it exists; files around it then belong to the old store
STAGE = ".next.part"  # name of that subfolder before it is complete and while it is removed


def current(folder: Path) -> Path:
    """Return the folder with a store's files: `folder`, or a subfolder in the middle of a takeover."""
    return folder / NEXT if os.path.isdir(folder / NEXT) else folder  # noqa: PTH112 (`folder` may be a name that no file can have)


def take_over(
    folder: Path, config: StoreConfig, begin: Callable[[Path], None] | None = None, name: str = CONFIG
) -> None:
    """Replace the store in `folder`, whose lock is held, by a new one.

    Parameters
    ----------
    folder : Path
    config : StoreConfig
        Config of the new store.
    begin : callable, optional
        Writes the new store's first shard into the folder that it is called with; by default the new store is empty.
    name : str
        Name of the config's file.

    Raises
    ------
    CumelError
        When something cannot be written; one of the two stores is whole even then.
    """
    stage = folder / STAGE
    try:
        discard(folder)
        stage.mkdir()
        config.save(stage, name)
        if begin is not None:
            begin(stage)
        commit(stage, folder / NEXT)
    except OSError as error:
        raise unwritable(folder, error) from None
    finally:
        with suppress(OSError):
            discard(folder)
    settle(folder)


def settle(folder: Path) -> None:
    """Finish a `take_over` that was killed; if its new store was not complete, remove that."""
    new = folder / NEXT
    if not new.is_dir():
        discard(folder)
        return
    try:
        for path in _files(folder):
            path.unlink(missing_ok=True)
        for path in sorted(new.iterdir()):
            _link(path, folder / path.name)
        synced(folder)
        new.replace(folder / STAGE)
        synced(folder)
        discard(folder)
    except OSError as error:
        raise unwritable(folder, error) from None


def discard(folder: Path) -> None:
    """Remove the leftovers of a takeover."""
    if (folder / STAGE).is_dir():
        shutil.rmtree(folder / STAGE)


def _files(folder: Path) -> list[Path]:
    """List all files of a store."""
    shards = [path for path in folder.glob("features-*.npy") if path.stem.removeprefix("features-").isdecimal()]
    parts = folder.glob("data/part-*.parquet")
    configs = folder / CONFIG, folder / RAY_CONFIG
    return [folder / INDEX, folder / PLACES, *(sidecar.path for sidecar in sidecars(folder)), *shards, *parts, *configs]


def _link(path: Path, name: Path) -> None:
    """Make a hard link to a file, or a copy where the disk has no hard links."""
    try:
        os.link(path, name)
    except OSError:
        shutil.copyfile(path, part_of(name))
        commit(part_of(name), name)
