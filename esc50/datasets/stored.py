"""Features of recordings with their labels, into a store: `cumel.extract`, and the command `cumel extract`."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...kernels import CumelError, FeatureConfig, config_of
from ..extraction import extract as extract_paths, extract_on_ray, my_share
from ..inputs import TABLES, Keys, check, named, resolve
from ..store import Known, save_labels
from ..system import CORES, choose, say
from .layouts import with_table
from .listed import candidates
from .tables import label_column, places_of

ENGINES = ("local", "ray")
NAME = "\0name"  # no column is called so


def extract(
    inputs: Path | str | Sequence[Path | str],
    out: Path | str,
    cfg: FeatureConfig | str = "esc50",
    *,
    kind: str = "logmel",
    dtype: str = "float32",
    device: Any = "auto",
    root: Path | str | None = None,
    shard: str | None = None,
    workers: int = CORES,
    engine: str = "local",
    address: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Extract features of recordings into a store, with the labels and further columns of manifests.

    Parameters
    ----------
    inputs : path, or sequence of path
        Files, folders, patterns and manifests, as `cumel extract` takes them. A folder that has a table of its
        recordings (ESC-50, UrbanSound8K, FSD50K, an audiofolder, one table) brings what that says about them.
    out : path
        Folder of the store.
    cfg : FeatureConfig or str
        The features, or the name of a preset.
    kind, dtype, workers, **options
        As for `extraction.extract`.
    device : str or torch.device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    root : path, optional
        Folder of the recordings in a manifest, where they lie neither relative to it nor beside it.
    shard : str, optional
        ``"i/n"``: only every n-th recording, from the i-th on.
    engine : {"local", "ray"}
    address : str, optional
        Of a Ray cluster.

    Returns
    -------
    dict
        The report of `extraction.extract`. ``files`` is 0 where no recording falls into the share.

    Raises
    ------
    CumelError
        For inputs that do not exist, a manifest that is not usable, and as `extraction.extract`.
    """
    if engine not in ENGINES:
        raise CumelError(f"--engine {engine}: must be {' or '.join(ENGINES)}")
    if address is not None and engine != "ray":
        raise CumelError(f"--address {address}: only --engine ray has one")
    cfg = config_of(cfg)
    out, given = Path(out), [inputs] if isinstance(inputs, str | Path) else list(inputs)
    known: list[Known] = []
    listing = resolve([path for each in given for path in _with_labels(each, root, known)])
    check(listing)
    _say_parts(known)
    paths = my_share(listing, shard)
    if not paths:
        return {"files": 0, "note": f"no file falls into share {shard}"}
    if engine == "ray":
        run = functools.partial(extract_on_ray, device=str(device), address=address)
    else:
        run = functools.partial(extract_paths, device=choose(device) if isinstance(device, str) else device)
    report = run(paths, out, cfg, kind=kind, dtype=dtype, workers=workers, **options)
    save_labels(out, known)
    return report


def _say_parts(known: list[Known]) -> None:
    """Say that recordings are extracted whole, where rows name several parts of one."""
    spans: dict[str, set[tuple[Any, Any]]] = {}
    for each in known:
        spans.setdefault(each.key, set()).add((each.extra.get("start"), each.extra.get("end")))
    n = sum(len(parts) > 1 for parts in spans.values())
    if n:
        say(f"note: rows name several parts of {n} recordings by start and end; each is extracted whole, in one row")


def _with_labels(given: Path | str, root: Path | str | None, known: list[Known]) -> Iterator[Path | str]:
    """Yield an input, or the recordings that it lists; `known` gets what it says about them."""
    path = Path(given)
    places = None if root is None else Path(root)
    if path.suffix.lower() in TABLES and path.is_file():
        yield from _of_manifest(path, places, known)
        return
    yield given
    if not path.is_dir():
        return
    try:
        layout = with_table(path, places)
    except CumelError as error:  # features need no labels
        say(f"note: no labels are taken of the tables in {path}: {error}")
        return
    if layout is not None:
        layout.find(must=False)
        key_of = Keys()
        for row in (row for row in layout.rows if row.path.name):  # the others are not there
            extra = row.extra if row.fold is None else row.extra | {"fold": row.fold}
            known.append(_known(layout.source, key_of(row.path), ";".join(row.labels), dict(extra)))


def _of_manifest(manifest: Path, root: Path | None, known: list[Known]) -> Iterator[Path | str]:
    """Yield a manifest; or its recordings, where some do not lie relative to it."""
    key_of, moved = Keys(), False
    for path, values in _found(manifest, root):
        moved = moved or path != manifest.parent / values.pop(NAME)
        column = label_column(list(values))
        label = values.pop(column, None) if column else None
        label = ";".join(map(str, label)) if isinstance(label, list) else label
        extra = {key: value for key, value in values.items() if value not in (None, "") and key != NAME}
        if label not in (None, "") or extra:
            known.append(_known(manifest, key_of(path), None if label in (None, "") else str(label), extra))
    if moved:
        yield from (path for path, _ in _found(manifest, root))
    else:
        yield manifest


def _known(table: Path, key: str, label: str | None, extra: dict[str, Any]) -> Known:
    """Return what a table says about a recording; text that a store cannot keep is refused before any is computed."""
    try:
        json.dumps([label, extra], ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        raise CumelError(f"{table}: a label or another column is no text in UTF-8; save the table as UTF-8") from None
    return Known(key, label, extra)


def _found(manifest: Path, root: Path | None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield where each recording of a manifest is, and its row with the name as `NAME`."""
    places = places_of(manifest.parent, root)
    for name, values in named(manifest):
        every = candidates(places, name, values.get("fold") or None)
        yield next(filter(Path.is_file, every), places[0] / name), values | {NAME: name}
