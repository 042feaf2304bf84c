"""The commands that make a dataset; `app` registers them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from . import show
from .options import AsJson


def synth(
    root: Annotated[Path, typer.Argument(help="Folder of the new dataset.")],
    classes: Annotated[int, typer.Option(help="1 to 50.")] = 50,
    clips_per_class: Annotated[int, typer.Option(help="Spread over five folds.")] = 8,
    seconds: Annotated[float, typer.Option(help="Of each clip.")] = 5.0,
    sr: Annotated[int, typer.Option(help="Hz.")] = 44100,
    seed: int = 0,
    as_json: AsJson = False,
) -> None:
    """Make a small dataset of 50 kinds of synthetic sound in ESC-50's layout."""
    from ..datasets import synthesize

    synthesize(root, classes=classes, clips_per_class=clips_per_class, seconds=seconds, sr=sr, seed=seed)
    show.facts({"root": str(root), "classes": classes, "clips": classes * clips_per_class}, as_json)


def download(
    root: Annotated[Path, typer.Argument(help="Folder of the dataset.")],
    url: Annotated[str | None, typer.Option(help="Another place that holds the archive.")] = None,
    sha256: Annotated[
        str | None, typer.Option(help="Checksum that the archive must have; none: its content alone is checked.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch ESC-50 (646 MB), check it, unpack it. What fails on the way is tried again, from the first byte."""
    from ..datasets import ESC50_URL, LICENSE_NOTICE, download as fetch

    print(LICENSE_NOTICE, file=sys.stderr)
    show.facts({"root": str(fetch(root, url or ESC50_URL, sha256)), "license": LICENSE_NOTICE}, as_json)
