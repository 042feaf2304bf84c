"""The CPU path in C++ under AddressSanitizer and UBSan, in a process of its own."""

import subprocess

from support.native_library import run, sanitized

CODE = """
import numpy as np
from cumel.kernels import PRESETS
from cumel.kernels.plan import RADICES
from cumel.kernels.rules import Normalize
from support import front_ends
from support.native_library import STAGES, compute
from support.signals import CONFIGS, lengths

rng = np.random.default_rng(0)
bands = PRESETS["speech2text"].replace(n_mels=23, mean=[*range(23)], std=[*range(1, 24)])
bands = bands.replace(normalize=Normalize(per="clip"))
cases = [(cfg, lengths(cfg)) for cfg in CONFIGS.values()]
cases += [(cfg, front_ends.lengths(cfg)) for cfg in [*PRESETS.values(), bands, bands.replace(normalize=None)]]
for original, sizes in cases:
    if original.n_fft in RADICES:
        for n in sorted({min(sizes.values()), *list(sizes.values())[-2:]}):
            for dtype in ("float32", "int16"):
                y = (1000 * rng.standard_normal((2, n))).astype(dtype)
                for feature in STAGES:
                    cfg = original.decibels if feature == "mel_image" else original
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
