"""A new store in the place of an old one: at every moment, one of the two is whole."""

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

NEXT = ".next"  # a folder in a store's own: while it is there, it is the store, and what lies around it is not
STAGE = ".next.part"  # what it is called before and after that, when it counts for nothing


def current(folder: Path) -> Path:
    """Return the folder that holds a store: the one in it, where it is being taken over."""
    return folder / NEXT if os.path.isdir(folder / NEXT) else folder  # noqa: PTH112 (where the folder's name is no name)


def take_over(
    folder: Path, config: StoreConfig, begin: Callable[[Path], None] | None = None, name: str = CONFIG
) -> None:
    """Put a new store in the place of the one in `folder`, whose lock is held.

    Parameters
    ----------
    folder : Path
    config : StoreConfig
        Of the new store.
    begin : callable, optional
        Writes the new store's first shard into the folder that it is given; without one the new store is empty.
    name : str
        Of the file that `config` goes to.

    Raises
    ------
    CumelError
        When something cannot be written; then one of the two is whole all the same.
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
    """Bring what `take_over` began to its end, if it was killed on the way."""
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
    """Remove what a store that took over, or did not come to it, left behind."""
    if (folder / STAGE).is_dir():
        shutil.rmtree(folder / STAGE)


def _files(folder: Path) -> list[Path]:
    """List what a store consists of."""
    shards = [path for path in folder.glob("features-*.npy") if path.stem.removeprefix("features-").isdecimal()]
    parts = folder.glob("data/part-*.parquet")
    configs = folder / CONFIG, folder / RAY_CONFIG
    return [folder / INDEX, folder / PLACES, *(one.path for one in sidecars(folder)), *shards, *parts, *configs]


def _link(path: Path, name: Path) -> None:
    """Give a file a second name, or where the disk knows no such thing, a copy."""
    try:
        os.link(path, name)
    except OSError:
        shutil.copyfile(path, part_of(name))
        commit(part_of(name), name)
