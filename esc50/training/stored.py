"""Whether features in a store are those of a clip."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ...kernels import CumelError
from ..extraction import fingerprint
from ..inputs import key_of


def check_same(row: dict[str, Any], path: Path, folder: Path) -> None:
    """Check that a row of the store `folder`, found by a recording's path or name, is of what `path` holds now.

    A recording that the store knows at another place counts where its content is the same, as for `cumel extract`.

    Raises
    ------
    CumelError
        When it changed since, or is another recording of that name; the message says which, and what to do.
    """
    status = path.stat()
    again = f"the same `cumel extract` as for {folder}, given {path.parent},"
    if key_of(path) == (row["real"] or row["path"]):
        if (row["size"], row["mtime_ns"]) != (status.st_size, status.st_mtime_ns):
            raise CumelError(f"{path}: changed since {folder} was extracted; {again} takes it again")
        return
    printed = row["fingerprint"]
    same = row["mtime_ns"] == status.st_mtime_ns if printed is None else printed == fingerprint(os.fspath(path))
    if row["size"] != status.st_size or not same:
        raise CumelError(
            f"{path}: {folder} has no features of it, only of another recording of that name, {row['path']}; "
            f"{again} adds them"
        )
