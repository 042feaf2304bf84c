"""Where a result comes from: when, by which command, with which versions."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .files import replacing

MADE = "made.json"
PACKAGES = ("cumel", "torch", "numpy")


def made_now(arguments: Sequence[str] | None) -> dict[str, Any]:
    """Return the date, the command line (None for a call from Python), and the versions."""
    return {
        "date": datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"),
        "command": None if arguments is None else shlex.join(["cumel", *arguments]),
        "versions": {"Python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    }


def keep_made(folder: Path, made: dict[str, Any]) -> None:
    """Write made.json into a run's folder."""
    with replacing(folder / MADE) as part:
        part.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


def made(folder: Path) -> dict[str, Any] | None:
    """Read a run's made.json; None where there is none that can be read, as it is only told."""
    try:
        values = json.loads((folder / MADE).read_text(encoding="utf-8"))
        return {name: values[name] for name in ("date", "command", "versions")}
    except (OSError, ValueError, TypeError, KeyError):
        return None


def said(values: dict[str, Any]) -> str:
    """Say it in one line."""
    versions = ", ".join(f"{name} {number}" for name, number in values["versions"].items())
    command = f", by `{values['command']}`" if values["command"] else ""
    return f"{values['date']}{command}, with {versions}"
