"""Compiles kernels for the CPU with g++, each once: what was compiled stays in a folder for temporary files."""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Literal, Protocol

from filelock import FileLock

HERE = Path(__file__).parent
CACHE = Path(tempfile.gettempdir()) / f"cumel-simt-{os.getuid()}"
SHOWN_LINES = 30  # lines of a compiler's or sanitizer's report

Sanitizer = Literal["thread", "address"] | None
Edit = Callable[[str], str] | None

# As nvcc must be told by the source itself, only an explicit fmaf is one. Pragmas are about unrolling loops.
# A constant that leaves out a stage of a kernel leaves its parameters unused.
FLAGS = ("-std=c++17", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused")
FLAGS += ("-Wno-unused-parameter",)
FMA = ("-mfma",) if platform.machine() in ("x86_64", "AMD64") else ()  # else fmaf is a slow function
TARGETS: dict[Sanitizer, tuple[str, ...]] = {
    None: ("-O2", "-fstack-clash-protection", "-shared", "-fPIC"),
    "thread": ("-O1", "-g1", "-fsanitize=thread"),
    "address": ("-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"),
}


class EmulatorError(RuntimeError):
    """A kernel does not compile, breaks a rule of CUDA, or touches memory that it must not touch."""


class Kernel(Hashable, Protocol):
    """CUDA C++ without any #include, and the name of its entry point."""

    @property
    def entry(self) -> str: ...

    def text(self) -> str: ...


def compile_kernel(kernel: Kernel, *, sanitizer: Sanitizer = None, edit: Edit = None) -> Path:
    """Return the shared library of a kernel, or the program that runs it under a sanitizer."""
    text = kernel.text()
    return _compile(edit(text) if edit else text, kernel.entry, sanitizer)


def compile_many(kernels: Iterable[Kernel], *, sanitizer: Sanitizer = None, edit: Edit = None) -> list[Path]:
    """Return what `compile_kernel` does for each kernel; as many compilers run at once as there are processors."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(partial(compile_kernel, sanitizer=sanitizer, edit=edit), kernels))


@cache
def _compile(text: str, entry: str, sanitizer: Sanitizer) -> Path:
    # The #line makes messages speak of the kernel's own lines, wherever the file lies.
    source = f'#line 1 "{entry}.cu"\n{text}\nSIMT_KERNEL({entry})\n'
    flags = (*FLAGS, *FMA, *TARGETS[sanitizer])
    parts = (_compiler()[1], *flags, *_headers(), source)
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    compiled = _cache() / key
    # Of several test processes, the first compiles and the others wait for it.
    with FileLock(f"{compiled}.lock"), tempfile.TemporaryDirectory(dir=_cache()) as folder:
        if compiled.exists():
            return compiled
        unit, result = Path(folder, "kernel.cu"), Path(folder, "compiled")
        unit.write_text(source, encoding="utf-8")
        command = [_compiler()[0], *flags, "-include", HERE / "simt.hpp", "-x", "c++", unit, "-o", result]
        if sanitizer:
            command[-2:-2] = [HERE / "driver.cpp"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise EmulatorError(f"g++ refuses kernel {entry}:\n{head(done.stderr)}")
        result.replace(compiled)  # at once, so that no other process sees half of it
    return compiled


@cache
def _compiler() -> tuple[str, str]:
    path = shutil.which("g++")
    if path is None:
        raise EmulatorError("no g++ was found, which compiles kernels for the CPU: install it (apt-get install g++)")
    return path, subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout


@cache
def _headers() -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(HERE.glob("*.[hc]pp"))]


@cache
def _cache() -> Path:
    CACHE.mkdir(mode=0o700, exist_ok=True)
    if CACHE.stat().st_uid != os.getuid():  # what lies there is loaded into this process
        raise EmulatorError(f"{CACHE} belongs to another user: remove it, or set TMPDIR")
    return CACHE


def head(report: str) -> str:
    """Return the first lines of a report."""
    return "\n".join(report.strip().splitlines()[:SHOWN_LINES])
