"""Run a benchmark script of a checkout: `cumel bench`. The scripts are not part of the installed package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from ...kernels import CumelError, UnavailableError

TOPICS = ("accuracy", "features", "scaling", "extract", "memory", "inference", "routes", "train", "static")


def run(topic: str, arguments: list[str], *, quiet: bool = False) -> dict[str, Any]:
    """Run ``bench/<topic>.py`` of the checkout in which one stands; its table goes to the screen unless `quiet`.

    Returns
    -------
    dict
        The topic and the csv file to which the rows were appended.

    Raises
    ------
    CumelError
        For an unknown topic, or a benchmark that fails.
    UnavailableError
        Outside a checkout.
    """
    if topic not in TOPICS:
        raise CumelError(f"bench {topic}: must be one of {', '.join(TOPICS)}")
    script = Path("bench") / f"{topic}.py"
    if not script.is_file():
        raise UnavailableError(f"{script}: not here; run `cumel bench` in the folder of a checkout of cumel")
    output = subprocess.DEVNULL if quiet else None
    if subprocess.run([sys.executable, str(script), *arguments], stdout=output, check=False).returncode:
        raise CumelError(f"{script} failed; its last lines say why")
    return {"topic": topic, "rows": str(Path("bench") / "results" / f"{topic}.csv")}
