"""The machine's part of `cumel doctor`: cores, memory, and the disks of the current folder and of the cache."""

from __future__ import annotations

import math
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from ...kernels.cores import PROC, cgroups, limited, usable_cores
from ..system import cache_folder

Check = tuple[str, str, str]  # name, state (ok, missing or bad), text
MEMORY_LIMITS = ("memory.max", "memory.limit_in_bytes")  # files of cgroups, of version 2 and 1; both in bytes
NO_LIMIT = 1 << 60  # bytes; version 1 writes a number near 2**63 where there is no limit
LEAST_MEMORY = 2 << 30  # bytes; torch and a batch of clips take about one
LEAST_DISK = 1 << 30  # bytes
MEMINFO = Path("/proc/meminfo")


def examine_machine() -> tuple[list[Check], dict[str, Any]]:
    """Look at cores, memory and disks.

    Returns
    -------
    list of tuple
        The checks.
    dict
        ``cores``, ``memory`` and ``disk``, sizes in bytes; None for what the system does not tell.
    """
    cores = {"usable": usable_cores(), "limited": limited()}
    memory = memory_of(MEMINFO, PROC)
    disk = {"current": disk_of(Path.cwd()), "cache": disk_of(cache_folder())}
    checks = [
        ("cores", "ok", f"{cores['usable']}{', by a CPU quota' if cores['limited'] else ''}"),
        check_memory(memory),
        *(check_disk(f"disk, {what}", found) for what, found in disk.items()),
    ]
    return checks, {"cores": cores, "memory": memory, "disk": disk}


def memory_of(meminfo: Path, proc: Path) -> dict[str, int | None]:
    """Read ``total`` and ``available`` memory in bytes, and the ``limit`` of the process's cgroups.

    Parameters
    ----------
    meminfo : path
        Linux's table of the whole machine's memory.
    proc : path
        The process's folder in /proc.
    """
    try:
        lines = (line.split() for line in meminfo.read_text(encoding="ascii").splitlines())
        table = {words[0]: int(words[1]) * 1024 for words in lines}
        total, available = table.get("MemTotal:"), table.get("MemAvailable:")
    except OSError:  # another system than Linux
        total, available = _pages(), None
    return {"total": total, "available": available, "limit": memory_limit(proc)}


def _pages() -> int | None:
    if sys.platform == "win32":  # It has no sysconf.
        return None
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def memory_limit(proc: Path) -> int | None:
    """Return the bytes that the cgroups of a process leave it; None without a limit."""
    try:
        least = min(map(_limit, cgroups(proc, "memory")), default=math.inf)
    except (OSError, ValueError):
        return None
    return int(least) if least < NO_LIMIT else None


def _limit(folder: Path) -> float:
    for name in MEMORY_LIMITS:
        try:
            text = (folder / name).read_text(encoding="ascii").strip()
        except OSError:
            continue  # a cgroup of the other version, or the outermost one
        return math.inf if text == "max" else int(text)
    return math.inf


def check_memory(memory: dict[str, int | None]) -> Check:
    """Say how much memory there is, and whether that is little."""
    words = {"limit": "at most, by a limit of this container"}
    known = {what: size for what, size in memory.items() if size is not None}
    said = [f"{size_of(size)} {words.get(what, what)}" for what, size in known.items()]
    if not known:
        return "memory", "ok", "unknown on this system"
    little = "" if min(known.values()) >= LEAST_MEMORY else "; little for training: take a smaller --batch-size"
    return "memory", "missing" if little else "ok", ", ".join(said) + little


def disk_of(folder: Path) -> dict[str, Any]:
    """Return a folder, and the bytes that are ``free`` there, or where it would be made."""
    for place in (folder, *folder.parents):
        try:
            return {"folder": str(folder), "free": shutil.disk_usage(place).free}
        except OSError:
            continue
    return {"folder": str(folder), "free": None}


def check_disk(name: str, disk: dict[str, Any]) -> Check:
    """Say how much is free on a disk, and whether that is little."""
    if disk["free"] is None:
        return name, "missing", f"{disk['folder']}: nobody knows how much is free"
    text = f"{size_of(disk['free'])} free in {disk['folder']}"
    return (name, "ok", text) if disk["free"] >= LEAST_DISK else (name, "missing", f"{text}: little; free some space")


def size_of(n_bytes: int) -> str:
    """Return a size in words, as ``23.4 GiB``."""
    return f"{n_bytes / 2**30:.1f} GiB"
