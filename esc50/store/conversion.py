"""Conversion of a store to other formats (files, tar shards, arrays, a dataset), clip by clip."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ...kernels import CumelError
from ..system import bar, part_of, unwritable
from .formats import write_hdf5, write_hf, write_npy, write_webdataset, write_zarr
from .reader import Store, StoredClip, clips_of, extracted


class Format(NamedTuple):
    """One way to write a store."""

    write: Callable[[Store, Iterator[StoredClip], Path], int | None]  # returns the number of shortened file names
    is_file: bool = False


FORMATS = {
    "npy": Format(write_npy),
    "webdataset": Format(write_webdataset),
    "zarr": Format(write_zarr),
    "hdf5": Format(write_hdf5, is_file=True),
    "hf": Format(write_hf),
}


def convert(folder: Path, out: Path, to: str, *, quiet: bool = False) -> dict[str, Any]:
    """Write the store `folder` in another format to `out`, which appears when it is whole.

    Parameters
    ----------
    folder, out : Path
        `out` must not exist, or be an empty folder; for ``hdf5`` it is a file.
    to : {"npy", "webdataset", "zarr", "hdf5", "hf"}
        - ``npy``: a file [n_rows, n_frames] per recording, or as `time_major` of its config says, named as it is below
          the folder that all have in common; ``index.parquet`` names them all. A name that is too long for the disk is
          shortened.
        - ``webdataset``: tar shards with ``N.npy`` of the same layout and ``N.json``, its row of the index.
        - ``zarr`` (version 3), ``hdf5``: ``features`` [total_frames, n_rows], all recordings one after another, and
          for each its ``path``, ``status``, ``sr``, ``n_samples``, ``offset`` (first frame) and ``n_frames``.
        - ``hf``: Parquet files for `datasets.load_dataset`, a row per recording, ``features`` [n_frames, n_rows].
    quiet : bool
        Show no progress.

    Returns
    -------
    dict
        The report: clips written, failed recordings left out, bytes, seconds, a note when names were shortened.

    Raises
    ------
    CumelError
        For an unknown format, a store or a place that is not usable, or a full disk; nothing is left behind then.
    UnavailableError
        When the format's library is not installed.
    """
    if to not in FORMATS:
        raise CumelError(f"--to {to}: must be one of {', '.join(FORMATS)}")
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise CumelError(f"{out}: is there already; choose another --out")
    store = Store(folder)
    n_clips = len(extracted(store))
    if not n_clips:
        raise CumelError(f"{folder}: has no features, only recordings that failed; nothing to convert")
    started = time.monotonic()
    with _appearing(out, FORMATS[to].is_file) as part, bar(f"writing {to}", n_clips, "clips", quiet=quiet) as advance:
        shortened = FORMATS[to].write(store, _counted(clips_of(store), advance), part)
    note = f"{shortened} names were too long for the disk, and are shortened: index.parquet has both"
    return {
        "clips": n_clips,
        **({"note": note} if shortened else {}),
        "left_out": len(store) - n_clips,
        "format": to,
        "bytes": sum(path.stat().st_size for path in (out, *out.rglob("*")) if path.is_file()),
        "seconds": round(time.monotonic() - started, 2),
        "out": str(out),
    }


def _counted(clips: Iterator[StoredClip], advance: Callable[..., None]) -> Iterator[StoredClip]:
    for clip in clips:
        yield clip
        advance()


@contextmanager
def _appearing(out: Path, is_file: bool) -> Iterator[Path]:
    """Yield a temporary file or folder beside `out`, which becomes `out` when the block ends well."""
    part = part_of(out)
    try:
        _remove(part)  # leftover of a killed run
        out.parent.mkdir(parents=True, exist_ok=True)
        if not is_file:
            part.mkdir()
        yield part
        if out.is_dir():
            out.rmdir()  # an empty folder is allowed
        part.replace(out)
    except OSError as error:
        raise unwritable(out, error) from None
    finally:
        _remove(part)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
