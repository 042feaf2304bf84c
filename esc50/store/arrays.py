"""A shard's array: an .npy file whose header is known in advance, to the last byte."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ...kernels import CumelError
from .seals import CHECKSUM

HEADER_BYTES = 128
REPAIR = "run the same `cumel extract` with --repair to extract it again, and delete nothing by hand"
REWRITE = "run the same `cumel extract` again, which writes it anew"


def header(n_frames: int, n_rows: int, dtype: DTypeLike) -> bytes:
    """Return the header of an array [n_frames, n_rows], as `numpy.save` writes it; its length never changes."""
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': ({n_frames}, {n_rows}), }}"
    length = HEADER_BYTES - 10
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + f"{text:<{length - 1}}\n".encode("latin1")


def open_shard(path: Path, n_rows: int, dtype: DTypeLike, mode: Literal["r", "c"] = "r") -> NDArray:
    """Map a shard [n_frames, n_rows] into memory.

    Raises
    ------
    CumelError
        When the file is missing, or its header and size are not those of such an array.
    """
    kind = np.dtype(dtype)
    try:
        with path.open("rb") as file:
            head, size = file.read(HEADER_BYTES), os.fstat(file.fileno()).st_size
            n_frames, rest = divmod(size - HEADER_BYTES, n_rows * kind.itemsize)
            if rest or n_frames < 1 or head != header(n_frames, n_rows, kind):
                raise damaged(path, f"its header is not that of {size} bytes of {n_rows} {kind} values a frame")
            return np.memmap(file, kind, mode, HEADER_BYTES, (n_frames, n_rows))
    except OSError as error:
        raise damaged(path, error.strerror or str(error)) from None


def damaged(path: Path, what: str) -> CumelError:
    """Make the error for a damaged file of a store: what is wrong, and what to do."""
    return CumelError(f"{path}: damaged ({what}); {REPAIR}")


def frames_fit(row: Mapping[str, Any], frames: NDArray) -> bool:
    """Whether frames have the number and the checksum in their row; rows of an earlier version have no checksum."""
    checksum = row[CHECKSUM]
    return len(frames) == row["n_frames"] and (checksum is None or zlib.crc32(frames.data) == checksum)
