"""Other formats for the features in a store: each function writes the recordings as they come."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import operator
import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ...kernels import need
from ..system import NAME_MAX
from .reader import Store, StoredClip, extracted
from .shards import INDEX, ROW_SCHEMA

TAR_BYTES = 256 << 20  # a tar shard ends with the recording that reaches this
PARQUET_BYTES = 512 << 20  # a Parquet file ends with the row group that reaches this
GROUP_BYTES = 32 << 20  # a row group ends with the recording that reaches this
NUMBERS = {"use_dictionary": False, "compression": "zstd"}  # Parquet options: feature values seldom repeat
CHUNK_BYTES = 1 << 20  # size of a Zarr chunk
CHUNKS = 16  # chunks in a file of a Zarr array
MOST_SUFFIX = 16  # longest extension, in characters, that a shortened name keeps
CLIP_COLUMNS = {name: ROW_SCHEMA.field(name).type for name in ("path", "status", "sr", "n_samples", "n_frames")}
CARD = """---
configs:
- config_name: default
  data_files: data/*.parquet
---
Features of recordings, a row each; `features` is [n_frames, n_rows]. Extracted with `cumel extract`:

```json
{config}
```
"""


def write_npy(store: Store, clips: Iterator[StoredClip], out: Path) -> int:
    """Write a file per recording, and an index that names them; returns the number of shortened names."""
    index = extracted(store)
    paths = index["path"].to_pylist()
    common = os.path.commonpath({os.path.dirname(path) for path in paths})  # noqa: PTH120 (as many as recordings)
    pathconf = getattr(os, "pathconf", None)  # Windows has none
    most = pathconf(out, "PC_NAME_MAX") if pathconf else NAME_MAX
    full_names = [f"{os.path.relpath(path, common)}.npy" for path in paths]
    names = [str(Path(*(_short(part, most) for part in Path(name).parts))) for name in full_names]
    for name, clip in zip(names, clips, strict=True):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(out / name, clip.frames.T)
    pq.write_table(index.append_column("file", pa.array(names)), out / INDEX)
    store.config.save(out)
    return sum(map(operator.ne, names, full_names))


def _short(name: str, most: int) -> str:
    """Return a name of at most `most` bytes: a longer name is cut, and a digest of it makes the rest unique."""
    text = name.encode()
    if len(text) <= most:
        return name
    end = f"-{hashlib.sha256(text).hexdigest()[:16]}{Path(name).suffix if len(Path(name).suffix) < MOST_SUFFIX else ''}"
    return text[: most - len(end.encode())].decode(errors="ignore") + end


def write_webdataset(store: Store, clips: Iterator[StoredClip], out: Path) -> None:
    """Write tar shards: two members per recording, its features and its row of the index."""
    numbers = itertools.count()
    shards, clip = itertools.count(), next(clips, None)
    while clip is not None:
        with tarfile.open(out / f"clips-{next(shards):06d}.tar", "w") as tar:
            while clip is not None and tar.offset < TAR_BYTES:
                array = io.BytesIO()
                np.save(array, clip.frames.T)
                key = f"{next(numbers):09d}"
                _add(tar, f"{key}.npy", array.getvalue())
                _add(tar, f"{key}.json", json.dumps(clip.row).encode())
                clip = next(clips, None)
    store.config.save(out)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def write_zarr(store: Store, clips: Iterator[StoredClip], out: Path) -> None:
    """Write a Zarr version 3 group."""
    zarr = need("zarr", __name__)
    columns, n_frames = _columns(store)
    first, clips = _peek(clips)
    n_rows, itemsize = first.shape[1], first.itemsize
    chunk = max(1, CHUNK_BYTES // (n_rows * itemsize))
    group = zarr.create_group(out, zarr_format=3, attributes=_config(store))
    features = group.create_array(
        "features",
        shape=(n_frames, n_rows),
        dtype=first.dtype,
        chunks=(chunk, n_rows),
        shards=(chunk * CHUNKS, n_rows),
        dimension_names=("frame", "row"),
    )
    at = 0
    for frames in packed((clip.frames for clip in clips), chunk * CHUNKS):
        features[at : at + len(frames)] = frames
        at += len(frames)
    for name, values in columns.items():
        group.create_array(name, shape=values.shape, dtype=values.dtype, dimension_names=("clip",))[:] = values


def packed(arrays: Iterable[NDArray], size: int) -> Iterator[NDArray]:
    """Yield the rows of all `arrays`, one after another, `size` at a time; the last ones may be fewer."""
    pending: list[NDArray] = []
    n_pending = 0
    for array in arrays:
        at = 0
        while at < len(array):
            pending.append(array[at : at + size - n_pending])
            n_pending += len(pending[-1])
            at += len(pending[-1])
            if n_pending == size:
                yield np.concatenate(pending)
                pending, n_pending = [], 0
    if pending:
        yield np.concatenate(pending)


def write_hdf5(store: Store, clips: Iterator[StoredClip], out: Path) -> None:
    """Write an HDF5 file."""
    h5py = need("h5py", __name__)
    columns, n_frames = _columns(store)
    first, clips = _peek(clips)
    with h5py.File(out, "w") as file:
        for name, value in _config(store).items():
            file.attrs[name] = json.dumps(value)
        features = file.create_dataset("features", (n_frames, first.shape[1]), first.dtype)
        at = 0
        for clip in clips:
            features[at : at + len(clip.frames)] = clip.frames
            at += len(clip.frames)
        for name, values in columns.items():
            text = values.dtype.kind == "T"
            file[name] = values.astype(h5py.string_dtype()) if text else values


def write_hf(store: Store, clips: Iterator[StoredClip], out: Path) -> None:
    """Write Parquet files in the layout that `datasets.load_dataset` knows."""
    (out / "data").mkdir()
    (out / "README.md").write_text(CARD.format(config=json.dumps(_config(store), indent=2)))
    shards, clip = itertools.count(), next(clips, None)
    writer, n_bytes = None, 0
    try:
        while clip is not None:
            group, group_bytes = [], 0
            while clip is not None and group_bytes < GROUP_BYTES:
                group.append(clip)
                group_bytes += clip.frames.nbytes
                clip = next(clips, None)
            table = table_of(group, CLIP_COLUMNS)
            writer = writer or pq.ParquetWriter(
                out / "data" / f"train-{next(shards):05d}.parquet", table.schema, **NUMBERS
            )
            writer.write_table(table)
            n_bytes += group_bytes
            if n_bytes >= PARQUET_BYTES:
                writer.close()
                writer, n_bytes = None, 0
    finally:
        if writer is not None:
            writer.close()


def table_of(clips: list[StoredClip], columns: dict[str, pa.DataType]) -> pa.Table:
    """Return a row per recording: `columns` of its row, and `features` [n_frames, n_rows]; complex numbers as pairs."""
    frames = np.concatenate([clip.frames for clip in clips])
    if np.iscomplexobj(frames):
        frames = frames.view(np.float32).reshape(*frames.shape, 2)
    values = pa.array(frames.reshape(-1))
    for size in frames.shape[:0:-1]:
        values = pa.FixedSizeListArray.from_arrays(values, size)
    ends = np.cumsum([0, *(len(clip.frames) for clip in clips)], dtype=np.int32)
    features = pa.ListArray.from_arrays(pa.array(ends), values)
    facts = {name: pa.array([clip.row[name] for clip in clips], kind) for name, kind in columns.items()}
    return pa.table(facts | {"features": features})


def _columns(store: Store) -> tuple[dict[str, NDArray], int]:
    """Return the columns of the index as arrays, and the number of frames of all recordings."""
    index = extracted(store)
    columns = {name: np.array(index[name].to_pylist(), _dtype(kind)) for name, kind in CLIP_COLUMNS.items()}
    ends = np.cumsum(columns["n_frames"])
    return columns | {"offset": ends - columns["n_frames"]}, int(ends[-1])


def _dtype(kind: pa.DataType) -> Any:
    return np.dtypes.StringDType() if kind == pa.string() else kind.to_pandas_dtype()


def _config(store: Store) -> dict[str, Any]:
    return store.config.to_dict()


def _peek(clips: Iterator[StoredClip]) -> tuple[NDArray, Iterator[StoredClip]]:
    """Return the first recording's features, and all recordings."""
    first = next(clips)
    return first.frames, itertools.chain([first], clips)
