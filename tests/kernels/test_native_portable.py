"""The CPU path in C++ for other compilers and another CPU, where a machine has them."""

import runpy
import shutil
import subprocess

import numpy as np
import pytest

from cumel.kernels import PRESETS
from cumel.kernels.plan import RADICES

from support.front_ends import clip
from support.launches import small
from support.native_library import SETUP, SOURCES, STAGES, compute, fused, on
from support.other_cpu import Program, computing
from support.signals import CONFIGS

ARM = "aarch64-linux-gnu-g++"
EMULATOR = "qemu-aarch64"
FUSED = fused()
CONFIG = {256: CONFIGS["small"], 400: CONFIGS["whisper"], 1024: CONFIGS["hop441"], 2048: CONFIGS["esc50"]}


def demand(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"no {program} on this machine")


@pytest.mark.parametrize("compiler", ["g++", "clang++", ARM])
def test_compilers_have_no_warning(compiler: str) -> None:
    demand(compiler)
    setup = runpy.run_path(str(SETUP))
    jobs = [("library.cc", "library", [])]
    jobs += [
        ("features.cc", *target) for target in (setup["BASELINE"] if compiler == ARM else setup["TARGETS"]).items()
    ]
    for source, target, flags in jobs:
        command = [compiler, *setup["FLAGS"], *flags, "-Wall", "-Wextra", "-fsyntax-only", f"-DTARGET={target}"]
        done = subprocess.run([*command, SOURCES / source], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), target


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Program:
    for program in (ARM, EMULATOR):
        demand(program)
    return Program(ARM, EMULATOR, tmp_path_factory.mktemp("arm"))


@pytest.mark.skipif(not FUSED, reason="this machine has no fused multiply-add to compare with")
@pytest.mark.parametrize("n_fft", RADICES)
def test_neon_finds_the_bits_of_avx(n_fft: int, arm: Program) -> None:
    cfg = CONFIG.get(n_fft, small(n_fft, pad_mode="reflect", n_mels=20, power=1))
    y = np.random.default_rng(n_fft).standard_normal((2, 3 * n_fft + 1)).astype(np.float32)
    y[1] *= 1e-40  # counts as silence
    lengths = [3 * n_fft + 1, n_fft]
    for feature in STAGES:
        samples = (9000 * y).astype(np.int16) if feature == "melspectrogram" else y
        with on(FUSED[0]):
            expected = compute(feature, samples, cfg, lengths)
        with computing(arm):
            np.testing.assert_array_equal(compute(feature, samples, cfg, lengths, threads=2), expected)
        assert not np.array_equal(expected[0], expected[1])


@pytest.mark.skipif(not FUSED, reason="this machine has no fused multiply-add to compare with")
@pytest.mark.parametrize("name", ["seamless", "parakeet", "passt", "kaldi_no_snip", "gemma4"])
def test_front_ends_have_the_same_bits_everywhere(name: str, arm: Program) -> None:
    """Means and statistics too, which are in float64: nothing is added up in another order for another vector."""
    cfg = PRESETS[name]
    y = clip("dc", 2 * 6000, cfg.sr).reshape(2, 6000)
    lengths = [6000, 3001]
    results = []
    for target in FUSED:
        with on(target):
            results.append(compute("log_mel", y, cfg, lengths))
    with computing(arm):
        results.append(compute("log_mel", y, cfg, lengths, threads=2))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
