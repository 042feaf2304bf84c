"""The CPU path in C++ under AddressSanitizer and UBSan, in a process of its own."""

import subprocess

from support.native_library import run, sanitized

CODE = """
import numpy as np
from cumel.kernels.plan import RADICES
from support.native_library import STAGES, compute
from support.signals import CONFIGS, lengths

rng = np.random.default_rng(0)
for cfg in CONFIGS.values():
    if cfg.n_fft in RADICES:
        for n in lengths(cfg).values():
            for dtype in ("float32", "int16"):
                y = (1000 * rng.standard_normal((2, n))).astype(dtype)
                for feature in STAGES:
                    plain = compute(feature, y, cfg, [n, n // 2 if cfg.n_frames(n // 2) else n], threads=2)
                    if feature != "mel_image":
                        out = np.zeros((plain.shape[0], plain.shape[2], plain.shape[1]), plain.dtype)
                        compute(feature, y, cfg, out=out.transpose(0, 2, 1))
print("done")
"""


def test_sanitizers_find_nothing() -> None:
    """Every plan, stage, layout and edge: each access within its array, no operation undefined."""
    runtimes = [
        subprocess.run(["g++", f"-print-file-name=lib{name}.so"], capture_output=True, text=True, check=True)
        for name in ("asan", "ubsan")
    ]
    environment = {
        "CUMEL_CPU": "baseline",
        "CUMEL_CPU_LIBRARY": str(sanitized()),
        "LD_PRELOAD": " ".join(runtime.stdout.strip() for runtime in runtimes),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own
    }
    assert run(CODE, **environment) == "done\n"
