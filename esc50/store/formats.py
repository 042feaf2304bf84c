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
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ...kernels import need
from ..system import NAME_MAX
from .labels import LABEL, targets_of
from .reader import Store, StoredClip, extracted
from .shards import INDEX, ROW_SCHEMA

TAR_BYTES = 256 << 20  # a tar shard ends with the recording that reaches this
PARQUET_BYTES = 512 << 20  # a Parquet file ends with the row group that reaches this
GROUP_BYTES = 32 << 20  # a row group ends with the recording that reaches this
NUMBERS = {"use_dictionary": False, "compression": "zstd"}  # Parquet options: feature values seldom repeat
CHUNK_BYTES = 1 << 20  # size of a Zarr chunk
CHUNKS = 16  # chunks in a file of a Zarr array
NAMES = "labels.json"  # names of the numbers in a .cls
MOST_SUFFIX = 16  # longest extension, in characters, that a shortened name keeps
CLIP_COLUMNS = ("path", "status", "source_sr", "sr", "n_samples", "n_frames")
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
        np.save(out / name, store.config.laid_out(clip.frames))
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
    """Write tar shards: each recording's features, its row of the index, and the number of its label in labels.json."""
    numbers, names = itertools.count(), class_names(store)
    targets = {name: target for target, name in enumerate(names)}
    if names:
        (out / NAMES).write_text(json.dumps(names, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    shards, clip = itertools.count(), next(clips, None)
    while clip is not None:
        with tarfile.open(out / f"clips-{next(shards):06d}.tar", "w") as tar:
            while clip is not None and tar.offset < TAR_BYTES:
                array = io.BytesIO()
                np.save(array, store.config.laid_out(clip.frames))
                key = f"{next(numbers):09d}"
                _add(tar, f"{key}.npy", array.getvalue())
                _add(tar, f"{key}.json", json.dumps(clip.row, default=str).encode())
                if clip.row.get(LABEL) is not None:
                    _add(tar, f"{key}.cls", str(targets[clip.row[LABEL]]).encode())
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
    columns, names = clip_columns(store), class_names(store)
    shards, clip = itertools.count(), next(clips, None)
    writer, n_bytes = None, 0
    try:
        while clip is not None:
            group, group_bytes = [], 0
            while clip is not None and group_bytes < GROUP_BYTES:
                group.append(clip)
                group_bytes += clip.frames.nbytes
                clip = next(clips, None)
            table = labelled(table_of(group, columns), names)
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


def clip_columns(store: Store) -> dict[str, pa.DataType]:
    """Return the columns that exports have of each recording: some of the index, and all that a manifest brought."""
    more = [name for name in store.index.column_names if name not in ROW_SCHEMA.names]
    return {name: store.index.schema.field(name).type for name in (*CLIP_COLUMNS, *more)}


def class_names(store: Store) -> list[str]:
    """Return the names of the labels, by number; none where recordings have no labels."""
    return targets_of(store.index[LABEL])[1] if LABEL in store.index.column_names else []


def labelled(table: pa.Table, names: list[str]) -> pa.Table:
    """Turn the labels of a table into their numbers, with their names as a ClassLabel of Hugging Face's `datasets`."""
    if not names:
        return table
    at = pc.index_in(table[LABEL], value_set=pa.array(names)).cast(pa.int64())  # pyright: ignore[reportAttributeAccessIssue]
    table = table.set_column(table.column_names.index(LABEL), LABEL, at)
    features = {field.name: _hf_feature(field.type) for field in table.schema}
    features[LABEL] = {"names": names, "_type": "ClassLabel"}
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _hf_feature(kind: pa.DataType) -> dict[str, Any]:
    """Describe a column as `datasets` does."""
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        length = {"length": kind.list_size} if pa.types.is_fixed_size_list(kind) else {}
        return {"feature": _hf_feature(kind.value_type), **length, "_type": "List"}
    return {
        "dtype": {"float": "float32", "halffloat": "float16", "double": "float64"}.get(str(kind), str(kind)),
        "_type": "Value",
    }


def _columns(store: Store) -> tuple[dict[str, NDArray], int]:
    """Return the columns of the index as arrays, and the number of frames of all recordings."""
    index = extracted(store)
    columns = {name: _array(index[name], kind) for name, kind in clip_columns(store).items()}
    ends = np.cumsum(columns["n_frames"])
    return columns | {"offset": ends - columns["n_frames"]}, int(ends[-1])


def _array(column: pa.ChunkedArray, kind: pa.DataType) -> NDArray:
    """Return a column as an array: what is unknown is an empty text, 0, or NaN."""
    if pa.types.is_string(kind):
        return np.array(column.fill_null("").to_pylist(), np.dtypes.StringDType())
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        empty = float("nan") if pa.types.is_floating(kind) else pa.scalar(0).cast(kind)
        return np.array(column.fill_null(empty).to_pylist(), kind.to_pandas_dtype())
    return np.array(["" if value is None else str(value) for value in column.to_pylist()], np.dtypes.StringDType())


def _config(store: Store) -> dict[str, Any]:
    return store.config.to_dict()


def _peek(clips: Iterator[StoredClip]) -> tuple[NDArray, Iterator[StoredClip]]:
    """Return the first recording's features, and all recordings."""
    first = next(clips)
    return first.frames, itertools.chain([first], clips)
