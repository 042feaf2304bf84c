"""Manifests of recordings: tables with a column of paths, and texts with a path on each line."""

from __future__ import annotations

import codecs
import csv
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from ...kernels import CumelError, Later
from ..system import first_line

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
else:  # Parquet alone needs them, as a store does.
    pa, pq = Later("pyarrow", "cumel.esc50.store"), Later("pyarrow.parquet", "cumel.esc50.store")

# Names of the column with the paths; the first one present counts. The last three are those of UrbanSound8K, of Hugging
# Face's audiofolder, and of FSD50K.
PATH_COLUMNS = ("path", "file", "filename", "slice_file_name", "file_name", "fname")
SURELY = "path"  # what a text file's lines are called


class Record(NamedTuple):
    """A row of a manifest."""

    where: str  # its line, or its number, for messages
    values: dict[str, Any]


def records(manifest: Path) -> Iterator[Record]:
    """Yield the rows of a manifest; those of a text file have one value, ``path``.

    Raises
    ------
    CumelError
        When the manifest cannot be read or parsed, or a row has more values than there are columns.
    """
    with reading(manifest):
        yield from MANIFESTS[manifest.suffix.lower()](manifest)


@contextmanager
def reading(manifest: Path) -> Iterator[None]:
    """Turn what goes wrong with a manifest into a `CumelError` that names it."""
    try:
        yield
    except CumelError:
        raise
    except OSError as error:
        raise CumelError(f"{manifest}: {error.strerror or error}; check the path and its permissions") from None
    except (csv.Error, ValueError, RecursionError, *_errors_of_arrow()) as error:
        raise CumelError(f"{manifest}: not a usable manifest ({first_line(error)})") from None


def _errors_of_arrow() -> tuple[type[Exception], ...]:
    """Return the errors of pyarrow that are no ValueErrors; none can come up before it is imported."""
    return (pa.ArrowException,) if "pyarrow" in sys.modules else ()


def header_of(manifest: Path) -> list[str]:
    """Return the names of a manifest's columns; of JSON lines, those of the first one."""
    if manifest.suffix.lower() == ".parquet":
        with reading(manifest):
            return pq.read_schema(manifest).names
    if manifest.suffix.lower() in (".csv", ".tsv"):
        with reading(manifest), _csv_rows(manifest) as rows:
            return list(rows.fieldnames or ())
    first = next(records(manifest), None)
    return [] if first is None else list(first.values)


def named(manifest: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the path in each row of a manifest, unchanged, and the other values of the row.

    Raises
    ------
    CumelError
        As `records`, and when the manifest has no column of paths, or a row without one.
    """
    column = None
    for number, (_, values) in enumerate(records(manifest), start=1):
        column = column or path_column(manifest, list(values))
        name = values.get(column)
        name = os.fsdecode(name) if isinstance(name, bytes) else name
        if not isinstance(name, str) or not name or "\0" in name:
            raise CumelError(f"{manifest}: row {number} names no file; fill it in, or leave the row out")
        yield name, {key: value for key, value in values.items() if key != column}


@contextmanager
def _opened(manifest: Path, newline: str | None = None) -> Iterator[TextIO]:
    """Open a text in UTF-8, in which names may have any bytes; one in UTF-16 is refused."""
    with manifest.open("rb") as raw:
        if raw.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise CumelError(f"{manifest}: is in UTF-16; save it as UTF-8")
        yield TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline=newline)


@contextmanager
def _csv_rows(manifest: Path) -> Iterator[csv.DictReader]:
    """Read a CSV; where its header has no comma, a semicolon or a tab separates, as in tables of European Excels."""
    is_tsv = manifest.suffix.lower() == ".tsv"  # a quote in a TSV is an ordinary character, as in Common Voice
    with _opened(manifest, newline="") as file:
        header = "" if is_tsv else file.readline()
        file.seek(0)
        delimiter = "\t" if is_tsv else next((mark for mark in ",;\t" if mark in header), ",")
        rows = csv.DictReader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE if is_tsv else csv.QUOTE_MINIMAL)
        twice = [name for name, n in Counter(rows.fieldnames or ()).items() if n > 1 and name]
        if twice:
            raise CumelError(f"{manifest}: has several columns {twice[0]}; rename or drop all but one")
        yield rows


def _from_csv(manifest: Path) -> Iterator[Record]:
    with _csv_rows(manifest) as rows:
        path_column(manifest, rows.fieldnames or [])
        for row in rows:
            if any(row.pop(None, ())):  # commas at the end of a line are no values
                raise CumelError(
                    f"{manifest}, line {rows.line_num}: has more values than there are columns; "
                    f"quote what has a {rows.reader.dialect.delimiter!r}"
                )
            yield Record(f"line {rows.line_num}", row)


def _from_parquet(manifest: Path) -> Iterator[Record]:
    with pq.ParquetFile(manifest) as file:
        path_column(manifest, file.schema_arrow.names)
        plain = [each.name for each in file.schema_arrow if _is_plain(each)]
        number = 0
        for batch in file.iter_batches(columns=plain):
            for row in batch.to_pylist():
                number += 1
                yield Record(f"row {number}", row)


def _is_plain(column: pa.Field) -> bool:
    """Whether a column has paths or facts about recordings, and not the recordings themselves."""
    kinds = pa.types
    return column.name in PATH_COLUMNS or not (kinds.is_binary(column.type) or kinds.is_struct(column.type))


def _from_json_lines(manifest: Path) -> Iterator[Record]:
    with _opened(manifest) as file:
        for number, line in enumerate(map(str.strip, file), start=1):
            if not line:
                continue
            row = json.loads(line)
            if not isinstance(row, dict):
                raise CumelError(f'{manifest}: each line must be an object, as in {{"path": "dog.wav"}}')
            yield Record(f"line {number}", row)


def _from_text(manifest: Path) -> Iterator[Record]:
    with _opened(manifest, newline="\n") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield Record(f"line {number}", {SURELY: line.rstrip("\r\n")})


TABLES: dict[str, Callable[[Path], Iterator[Record]]] = {
    ".csv": _from_csv,
    ".tsv": _from_csv,
    ".jsonl": _from_json_lines,
    ".ndjson": _from_json_lines,
    ".parquet": _from_parquet,
}
MANIFESTS = TABLES | {".txt": _from_text}


def path_column(manifest: Path, names: Sequence[str]) -> str:
    """Return which of a manifest's columns has the paths; a `CumelError` when none has."""
    for name in PATH_COLUMNS:
        if name in names:
            return name
    *most, last = PATH_COLUMNS
    has = f"its columns: {', '.join(names)}" if names else "it is empty"
    raise CumelError(f"{manifest}: has no column {', '.join(most)} or {last}; {has}")
