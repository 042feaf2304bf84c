"""Parquet files in which damage to any byte is noticed.

Parquet's own checksums cover the content of its pages, not their headers, nor the footer that says how to read them. So
a seal stands before the footer, where readers of Parquet do not look: a mark, the CRC-32 of the footer, and that of all
before the seal. The footer is parsed only after its checksum fits, as some damage makes Arrow abort the process.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...kernels import CumelError
from ..system import first_line

MARK = b"CUMEL\0\1S"
SEAL_BYTES = len(MARK) + 8
TAIL_BYTES = 8  # at the end of every Parquet file: the footer's length, and PAR1
CHECKSUM = "crc32"  # column of every sealed file: the checksum of a recording's frames
FEATURES = "features"  # column outside the seal, as each row's checksum covers its features


def write_sealed(path: Path, schema: pa.Schema, tables: Iterable[pa.Table], **options: Any) -> None:
    """Write tables into a sealed Parquet file, with checksums of its pages as well."""
    with pq.ParquetWriter(path, schema, write_page_checksum=True, **options) as writer:
        for table in tables:
            writer.write_table(table)
    seal(path)


def seal(path: Path) -> None:
    """Put a seal into a complete Parquet file."""
    with pa.memory_map(str(path)) as file:
        content = memoryview(file.read_buffer())
        at = _footer(content)
        rest = content[at:].tobytes()
        checksums = [zlib.crc32(rest), _crc32(content, at)]
    with path.open("r+b") as file:
        file.seek(at)
        file.write(MARK + b"".join(checksum.to_bytes(4, "little") for checksum in checksums) + rest)


def read_sealed(path: Path, columns: list[str] | None = None, *, must: bool = False) -> pa.Table:
    """Read a Parquet file, or some of its columns; `must`: refuse a file without a seal, as earlier versions wrote it.

    Raises
    ------
    CumelError
        When it is damaged; the message is the reason alone.
    """
    try:
        with pa.memory_map(str(path)) as mapped:
            buffer = mapped.read_buffer()
            sealed = _check(memoryview(buffer))
            with pq.ParquetFile(pa.BufferReader(buffer), page_checksum_verification=True) as file:
                names = file.schema_arrow.names
                wanted = None if columns is None else [name for name in columns if name != CHECKSUM or name in names]
                if not sealed and (must or CHECKSUM in names):
                    raise CumelError("its seal is gone")
                table = file.read(wanted)
                if not sealed:
                    table.validate(full=True)
                return table
    except CumelError:
        raise
    except Exception as error:  # damage may raise anything
        raise CumelError(first_line(error)) from None


def _check(content: memoryview) -> bool:
    """Return whether a file has a seal; a `CumelError` when it does not fit."""
    at = _footer(content)
    first = at - SEAL_BYTES
    if first < 0 or content[first : first + len(MARK)] != MARK:
        return False
    of_footer, of_rest = (int.from_bytes(content[end - 4 : end], "little") for end in (at - 4, at))
    if of_footer != zlib.crc32(content[at:]) or of_rest != _crc32(content, first):
        raise CumelError("its checksum does not fit what it holds")
    return True


def _footer(content: memoryview) -> int:
    """Return where the footer begins."""
    length = int.from_bytes(content[-TAIL_BYTES:-4], "little")
    at = len(content) - TAIL_BYTES - length
    if at < 0 or content[-4:] != b"PAR1":
        raise CumelError("its end is not that of a Parquet file")
    return at


def _crc32(content: memoryview, end: int) -> int:
    """Return the checksum of all bytes before `end`, without the pages of features."""
    checksum, at = 0, 0
    for start, stop in _features(content):
        checksum, at = zlib.crc32(content[at:start], checksum), stop
    return zlib.crc32(content[at:end], checksum)


def _features(content: memoryview) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each column chunk of features."""
    metadata = pq.read_metadata(pa.BufferReader(pa.py_buffer(content)))
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        for j in range(group.num_columns):
            column = group.column(j)
            if column.path_in_schema.split(".")[0] == FEATURES:
                start = column.dictionary_page_offset or column.data_page_offset
                yield start, start + column.total_compressed_size
