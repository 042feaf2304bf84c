"""What is known about recordings besides their features: labels and further columns of manifests, and class folders.

A store keeps them in labels.parquet, by the real path of a recording, and joins them to the rows of its index when it
is read: a later extraction may bring other labels, and touches no shard for that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...kernels import CumelError
from ..inputs import CONTAINERS
from ..system import replacing
from .arrays import REWRITE
from .places import keys_of
from .seals import read_sealed, write_sealed

LABELS = "labels.parquet"
LABEL = "label"
SCHEMA = pa.schema([("key", pa.string()), (LABEL, pa.string()), ("extra", pa.string())])
TAKEN = ("features", "file")  # columns that exports add


class Known(NamedTuple):
    """What a manifest says about a recording."""

    key: str  # `inputs.key_of` the recording
    label: str | None
    extra: dict[str, Any]  # further columns


def save_labels(folder: Path, known: Iterable[Known]) -> None:
    """Add to a store's labels; what it knew about the same recordings is replaced, what it knew about others stays."""
    merged: dict[str, Known] = {}
    for each in known:
        first = merged.get(each.key)
        merged[each.key] = each if first is None else _both(first, each)
    if not merged:
        return
    columns = {"key": list(merged), LABEL: [each.label for each in merged.values()]}
    extra = [json.dumps(each.extra, default=str) if each.extra else None for each in merged.values()]
    table, before = pa.table(columns | {"extra": extra}, schema=SCHEMA), load_labels(folder)
    if before is not None:
        others = pc.is_in(before["key"], value_set=table["key"])  # pyright: ignore[reportAttributeAccessIssue]
        table = pa.concat_tables([before.filter(pc.invert(others)), table])  # pyright: ignore[reportAttributeAccessIssue]
    if before is None or not table.equals(before):
        with replacing(folder / LABELS) as part:
            write_sealed(part, SCHEMA, [table])


def _both(first: Known, other: Known) -> Known:
    """Return what two rows about one recording, such as parts of it, have in common, and all of its labels."""
    labels = dict.fromkeys(label for each in (first, other) if each.label for label in each.label.split(";"))
    same = {name: value for name, value in first.extra.items() if other.extra.get(name) == value}
    return Known(first.key, ";".join(labels) or None, same)


def load_labels(folder: Path) -> pa.Table | None:
    """Read a store's labels; None where it has none.

    Raises
    ------
    CumelError
        When they are damaged.
    """
    path = folder / LABELS
    if not path.exists():
        return None
    try:
        return read_sealed(path, must=True).cast(SCHEMA)
    except (CumelError, pa.ArrowException, ValueError) as error:
        raise CumelError(f"{path}: not usable ({error}); delete it, and {REWRITE}") from None


def with_labels(index: pa.Table, folder: Path) -> pa.Table:
    """Add what is known about its recordings to an index: a column ``label``, and one for each further column.

    Without labels of a manifest, the label is the class folder: the first one of a recording's name. A further column
    that is called as one of the index, or of an export, gets ``manifest_`` before its name.
    """
    labels, extra = _label_folders(index), pa.nulls(len(index), pa.string())
    table = load_labels(folder)
    if table is not None:
        at = pc.index_in(keys_of(index), value_set=table["key"])  # pyright: ignore[reportAttributeAccessIssue]
        given, extra = table[LABEL].take(at), table["extra"].take(at)
        if given.null_count < len(given):
            labels = given
    if labels is not None:
        index = index.append_column(LABEL, labels)
    rows = (
        [{} if text is None else json.loads(text) for text in extra.to_pylist()]
        if extra.null_count < len(index)
        else []
    )
    for name in dict.fromkeys(name for row in rows for name in row):
        free = f"manifest_{name}" if name in index.column_names or name in TAKEN else name
        index = index.append_column(free, _column([row.get(name) for row in rows]))
    return index


def _column(values: list[Any]) -> pa.Array:
    """Make a column of a manifest's values: numbers or texts where all are, else their JSON."""
    try:
        column = pa.array(values)
    except (pa.ArrowException, OverflowError):
        column = None
    if column is None or pa.types.is_nested(column.type) or pa.types.is_null(column.type):
        texts = [value if isinstance(value, str) or value is None else json.dumps(value) for value in values]
        return pa.array(texts, pa.string())
    return column


def _label_folders(index: pa.Table) -> pa.ChunkedArray | None:
    """Return the class folder of each recording; None where the folders are no classes."""
    parts = pc.extract_regex(index["name"], r"(?s)^(?P<folder>[^/]+)/.")  # pyright: ignore[reportAttributeAccessIssue]
    folders = pc.struct_field(parts, "folder")  # pyright: ignore[reportAttributeAccessIssue]
    names = [name for name in folders.unique().to_pylist() if name is not None]
    if len(names) < 2 or folders.null_count or all(CONTAINERS.fullmatch(name) for name in names):
        return None
    return folders


def targets_of(labels: pa.ChunkedArray | pa.Array) -> tuple[np.ndarray, list[str]]:
    """Return the number of each label, -1 for none, and their names by number, in the order of the alphabet."""
    names = sorted(name for name in labels.unique().to_pylist() if name is not None)
    at = pc.index_in(labels, value_set=pa.array(names, pa.string()))  # pyright: ignore[reportAttributeAccessIssue]
    return at.fill_null(-1).to_numpy().astype(np.int64), names
