"""A whole store of either engine read again, and compared with its checksums."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ...kernels import CumelError
from ..store import CONFIG, RAY_CONFIG, StoreConfig, is_store
from ..store.integrity import Findings, examine, examine_index
from ..store.shards import INDEX, sidecars
from ..store.takeover import current
from ..system import bar
from .ray.part_files import examine_part_index, examine_parts, parts_of


def holds_store(path: Path) -> bool:
    """Whether a path is a folder that `extract` wrote."""
    try:
        folder = current(path)
        return is_store(folder) or (folder / RAY_CONFIG).is_file() or bool(sidecars(folder))
    except OSError:
        return False


def check(path: Path, *, quiet: bool = False) -> dict[str, Any]:
    """Read a whole store, and compare everything in it with its checksums.

    Parameters
    ----------
    path : Path
        Folder of the store.
    quiet : bool
        Show no progress.

    Returns
    -------
    dict
        ``recordings`` in it, ``checked`` (findings right), ``unchecked`` (without a checksum, of an earlier version);
        damaged ``files`` (file, error), and of the recordings whose features are damaged their number, ``damaged``, and
        ``rows`` (path, file, error); ``finished``, whether there is an index; ``passed``, whether nothing is damaged.
    """
    started, folder = time.monotonic(), current(path)
    on_ray = (folder / RAY_CONFIG).exists()
    findings = Findings()
    try:
        config = StoreConfig.load(folder, RAY_CONFIG if on_ray else CONFIG)
    except CumelError as error:
        findings.add_file(folder / (RAY_CONFIG if on_ray else CONFIG), error)
        return findings.report() | {"store": str(path), "finished": (folder / INDEX).exists()}
    if on_ray:
        with bar("reading", len(parts_of(folder)), "files", quiet=quiet) as advance:
            findings = examine_parts(folder, advance=advance)
        examine_part_index(folder, findings)
    else:
        with bar("reading", len(sidecars(folder)), "shards", quiet=quiet) as advance:
            findings = examine(folder, config, advance=advance)
        examine_index(folder, findings)
    return findings.report() | {
        "store": str(path),
        "features": config.kind,
        "engine": "ray" if on_ray else "local",
        "finished": (folder / INDEX).exists(),
        "seconds": round(time.monotonic() - started, 2),
    }
