"""NVRTC, which needs no GPU, compiles every kernel for every architecture; what that says of registers and memory."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from cumel.kernels import FeatureConfig, plan
from cumel.kernels.cuda import OPTIONS
from cumel.kernels.plan import RADICES, SHARED_LIMIT, Form, Kernel, Stage

nvrtc = pytest.importorskip("cupy_backends.cuda.libs.nvrtc", reason="needs CuPy, of the gpu extra, for its NVRTC")

ROOT = Path(__file__).parents[1]
MAIN = "sm_90"
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", MAIN, "sm_100", "sm_120")
USED = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads\D+Used (\d+) registers")
REPORT = ("-ftz=true", "--ptxas-options=-v")  # CuPy's own option, and what tells of registers

# Most registers of the log-mel kernel on MAIN, which is what MIN_BLOCKS of plan.py leaves; none spills.
REGISTERS = {256: 128, 400: 128, 512: 168, 1024: 128, 4096: 255}
REGISTERS_2048 = 128  # exactly: four blocks of four warps on a multiprocessor

BANDS = {256: 40, 400: 80}  # of mel; others have 128, but for 64 at 512
CONFIGS = {n_fft: FeatureConfig(sr=16000, n_fft=n_fft, hop_length=n_fft // 4, n_mels=BANDS.get(n_fft, 64)) for n_fft in RADICES}
MAGNITUDE = {n_fft: cfg.replace(power=1.0) for n_fft, cfg in CONFIGS.items()}


class Used(NamedTuple):
    """What a kernel takes, in bytes but for the registers."""

    stack: int
    spill_stores: int
    spill_loads: int
    registers: int
