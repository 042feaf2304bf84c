"""What a process does that is killed while a new store takes the place of an old one."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cumel.esc50.extraction import local as module
from cumel.esc50.store import takeover
from cumel.kernels import FeatureConfig

OPTIONS: dict[str, Any] = {"device": torch.device("cpu"), "quiet": True, "shard_bytes": 12_000}
EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate")
KILLED = 9  # exit code


def over(made: Path, out: Path, cfg: FeatureConfig, n: int) -> None:
    """Start over in `out`, and die before the n-th change that the takeover makes to a file in it."""
    left, active = n, False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        written = event in EVENTS or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if active and written and str(out) in str(arguments):
            left -= 1
            if not left:
                os._exit(KILLED)

    def watched(function: Any, *arguments: Any) -> Any:
        nonlocal active
        active = True
        try:
            return function(*arguments)
        finally:
            active = False

    sys.addaudithook(hook)
    module.take_over = partial(watched, takeover.take_over)
    module.extract(sorted((made / "in").iterdir()), out, cfg, overwrite=True, **OPTIONS)
