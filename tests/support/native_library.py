"""Builds of the CPU path in C++ for tests, and processes of their own in which it computes."""

import hashlib
import os
import platform
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cumel.kernels import FeatureConfig, native
from cumel.kernels.plan import Stage

from simt.compiler import _cache

SETUP = Path(__file__).parents[2] / "setup.py"
SOURCES = Path(native.__file__).parent / "simd"
SANITIZERS = ("-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
STAGES = {
    "stft": Stage.SPECTRUM,
    "spectrogram": Stage.STRENGTH,
    "melspectrogram": Stage.MEL,
    "log_mel": Stage.DECIBEL,
    "mel_image": Stage.DECIBEL,
}


def targets() -> list[str]:
    """Return the instruction sets that this machine has."""
    there = []
    for name in native.TARGETS:
        with on(name):
            if native.available():
                there.append(name)
    return there


def fused() -> list[str]:
    """Return those of them that multiply and add with one rounding, as a GPU does."""
    arm = platform.machine() in ("aarch64", "arm64")  # there, the baseline is NEON
    return [name for name in targets() if arm or name != "baseline"]


@contextmanager
def on(target: str) -> Iterator[None]:
    """Compute with one instruction set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(native.TARGET_VARIABLE, target)
        native._load.cache_clear()
        yield
    native._load.cache_clear()


def compute(
    feature: str, y: np.ndarray, cfg: FeatureConfig, lengths: Sequence[int] | None = None, **options: Any
) -> np.ndarray:
    """Compute a feature of one clip [n_samples], or of a batch [n_clips, n_samples] or, packed, [n]."""
    single = y.ndim == 1 and lengths is None
    clips = native.Clips.of(y[None] if single else y, None if lengths is None else np.array(lengths))
    image = None
    if feature == "mel_image":
        shape = len(clips.lengths), cfg.n_mels, cfg.n_frames(int(clips.lengths.max()))
        image = np.full(shape, 255, np.uint8)
    out = native.compute(clips, cfg, STAGES[feature], image=image, **options)
    out = out if image is None else image
    return out[0] if single else out


def sanitized() -> Path:
    """Return the library compiled with AddressSanitizer and UBSan."""
    return compiled("g++", *SANITIZERS, "-shared")


def compiled(compiler: str, *options: str, beside: Sequence[Path] = ()) -> Path:
    """Return what a compiler makes of the baseline and of the sources `beside` it: once for each source."""
    setup = runpy.run_path(str(SETUP))
    flags = [*setup["FLAGS"], *options, "-DONLY_BASELINE", "-DTARGET=BASELINE", f"-I{SOURCES}"]
    sources = [SOURCES / "library.cc", SOURCES / "features.cc", *beside]
    texts = [path.read_bytes() for path in sorted([*SOURCES.glob("*.[ch]*"), SOURCES.parent / "fft.cuh", *beside])]
    key = hashlib.sha256(b" ".join([*texts, " ".join([compiler, *flags]).encode()])).hexdigest()[:32]
    result = _cache() / f"native-{key}"
    if not result.exists():
        with tempfile.TemporaryDirectory(dir=_cache()) as folder:
            made = Path(folder, "native")
            subprocess.run([compiler, *flags, *sources, "-o", made], check=True)
            made.replace(result)  # at once, so that no other process sees half of it
    return result


def run(code: str, *, timeout: float = 300, **environment: str) -> str:
    """Return what Python prints for a program that ends well, in a process of its own."""
    paths = os.pathsep.join(str(path) for path in (SETUP.parent / "tests", os.environ.get("PYTHONPATH")) if path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | {"PYTHONPATH": paths} | environment,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout
