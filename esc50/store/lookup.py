"""Look-up of index rows by path or name."""

# Paths are strings here, as there may be millions of them:
# ruff: noqa: PTH119

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..inputs import Digests, absolute, digests_of, escaped, key_of
from .places import BLOCK

Rows = NDArray[np.int64]  # row numbers
IndexRow = dict[str, Any]


class Lookup:
    """Finds the rows of an index.

    Parameters
    ----------
    index : Table
        With the columns path, name, real and also.
    """

    def __init__(self, index: pa.Table) -> None:
        self._index = index.select(["path", "name", "real", "also"])

    def __call__(self, key: Path | str) -> Rows:
        """Return the row of a path; if it has none, all rows with that name, or whose path ends so."""
        text = os.fspath(key)
        if not text:
            return np.empty(0, np.int64)
        name = escaped(os.path.normpath(text))
        written = os.fsencode(text).decode("utf-8", "backslashreplace")  # a row's text of a path that is not UTF-8
        for wanted in (escaped(absolute(text)), key_of(text), written):
            if len(rows := self._paths.all(wanted)):
                exact = rows[[row["path"] == wanted for row in self._index.take(rows).to_pylist()]]
                return exact if len(exact) else rows  # a row's own path comes before other links to its file
        for wanted in (name, written):
            if len(rows := self._names.all(wanted)):
                return rows
        for form in (str, _composed):
            if len(rows := self._ending(form(name), form)):
                return rows
        return np.empty(0, np.int64)

    @cached_property
    def _paths(self) -> _Names:
        return _Names(self._index, _paths)

    @cached_property
    def _names(self) -> _Names:
        return _Names(self._index, lambda row: [row["name"]])

    @cached_property
    def _lasts(self) -> _Names:
        return _Names(self._index, lambda row: {_composed(os.path.basename(path)) for path in _paths(row)})

    def _ending(self, name: str, form: Callable[[str], str]) -> Rows:
        """Return the rows that have a path with these last components."""
        rows = self._lasts.all(_composed(os.path.basename(name)))
        candidates = self._index.take(rows).to_pylist()
        return rows[
            [any(f"/{form(path)}".endswith(f"/{name.lstrip('/')}") for path in _paths(row)) for row in candidates]
        ]


class _Names:
    """An index from names to rows; each row may have several names."""

    def __init__(self, index: pa.Table, names: Callable[[IndexRow], Iterable[str]]) -> None:
        digests, counts = [digests_of([])], [np.empty(0, np.int64)]
        for batch in index.to_batches(BLOCK):
            names_of = [list(names(row)) for row in batch.to_pylist()]
            digests.append(digests_of(name for row_names in names_of for name in row_names))
            counts.append(np.array([len(row_names) for row_names in names_of], np.int64))
        self._digests = Digests(np.concatenate(digests))
        n = np.concatenate(counts)
        self._rows = np.repeat(np.arange(len(n)), n)

    def all(self, name: str) -> Rows:
        """Return every row with this name."""
        return np.unique(self._rows[self._digests.all(name)])


def _paths(row: IndexRow) -> list[str]:
    return [path for path in (row["path"], row["real"], *(row["also"] or ())) if path is not None]


def _composed(name: str) -> str:
    """Return a name in Unicode's composed form, as keyboards give it; macOS stores accents separately."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)
