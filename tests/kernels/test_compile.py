"""NVRTC compiles every kernel for every architecture, which needs no GPU; what that says of registers and memory."""

import importlib.util
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cumel.kernels import FeatureConfig, plan
from cumel.kernels.launcher import OPTIONS
from cumel.kernels.plan import RADICES, SHARED_LIMIT, Form, Fused, Kernel, Stage

pytest.importorskip("cupy_backends.cuda.libs.nvrtc", reason="NVRTC comes with CuPy: pip install 'cumel[gpu]'")
from cupy._core.core import compile_with_cache
from cupy.cuda import compiler

from support.compiling import Used, compile_for, cupy_options
from support.model_clips import CONFIGS as FRONT_ENDS
from support.pairwise import running

ROOT = Path(__file__).parents[2]
MAIN = "sm_90"
OTHERS = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_100", "sm_120")
ARCHITECTURES = (MAIN, *OTHERS)

# Registers of a thread that the bounds of plan.py leave to the log-mel kernels; none of them spills on MAIN.
MOST_REGISTERS = {256: 128, 400: 128, 512: 168, 1024: 168, 2048: 128, 4096: 255}
THE_MAIN_ONE = (MAIN, f"2048 {Stage.DECIBEL.name}")
REGISTERS_2048 = 128  # all of them

