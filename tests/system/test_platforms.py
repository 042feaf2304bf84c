"""Other systems than this one: what only POSIX has is not needed, and an install without a compiler does without."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cumel.esc50.extraction import extract

from support.native_library import SETUP, SOURCES, run
from support.recordings import TINY, content, thirty

# Our modules see this machine so; other packages see it as it is.
CODE = """
import builtins, importlib, os, pkgutil, sys, types
from pathlib import Path

MODULES = "crypt fcntl grp posix pty pwd resource spwd syslog termios tty _posixshmem _posixsubprocess".split()
NAMES = "fdatasync writev readv pread pwrite preadv pwritev sendfile pathconf sysconf statvfs fork getuid geteuid uname"
NAMES += " killpg getpgid setsid mkfifo sched_getaffinity sched_setaffinity getloadavg posix_fadvise O_NONBLOCK"
NAMES += " O_CLOEXEC O_DIRECTORY O_SYNC O_DSYNC WNOHANG"
windows = types.ModuleType("os")
vars(windows).update({name: value for name, value in vars(os).items() if name not in NAMES.split()}, name="nt")
original, seen = builtins.__import__, set()

def hidden(name, globals=None, locals=None, fromlist=(), level=0):
    importer = str((globals or {}).get("__name__"))
    if importer.startswith("cumel") and level == 0:
        if name.partition(".")[0] in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if name == "os":
            seen.add(importer)
            return windows
    return original(name, globals, locals, fromlist, level)

builtins.__import__ = hidden
for package in ("cumel", "cumel.kernels", "cumel.esc50", "cumel.export"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if not module.name.endswith((".__main__", ".launcher")):  # the second is CuPy's
            importlib.import_module(module.name)
assert "cumel.esc50.system.files" in seen and len(seen) > 10

import torch, cumel
from cumel.esc50.store import shards
from cumel.esc50.store.conversion import convert
from support.recordings import TINY

shards.FLUSH_BYTES = shards.WRITE_BYTES = 1000
place = Path(os.environ["PLACE"])
paths = sorted(place.joinpath("in").iterdir())
cumel.extract(paths, place / "out", TINY, device=torch.device("cpu"), quiet=True)
convert(place / "out", place / "npy", "npy", quiet=True)
"""


def test_what_only_posix_has_is_not_needed(tmp_path: Path) -> None:
    """Without it every module is imported, and an extraction writes the same bytes."""
    paths = thirty(tmp_path / "in")
    run(CODE, PLACE=str(tmp_path))
    extract(paths, tmp_path / "whole", TINY, device=torch.device("cpu"), quiet=True)
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert len(list((tmp_path / "npy").rglob("*.npy"))) == len(paths) - 1


@pytest.mark.parametrize(("compiler", "reason"), [("msvc", "it is for g++ and clang"), ("unix", "No such file")])
def test_an_install_without_a_compiler_does_without(compiler: str, reason: str, tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    shutil.copytree(SOURCES, tmp_path / "kernels" / "simd", ignore=shutil.ignore_patterns("*.so"))
    old = tmp_path / "built" / "cumel" / "kernels" / "simd" / "native.so"
    old.parent.mkdir(parents=True)
    old.touch()
    command = [sys.executable, SETUP, "build_ext", f"--compiler={compiler}", "--build-lib=built", "--build-temp=temp"]
    absent = os.environ | {"CC": "absent-cc", "CXX": "absent-c++"}
    done = subprocess.run(command, cwd=tmp_path, env=absent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '"cumel.kernels.simd.native" failed' in done.stderr
    assert reason in done.stderr
    assert not old.exists()  # it would not tell that nothing was compiled
