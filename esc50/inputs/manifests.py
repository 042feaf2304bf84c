"""Manifests of recordings: tables with a column of paths, and texts with a path on each line."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...kernels import CumelError, Later

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
else:  # Parquet alone needs them, as a store does.
    pa, pq = Later("pyarrow", "cumel.esc50.store"), Later("pyarrow.parquet", "cumel.esc50.store")

PATH_COLUMNS = ("path", "file", "filename")  # names of the column with the paths; the first one present counts


def from_manifest(manifest: Path) -> Iterator[str]:
    """Yield the paths in a manifest, unchanged.

    Raises
    ------
    CumelError
        When the manifest cannot be read or parsed, has no column of paths, or a row without one.
    """
    try:
        for number, name in enumerate(MANIFESTS[manifest.suffix.lower()](manifest), start=1):
            if not name or "\0" in name:
                raise CumelError(f"{manifest}: row {number} names no file; fill it in, or leave the row out")
            yield name
    except CumelError:
        raise
    except OSError as error:
        raise CumelError(f"{manifest}: {error.strerror or error}; check the path and its permissions") from None
    except (csv.Error, ValueError, RecursionError, *_errors_of_arrow()) as error:
        raise CumelError(f"{manifest}: not a usable manifest ({str(error).splitlines()[0]})") from None


def _errors_of_arrow() -> tuple[type[Exception], ...]:
    """Return the errors of pyarrow that are no ValueErrors; none can come up before it is imported."""
    return (pa.ArrowException,) if "pyarrow" in sys.modules else ()


def _from_csv(manifest: Path) -> Iterator[str | None]:
    is_tsv = manifest.suffix.lower() == ".tsv"  # a quote in a TSV is an ordinary character, as in Common Voice
    quoting, delimiter = (csv.QUOTE_NONE, "\t") if is_tsv else (csv.QUOTE_MINIMAL, ",")
    with manifest.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:  # names are any bytes
        rows = csv.DictReader(file, delimiter=delimiter, quoting=quoting)
        column = _column(manifest, rows.fieldnames or [])
        for row in rows:
            yield row[column]


def _from_parquet(manifest: Path) -> Iterator[str | None]:
    with pq.ParquetFile(manifest) as file:
        column = _column(manifest, file.schema_arrow.names)
        for batch in file.iter_batches(columns=[column]):
            for name in batch.column(0).to_pylist():
                yield name if name is None else os.fsdecode(name)


def _from_json_lines(manifest: Path) -> Iterator[str | None]:
    column = None
    with manifest.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for line in map(str.strip, file):
            if not line:
                continue
            row = json.loads(line)
            if not isinstance(row, dict):
                raise CumelError(f'{manifest}: each line must be an object, as in {{"path": "dog.wav"}}')
            column = column or _column(manifest, list(row))
            name = row.get(column)
            yield name if isinstance(name, str) else None


def _from_text(manifest: Path) -> Iterator[str]:
    with manifest.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
        yield from (line.rstrip("\r\n") for line in file if line.strip())


MANIFESTS: dict[str, Callable[[Path], Iterator[str | None]]] = {
    ".csv": _from_csv,
    ".tsv": _from_csv,
    ".jsonl": _from_json_lines,
    ".ndjson": _from_json_lines,
    ".parquet": _from_parquet,
    ".txt": _from_text,
}


def _column(manifest: Path, names: Sequence[str]) -> str:
    for name in PATH_COLUMNS:
        if name in names:
            return name
    *most, last = PATH_COLUMNS
    raise CumelError(f"{manifest}: has no column {', '.join(most)} or {last}; its columns: {', '.join(names)}")
