"""Compiles the kernels of the GPU tests into CuPy's cache, in several processes: each kernel takes half a second."""

import argparse
import multiprocessing
import os
from collections.abc import Iterable

import torch

from cumel.kernels import launcher
from cumel.kernels.plan import Kernel

from from_tests import CONFIGS, kernels
from timing import demand

PROCESSES = min(8, os.cpu_count() or 1)


def compile_one(kernel: Kernel) -> str | None:
    """Compile for the GPU, and return why that failed, or None."""
    try:
        launcher._function(kernel, torch.device("cuda", torch.cuda.current_device()))
    except Exception as error:
        return f"{kernel.entry}: {first_line(error)}"
    return None


def warm(each: Iterable[Kernel], processes: int = PROCESSES) -> list[str]:
    """Compile, and return a line for each kernel that did not compile."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return [failed for failed in pool.imap_unordered(compile_one, sorted(set(each), key=repr)) if failed]


def first_line(error: BaseException) -> str:
    """Return an exception's class and the first line of what it says."""
    return f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]}"


def main() -> None:
    """Compile, and name the kernels that did not compile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=PROCESSES)
    options = parser.parse_args()
    demand("cuda")
    failed = warm(
        (kernel for cfg in CONFIGS.values() for int16 in (False, True) for kernel in kernels(cfg, int16=int16)),
        options.processes,
    )
    if failed:
        raise SystemExit("\n".join(failed))


if __name__ == "__main__":
    main()
