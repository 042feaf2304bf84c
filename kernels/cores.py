"""How many cores this process may use: of the machine's those that its affinity and its containers' quotas leave."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath

PROC = Path("/proc/self")
V2 = ("cpu.max",)  # "<quota> <period>" in us; the quota is "max" where there is none
V1 = ("cpu.cfs_quota_us", "cpu.cfs_period_us")  # the quota is -1 where there is none


def usable_cores() -> int:
    """Return how many threads can compute at once in this process, at least one.

    A part of a core counts from a half on: a quota of 1.5 cores gives two threads, and one of 1.4 gives one. So two
    threads always have enough more time than one to make up for what sharing the work costs.
    """
    return max(1, int(min(_affinity(), _quota() + 0.5)))


def limited() -> bool:
    """Tell whether a quota leaves fewer cores than the affinity: torch and ONNX Runtime see the affinity alone."""
    return usable_cores() < _affinity()


def tell_openmp() -> None:
    """Name `usable_cores` to torch where a quota limits them, before torch is imported; OMP_NUM_THREADS goes first."""
    if limited():
        os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))


def _affinity() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # neither Windows nor macOS has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@lru_cache(maxsize=1)
def _quota() -> float:
    return quota(PROC)


def quota(proc: Path) -> float:
    """Return how many cores' worth of time Linux grants a process: the least quota of all cgroups that it is in.

    Parameters
    ----------
    proc
        The process's folder in /proc.

    Returns
    -------
    float
        In cores; infinite without a quota, and where there are no cgroups.
    """
    try:
        return min(map(_limit, cgroups(proc, "cpu")), default=math.inf)
    except (OSError, ValueError):  # no Linux, or a sandbox that only looks like it
        return math.inf


def cgroups(proc: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of a controller's cgroups that a process is in: its own, and all around that.

    Parameters
    ----------
    proc
        The process's folder in /proc.
    controller
        As ``cpu`` or ``memory``.

    Raises
    ------
    OSError, ValueError
        Where there are no cgroups.
    """
    paths: dict[str, str] = {}  # of the process's cgroup, by controller; version 2 has one for all, without a name
    for line in _lines(proc / "cgroup"):
        _, controllers, path = line.split(":", 2)
        paths |= dict.fromkeys(controllers.split(","), path)
    for mount in _lines(proc / "mountinfo"):
        yield from _folders(mount, paths, controller)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()


def _folders(mount: str, paths: dict[str, str], wanted: str) -> Iterator[Path]:
    left, _, right = mount.partition(" - ")
    root, point = left.split()[3:5]
    kind, *_, options = right.split()
    controller = "" if kind == "cgroup2" else wanted
    if kind not in ("cgroup", "cgroup2") or controller not in ("", *options.split(",")) or controller not in paths:
        return
    path = PurePosixPath(paths[controller])
    # A container may see its own cgroup as the root of the mount, and the path of it as the host does.
    inside = path.relative_to(root) if path.is_relative_to(root) and ".." not in path.parts else PurePosixPath()
    yield from (Path(point, part) for part in (inside, *inside.parents))


def _limit(folder: Path) -> float:
    for names in (V2, V1):
        try:
            granted, period = " ".join((folder / name).read_text() for name in names).split()
        except OSError:
            continue  # a cgroup of the other version, or the outermost one, which has no quota
        return math.inf if granted in ("max", "-1") else int(granted) / int(period)
    return math.inf
