"""Compiles a kernel for a GPU that need not be there. NVRTC takes one at a time, so this runs in processes."""

import re
from typing import NamedTuple

from cupy_backends.cuda.libs import nvrtc

# CuPy's own option, what makes the compiler tell what it used, and no warnings of what a stage leaves unused.
REPORT = ("-ftz=true", "--ptxas-options=-v", "--diag-suppress=177")
USED = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads\D+Used (\d+) registers")


class Used(NamedTuple):
    """What a thread of a kernel takes."""

    stack: int  # bytes
    spill_stores: int
    spill_loads: int
    registers: int


def compile_for(arch: str, text: str, options: tuple[str, ...]) -> Used:
    """Compile one kernel; a warning is an error."""
    program = nvrtc.createProgram(text, "kernel.cu", (), ())
    try:
        nvrtc.compileProgram(program, (*options, *REPORT, f"-arch={arch}"))
    except nvrtc.NVRTCError as error:
        raise AssertionError(f"{arch}: {error}\n{nvrtc.getProgramLog(program)}") from None
    log = nvrtc.getProgramLog(program)
    assert nvrtc.getCUBIN(program)
    assert "warning" not in log, f"{arch}: {log}"
    return Used(*map(int, USED.search(log).groups()))
