"""Launches in a process of their own, driver.cpp's: a sanitizer cannot be loaded into a Python that runs already."""

import ctypes
import os
import platform
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from simt.arguments import Arguments
from simt.compiler import EmulatorError, head

LAUNCH_FAILED = 3  # the driver's exit status when simt_launch returned a message
TIMEOUT = 300  # seconds
OPTIONS = {
    "TSAN_OPTIONS": "halt_on_error=1 atexit_sleep_ms=0 report_thread_leaks=0",
    "ASAN_OPTIONS": "detect_leaks=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}
REPORT = re.compile(r"^.*(Sanitizer|runtime error:)", re.MULTILINE)  # where a sanitizer's report begins
OWN_FRAME = re.compile(r"^ *#\d+ .*(\bsimt::|simt_launch|driver\.cpp|<null> <null>).*\n", re.MULTILINE)


class SanitizerError(EmulatorError):
    """A sanitizer found a race, an access out of bounds or misaligned, or undefined behaviour."""


def run_driver(program: Path, header: bytes, arguments: Arguments) -> str | None:
    """Run a launch; `header` holds the first fields of simt::Launch. Return why it failed, if it did."""
    with tempfile.TemporaryDirectory() as folder:
        launch_file, buffers_file = Path(folder, "launch"), Path(folder, "buffers")
        launch_file.write_bytes(header + bytes(arguments.c_array) + arguments.contents())
        done = subprocess.run(
            [*_fixed_addresses(), program, launch_file, buffers_file],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            env=os.environ | OPTIONS,
        )
        if done.returncode == LAUNCH_FAILED:
            return done.stderr.strip()
        found = REPORT.search(done.stderr)
        if done.returncode or found:
            report = OWN_FRAME.sub("", done.stderr[found.start() :] if found else done.stderr)
            raise SanitizerError(head(report) or f"{program} ended with status {done.returncode}")
        with buffers_file.open("rb") as results:
            for tensor in arguments.buffers.values():
                ctypes.memmove(tensor.data_ptr(), results.read(tensor.nbytes), tensor.nbytes)
    return None


@cache
def _fixed_addresses() -> tuple[str, ...]:
    """Return what comes before a command so that TSan finds no address taken; nothing where that is not allowed."""
    prefix = ("setarch", platform.machine(), "-R")
    if shutil.which("setarch") and subprocess.run([*prefix, "true"], capture_output=True).returncode == 0:
        return prefix
    return ()
