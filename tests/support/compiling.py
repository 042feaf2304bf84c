"""Compiles a kernel for a GPU that need not be there, with what CuPy's RawModule passes to NVRTC.

NVRTC takes one kernel at a time: what compiles many does it in processes.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

from cupy._core.core import assemble_cupy_compiler_options
from cupy_backends.cuda.libs import nvrtc

# What makes the compiler tell what it used, and no warnings of what a stage leaves unused.
REPORT = ("--ptxas-options=-v", "--diag-suppress=177")
USED = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads\D+Used (\d+) registers")


class Used(NamedTuple):
    """What a thread of a kernel takes."""

    stack: int  # bytes
    spill_stores: int
    spill_loads: int
    registers: int


def cupy_options(arch: str, options: tuple[str, ...]) -> tuple[str, ...]:
    """Return all that CuPy passes to NVRTC for a module of these options."""
    own = ("-ftz=true", f"-arch={arch}", "--device-as-default-execution-space")
    return (*assemble_cupy_compiler_options(options), *own)


def compile_for(arch: str, text: str, options: tuple[str, ...]) -> Used:
    """Compile one kernel; a warning is an error."""
    with _compiled(text, (*cupy_options(arch, options), *REPORT)) as program:
        log = nvrtc.getProgramLog(program)
        assert nvrtc.getCUBIN(program)
    assert "warning" not in log, f"{arch}: {log}"
    return Used(*map(int, USED.search(log).groups()))


@cache
def compile_to_ptx(arch: str, text: str, options: tuple[str, ...]) -> str:
    """Return the PTX from which the compiler makes what a GPU runs."""
    with _compiled(text, cupy_options(arch, options)) as program:
        return nvrtc.getPTX(program).decode()


@contextmanager
def _compiled(text: str, options: tuple[str, ...]) -> Iterator[int]:
    program = nvrtc.createProgram(text, "kernel.cu", (), ())
    try:
        nvrtc.compileProgram(program, options)
        yield program
    except nvrtc.NVRTCError as error:
        raise AssertionError(f"{' '.join(options)}: {error}\n{nvrtc.getProgramLog(program)}") from None
    finally:
        nvrtc.destroyProgram(program)