N_MELS = {256: 40, 400: 80, 512: 80, 1024: 64, 2048: 128, 4096: 128}
CONFIGS = {n: FeatureConfig(sr=16000, n_fft=n, hop_length=n // 4, n_mels=N_MELS[n]) for n in RADICES}
ANY = FeatureConfig(n_fft=1000)  # uses the kernels around cuFFT


def fused(n_fft: int, stage: Stage = Stage.DECIBEL, form: Form = Form.FLOAT, *, int16: bool = False) -> Fused:
    found = plan.fused(CONFIGS[n_fft], stage, form, int16=int16)
    assert found
    return found


def magnitude(n_fft: int) -> Fused:
    found = plan.fused(CONFIGS[n_fft].replace(power=1.0), Stage.DECIBEL)
    assert found
    return found


PLANS: dict[str, Fused] = {
    f"{n} {name}": one
    for n in RADICES
    for name, one in {
        **{stage.name: fused(n, stage) for stage in Stage},
        "int16": fused(n, int16=True),
        "magnitude": magnitude(n),
        "half": fused(n, form=Form.HALF),
        "image": fused(n, form=Form.IMAGE),
        "int16 image": fused(n, form=Form.IMAGE, int16=True),
    }.items()
} | {
    f"{cfg.n_fft} {name}": one
    for name, cfg in FRONT_ENDS.items()
    for one in [plan.fused(cfg, Stage.DECIBEL, int16=name == "passt")]
    if one
}
KERNELS: dict[tuple[str, str], Kernel] = {
    **{(MAIN, name): one.kernel for name, one in PLANS.items()},
    **{(arch, f"{n} {Stage.DECIBEL.name}"): fused(n).kernel for arch in ARCHITECTURES for n in RADICES},
    **{(arch, f"cut {stage.name}"): plan.generic(ANY, stage).cut for arch in ARCHITECTURES for stage in Stage},
    **{
        (arch, f"features {stage.name}"): plan.generic(ANY, stage).features for arch in ARCHITECTURES for stage in Stage
    },
    **{(arch, "mfcc"): plan.mfcc(1, 1)[0] for arch in ARCHITECTURES},
    **{(arch, f"finish {form.name}"): plan.finish(ANY, 1, 1, form)[0] for arch in ARCHITECTURES for form in Form},
    **{
        (arch, f"{entry} of {name}"): kernel
        for arch in ARCHITECTURES
        for name in ("seamless", "clip around cuFFT", "frame around cuFFT")
        for entry, kernel in {
            "cut": plan.generic(FRONT_ENDS[name], Stage.DECIBEL).cut,
            "statistics": plan.statistics(FRONT_ENDS[name], 1, Form.FLOAT)[0],
        }.items()
    },
}


def by_default(arch: str, name: str) -> bool:
    """Whether a kernel is compiled without --exhaustive: all of the main plan, and some of each other plan.

    An architecture that is not the main one has one fused kernel, another than the next, and each entry point once.
    """
    kind, _, what = name.partition(" ")
    if arch == MAIN:
        usual = ("SPECTRUM", "DECIBEL", "image", "kaldi", "passt", "odd frame")
        return kind in ("2048", "cut", "features", "finish", "statistics", "mfcc") or what in usual
    fused = int(kind) == [*RADICES][OTHERS.index(arch)] if kind.isdigit() else True
    return fused and what in ("DECIBEL", "FLOAT", "")


def params(keys: Iterable[tuple[str, str]]) -> list[Any]:
    return [pytest.param(*key, marks=[] if by_default(*key) else [pytest.mark.exhaustive]) for key in keys]


@pytest.fixture(scope="module")
def compiled(request: pytest.FixtureRequest) -> Iterator[dict[tuple[str, str], Future[Used]]]:
    """Start all compilations that this run needs, as many at once as there are processors."""
    keys = {*running(request, "arch", "name"), THE_MAIN_ONE}
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        yield {key: pool.submit(compile_for, key[0], KERNELS[key].text(), OPTIONS) for key in sorted(keys)}


class NoCompilerError(Exception):
    """Stands for CuPy's program, and tells the options that it was to be compiled with."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def compile(self, options: tuple[str, ...], *_: object) -> None:
        raise NoCompilerError(*options) from None


def test_options_are_those_that_cupy_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a device, CuPy is told of one; and not to look whether it has compiled this before."""
    monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "1")
    monkeypatch.setattr(compiler, "_NVRTCProgram", NoCompilerError)
    monkeypatch.setattr(compiler, "_preprocess", lambda *_: "")
    monkeypatch.setattr(compiler, "_get_arch_for_options_for_nvrtc", lambda arch: (f"-arch=sm_{arch}", "cubin"))
    with pytest.raises(NoCompilerError) as told:
        compile_with_cache("", OPTIONS, MAIN.removeprefix("sm_"))
    assert told.value.args == cupy_options(MAIN, OPTIONS)


@pytest.mark.parametrize(("arch", "name"), params(KERNELS))
def test_compiles(compiled: dict[tuple[str, str], Future[Used]], arch: str, name: str) -> None:
    used = compiled[arch, name].result()
    assert (used.stack, used.spill_stores, used.spill_loads) == (0, 0, 0)


BOUNDED = [(MAIN, name) for name in PLANS if not name.endswith((Stage.SPECTRUM.name, Stage.STRENGTH.name))]


@pytest.mark.parametrize(("arch", "name"), params(BOUNDED))
def test_registers(compiled: dict[tuple[str, str], Future[Used]], arch: str, name: str) -> None:
    assert compiled[arch, name].result().registers <= MOST_REGISTERS[int(name.split()[0])]


def test_registers_of_the_main_kernel(compiled: dict[tuple[str, str], Future[Used]]) -> None:
    assert compiled[THE_MAIN_ONE].result().registers == REGISTERS_2048


@pytest.mark.parametrize("name", PLANS)
def test_shared_memory(name: str) -> None:
    assert 0 < PLANS[name].grid(1, 1, 1).shared <= SHARED_LIMIT


def test_shared_memory_around_cufft() -> None:
    for stage in Stage:
        one = plan.generic(ANY, stage)
        assert max(grid.shared for grid in one.grids(1, plan.MOST_FRAMES)) <= SHARED_LIMIT


def test_instructions_grew_in_no_kernel() -> None:
    """Take every kernel apart: instructions per frame, no memory of a thread's own, no copies for lanes gone apart."""
    if not importlib.util.find_spec("triton"):
        pytest.skip("nvdisasm comes with triton, which torch for CUDA brings along")
    command = [sys.executable, ROOT / "bench" / "static.py", "--check", "--arch", MAIN]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
