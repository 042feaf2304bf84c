"""The command that writes a page for the browser; `app` registers it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import show
from .options import AsJson


def web(
    model: Annotated[Path, typer.Argument(help="The .onnx file of a waveform model.")],
    out: Annotated[Path, typer.Option(help="Folder of the site.")],
    runtime: Annotated[
        Path | None, typer.Option(help="The unpacked npm package onnxruntime-web, where npm cannot fetch it.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into a folder that holds other things.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a static page that classifies recordings in the browser, with nothing sent anywhere."""
    from ...export.web import write_site

    show.site(write_site(model, out, runtime=runtime, overwrite=overwrite), as_json)
