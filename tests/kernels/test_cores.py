"""The cores that a process may use: its affinity, and the CPU quotas of the cgroups around it."""

import math
import os
import sys
from importlib import import_module
from pathlib import Path

import pytest

from cumel.esc50.system import pipeline
from cumel.kernels import cores, native

CONTAINER = "/system.slice/docker-1.scope"
# Files of the process in /proc, and of the cgroups; the quota that they grant, in cores.
CASES: dict[str, tuple[str, list[str], dict[str, str], float]] = {
    "version 2, own namespace": ("0::/", ["/ v2 - cgroup2 cgroup rw"], {"v2/cpu.max": "250000 100000"}, 2.5),
    "version 2, without": ("0::/", ["/ v2 - cgroup2 cgroup rw"], {"v2/cpu.max": "max 100000"}, math.inf),
    "version 2, the one around it is less": (
        "0::/pod/box",
        ["/ v2 shared:9 master:1 - cgroup2 cgroup2 rw,nsdelegate"],
        {"v2/pod/box/cpu.max": "400000 100000", "v2/pod/cpu.max": "150000 50000", "v2/cpu.stat": ""},
        3.0,
    ),
    "version 2, of another cgroup": (
        "0::/pod/box",
        ["/ v2 - cgroup2 cgroup2 rw"],
        {"v2/pod/other/cpu.max": "100000 100000", "v2/pod/box/cpu.max": "max 100000"},
        math.inf,
    ),
    "version 1": (
        "5:memory:/m\n4:cpu,cpuacct:/jobs/one\n1:name=systemd:/\n0::/",
        ["/ memory - cgroup cgroup rw,memory", "/ cpu,cpuacct - cgroup cgroup rw,cpu,cpuacct"],
        {
            "cpu,cpuacct/jobs/one/cpu.cfs_quota_us": "75000",
            "cpu,cpuacct/jobs/one/cpu.cfs_period_us": "50000",
            "cpu,cpuacct/cpu.cfs_quota_us": "-1",
            "cpu,cpuacct/cpu.cfs_period_us": "100000",
            "memory/m/cpu.cfs_quota_us": "1",
            "memory/m/cpu.cfs_period_us": "1000",
        },
        1.5,
    ),
    "version 1, the host's paths in a container": (
        f"4:cpu:{CONTAINER}",
        [f"{CONTAINER} cpu ro - cgroup cgroup rw,cpu"],
        {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"},
        2.0,
    ),
    "version 1, paths beyond the container": (
        "4:cpu:/../job",
        ["/.. cpu - cgroup cgroup rw,cpu"],
        {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"},
        0.5,
    ),
    "both versions": (
        "4:cpu:/a\n0::/b",
        ["/ cpu - cgroup cgroup rw,cpu", "/ v2 - cgroup2 cgroup2 rw"],
        {"cpu/a/cpu.cfs_quota_us": "300000", "cpu/a/cpu.cfs_period_us": "100000", "v2/b/cpu.stat": ""},
        3.0,
    ),
    "garbled": ("0::/", ["/ v2 - cgroup2 cgroup rw"], {"v2/cpu.max": "much 100000"}, math.inf),
    "a mount whose name is no UTF-8": (
        "0::/",
        ["/ tmp/\udcff - ext4 /dev/sda rw", "/ v2 - cgroup2 cgroup rw"],
        {"v2/cpu.max": "100000 100000"},
        1.0,
    ),
    "no cgroups": ("", ["/ tmp - tmpfs tmpfs rw", "/ root - ext4 /dev/root rw"], {}, math.inf),
}


def made_up(folder: Path, memberships: str, mounts: list[str], files: dict[str, str]) -> Path:
    """Write cgroups into a folder, and return that of a process in them."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    proc = folder / "proc"
    proc.mkdir()
    proc.joinpath("cgroup").write_text(f"{memberships}\n" if memberships else "")
    lines = (mount.split(" ", 2) for mount in mounts)
    text = "".join(f"31 23 0:28 {root} {folder / point} rw {rest}\n" for root, point, rest in lines)
    proc.joinpath("mountinfo").write_text(text, errors="surrogateescape")
    return proc


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Forget the quota before the test, and after it."""
    cores._quota.cache_clear()
    monkeypatch.setattr(cores, "_quota", cores._quota.__wrapped__)
    return monkeypatch


@pytest.mark.parametrize("case", CASES)
def test_the_least_quota_around_a_process_counts(case: str, tmp_path: Path) -> None:
    memberships, mounts, files, expected = CASES[case]
    assert cores.quota(made_up(tmp_path, memberships, mounts, files)) == expected


def test_without_proc_there_is_no_quota(tmp_path: Path) -> None:
    assert cores.quota(tmp_path / "absent") == math.inf


@pytest.mark.parametrize(
    ("quota", "affinity", "usable"),
    [("max", 6, 6), ("20000", 6, 1), ("140000", 6, 1), ("150000", 6, 2), ("200000", 6, 2), ("800000", 6, 6)],
)
def test_threads_are_as_many_as_quota_and_affinity_leave(
    quota: str, affinity: int, usable: int, fresh: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = {"v2/cpu.max": f"{quota} 100000"}
    fresh.setattr(cores, "PROC", made_up(tmp_path, "0::/", ["/ v2 - cgroup2 cgroup2 rw"], files))
    fresh.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)), raising=False)
    assert cores.usable_cores() == usable
    torch = type("torch", (), {"get_num_threads": staticmethod(lambda: 4)})
    fresh.setitem(sys.modules, "torch", torch)
    assert native.default_threads() == min(usable, 4)  # torch itself knows of no quota
    fresh.delitem(sys.modules, "torch")
    fresh.setenv("OMP_NUM_THREADS", "")  # so that it is as before after the test
    fresh.delenv("OMP_NUM_THREADS")
    assert native.default_threads() == usable
    cores.tell_openmp()
    assert os.environ.get("OMP_NUM_THREADS") == (str(usable) if usable < affinity else None)
    fresh.setenv("OMP_NUM_THREADS", "5")
    cores.tell_openmp()
    assert native.default_threads() == min(usable, 5)


def test_without_affinity_every_core_counts(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fresh.setattr(cores, "PROC", tmp_path)
    fresh.delattr(os, "sched_getaffinity", raising=False)
    fresh.setattr(os, "cpu_count", lambda: 7)
    assert cores.usable_cores() == 7
    fresh.setattr(os, "cpu_count", lambda: None)
    assert cores.usable_cores() == 1


def test_no_other_module_counts_cores() -> None:
    assert cores.usable_cores() == pipeline.CORES
    folders = [
        Path(path) for name in ("kernels", "esc50", "export") for path in import_module(f"cumel.{name}").__path__
    ]
    counting = [
        path.name
        for folder in folders
        for path in folder.rglob("*.py")
        if any(name in path.read_text(encoding="utf-8") for name in ("sched_getaffinity", "cpu_count"))
    ]
    assert counting == ["cores.py"]
