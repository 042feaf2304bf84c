"""The command that runs a benchmark script of a checkout. The scripts are not part of the installed package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from ...kernels import CumelError, UnavailableError
from . import show
from .options import AsJson

TOPICS = ("accuracy", "features", "scaling", "extract", "memory", "inference", "routes", "train", "static")


def bench(
    topic: Annotated[str, typer.Argument(help=f"{', '.join(TOPICS)}.")] = "features",
    arguments: Annotated[list[str] | None, typer.Argument(help="Arguments of the benchmark, after --.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the project against what one would use instead, in a checkout of it."""
    if topic not in TOPICS:
        raise CumelError(f"bench {topic}: must be one of {', '.join(TOPICS)}")
    script = Path("bench") / f"{topic}.py"
    if not script.is_file():
        raise UnavailableError(f"{script}: not here; run `cumel bench` in the folder of a checkout of cumel")
    output = subprocess.DEVNULL if as_json else None
    if subprocess.run([sys.executable, str(script), *(arguments or [])], stdout=output, check=False).returncode:
        raise CumelError(f"{script} failed; its last lines say why")
    show.facts({"topic": topic, "rows": str(Path("bench") / "results" / f"{topic}.csv")}, as_json)
