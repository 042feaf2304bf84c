"""The command that writes a store in another format; `cli` registers it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import show
from .options import AsJson


def convert(
    store: Annotated[Path, typer.Argument(help="Folder of the store, as `cumel extract` wrote it.")],
    to: Annotated[str, typer.Option(help="npy, webdataset, zarr, hdf5 or hf (Hugging Face).")],
    out: Annotated[Path, typer.Option(help="A new folder; for hdf5 a new file.")],
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write extracted features in another format."""
    from ..store import convert as run

    show.facts(run(store, out, to, quiet=quiet), as_json)
