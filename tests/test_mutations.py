"""Tests of the tests: every barrier and fence of the kernels is needed, and so are details of their arithmetic."""

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from emulated import Emulated
from launches import GENERIC, LAUNCHES, Launch, large_blocks, small
from signals import Oracle
from simt.emulator import EmulatorError, SanitizerError

from cumel.kernels import plan

KERNELS = Path(plan.__file__).parent
FILES = {path.name: path.read_text(encoding="utf-8") for path in sorted(KERNELS.glob("*.cu*"))}
SYNC = re.compile(r"__(?:syncthreads|syncwarp|threadfence)\(\)")
# What has several blocks per clip, and edges in a warp's second turn; the other stages have no barriers of their own.
SYNCED = {name: LAUNCHES["generic-image" if name == "generic.cu" else "400-image"] for name in FILES}


class Mutant(NamedTuple):
    """A kernel source with some text replaced."""

    file: str
    start: int
    end: int
    new: str

    @property
    def line(self) -> int:
        return FILES[self.file].count("\n", 0, self.start) + 1

    def edit(self, text: str) -> str:
        """Change the text of a kernel, which this file is part of."""
        source = FILES[self.file]
        assert text.count(source) == 1
        return text.replace(source, source[: self.start] + self.new + source[self.end :])


SYNCS = [Mutant(name, *found.span(), "") for name, source in FILES.items() for found in SYNC.finditer(source)]


class Slip(NamedTuple):
    """A mistake in the arithmetic, and what shows it."""

    file: str
    old: str
    new: str
    launch: Launch


NOISE = small(256, n_mels=12, top_db=40.0)  # twelve bands: what is left of a group of eight lanes shows as well
IMAGE = Launch("mel_image", NOISE)
LEVELS = Launch("log_mel", NOISE)
STFT = Launch("stft", small(256))
MIRRORED = Launch("stft", small(256, pad_mode="reflect"))
TIES = Launch("log_mel", NOISE.replace(ref=10**0.003125, top_db=None), "silence", half=True)
SLIPS = {
    "partner": Slip("frontend.cu", "(L - j) % L;", "(L - 1 - j) % L;", STFT),
    "lane 0": Slip("frontend.cu", "j == 0 ? zeroth : mine", "mine", STFT),
    "pitch": Slip("frontend.cu", "#define PITCH (P + 2)", "#define PITCH 8", STFT),
    "middle bin": Slip("frontend.cu", "-2.f * z[0][L / 2].y", "2.f * z[0][L / 2].y", STFT),
    "zeros after the bins": Slip("frontend.cu", "live && j < 3", "live && j < 0", LEVELS),
    "last sample": Slip("frontend.cu", "first + N_FFT <= n_samples", "first + N_FFT <= n_samples + 1", STFT),
    "radix 5": Slip("fft.cuh", "x[3] = sub(f, h);", "x[3] = add(f, h);", Launch("stft", small(400))),
    "period": Slip("common.cuh", "2 * (n_samples - 1)", "2 * n_samples - 1", MIRRORED),
    "mirror": Slip("common.cuh", "n = period - n;", "n = period - n - 1;", MIRRORED),
    "NaN in decibels": Slip(
        "epilogue.cuh", "x < levels.least ? levels.least : x", "x > levels.least ? x : levels.least", LEVELS
    ),
    "NaN in a clip": Slip(
        "epilogue.cuh", "db > stretch.floor ? db : stretch.floor", "db < stretch.floor ? stretch.floor : db", LEVELS
    ),
    "floor": Slip("epilogue.cuh", "db > stretch.floor ? db : stretch.floor", "db", LEVELS),
    "ticket": Slip("epilogue.cuh", "1u) + 1u ==", "1u) ==", LEVELS),
    "ticket left": Slip("epilogue.cuh", "atomicExch(&finish.tickets[clip_index], 0u);", "", LEVELS),
    "peak left": Slip("epilogue.cuh", "atomicExch(&finish.peaks[2 * clip_index], 0)", "finish.peaks[2 * clip_index]", IMAGE),
    "silent frames": Slip("epilogue.cuh", "if (!sounds) smallest = LARGEST;", "", IMAGE),
    "half a warp": Slip("epilogue.cuh", "for (int d = WARP / 2; d;", "for (int d = WARP / 4; d;", IMAGE),
    "black frames": Slip("epilogue.cuh", "? (Final)0 : final_of", "? (Final)1 : final_of", IMAGE),
    "half to even": Slip("epilogue.cuh", "0xfffu + (size >> 13 & 1u)", "0x1000u", TIES),
    "filter's end": Slip("generic.cu", "k < n_weights", "k < n_weights - 1", Launch("melspectrogram", GENERIC, n_frames=(3, 2))),
    "cepstra": Slip("mfcc.cu", "m < n_mels", "m < n_mels - 1", Launch("mfcc", small(256))),
}
if __name__ == "__main__":
    import time
    with large_blocks(), ThreadPoolExecutor(2) as pool:
        def job(m):
            out = f"{m.file}:{m.line}"
            for o in (dict(order="forward"), dict(order="backward"), dict(order="random", seed=3, resident=3)):
                try:
                    SYNCED[m.file].run(Emulated(sanitizer="thread", edit=m.edit, **o))
                    out += "\n   SURVIVED"
                except Exception as e:
                    out += f"\n   {o} {type(e).__name__} " + " | ".join(l.strip() for l in str(e).splitlines() if "#0" in l or "WARN" in l)
            return out
        for r in pool.map(job, SYNCS): print(r, flush=True)
