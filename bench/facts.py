"""Prints facts about a machine, and tests assumptions about its GPU. A fact that fails stops no other."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import torch

from cumel.kernels import PRESETS, FeatureConfig, log_mel, plan, reference, stft
from cumel.kernels.plan import Stage

from timing import installed
from warm import first_line

PACKAGES = (
    "torch",
    "torchaudio",
    "numpy",
    "cupy-cuda13x",
    "cupy-cuda12x",
    "triton",
    "pytest",
    "pytest-xdist",
    "hypothesis",
)
PACKAGES += ("librosa", "soundfile", "soxr", "pyarrow", "scipy", "onnx", "onnxruntime", "onnxruntime-gpu", "numba")
TOOLS = ("nvidia-smi", "nvcc", "g++", "gcc", "ncu", "compute-sanitizer", "cuobjdump", "git")
RATES = ((44100, 16000), (48000, 44100), (22050, 44100))  # pairs of Hz, from and to
PRIME = FeatureConfig(
    sr=16000, n_fft=509, hop_length=101, n_mels=40
)  # cuFFT transforms 509 points by Bluestein's algorithm


def packages() -> str:
    """Return the installed packages with their versions, and the missing ones."""
    versions = {name: installed(name) for name in PACKAGES}
    missing = [name for name, version in versions.items() if version is None]
    present = [f"{name} {version}" for name, version in versions.items() if version is not None]
    return f"{', '.join(present)}; without {', '.join(missing)}"


def tools() -> str:
    """Return the path of each program, or that it is missing."""
    return ", ".join(f"{name}: {shutil.which(name) or 'missing'}" for name in TOOLS)


def nvidia() -> str:
    """Return what nvidia-smi says of the GPU."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def device() -> str:
    """Return what torch says of the GPU."""
    gpu = torch.cuda.get_device_properties(0)
    return (
        f"{gpu.name}, sm_{gpu.major}{gpu.minor}, {gpu.multi_processor_count} multiprocessors, "
        f"{gpu.total_memory / 2**30:.0f} GiB, {gpu.L2_cache_size / 2**20:.0f} MiB L2, "
        f"{gpu.shared_memory_per_multiprocessor >> 10} KiB shared; torch has {' '.join(torch.cuda.get_arch_list())}"
    )


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Return noise on the GPU."""
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).cuda()


def default_stream() -> str:
    """Return the stream on which CuPy's arrays are computed outside of any stream context."""
    import cupy

    from cumel.kernels import interchange

    with interchange.as_tensor(cupy.zeros(1000, np.float32)):
        used = torch.cuda.current_stream().cuda_stream
    outside = torch.cuda.ExternalStream(0).cuda_stream
    return f"CuPy's default stream is torch's {used:#x} (0x0 is right); ExternalStream(0) is {outside:#x}"


def graphs() -> str:
    """Try the recipe for CUDA graphs in torch's documentation, which names no stream."""
    y, cfg = noise(2, 40_000), PRESETS["esc50"]
    expected, graph = log_mel(y, cfg), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = log_mel(y, cfg)
    graph.replay()
    torch.cuda.synchronize()
    return "a replay gives the same bits" if torch.equal(out, expected) else "WRONG: a replay gives other values"


def resampling() -> str:
    """Compare resampling on the GPU with the CPU. With TF32 it would be off by 1e-4 or more."""
    from cumel.esc50.audio.resampling import resample_on

    y = noise(40_000).cpu().numpy()
    errors = {}
    for sr, target in RATES:
        on_gpu, on_cpu = (resample_on(torch.device(name), y, sr, target) for name in ("cuda", "cpu"))
        errors[f"{sr} to {target}"] = f"{np.abs(on_gpu - on_cpu).max():.1e}"
    return f"the largest differences from the CPU: {errors}"


def bluestein() -> str:
    """Return the error of the STFT with a prime n_fft."""
    y = noise(40_000)
    expected = reference.stft(y.cpu().numpy(), PRIME)
    return f"{np.abs(stft(y, PRIME).cpu().numpy() - expected).max() / np.abs(expected).max():.1e} of the largest value"


def registers() -> str:
    """Return the registers of each plan's kernel, and how many of its blocks share a multiprocessor."""
    import cupy

    from cumel.kernels import launcher

    lines = []
    for n_fft in plan.RADICES:
        design = plan.fused(
            PRESETS["esc50"].replace(n_fft=n_fft, hop_length=n_fft // 4, n_mels=16, n_mfcc=16), Stage.DECIBEL
        )
        assert design is not None
        function = launcher._function(design.kernel, torch.device("cuda", 0))
        blocks = cupy.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor(
            function.kernel.ptr, plan.WARP * design.warps, design.shared
        )
        lines.append(
            f"{n_fft}: {function.num_regs} registers, {function.local_size_bytes} local bytes, {blocks} blocks"
        )
    return "; ".join(lines)


def compiler() -> str:
    """Return whether torch.compile would work here, or why not."""
    from cumel.esc50.system.compiling import why_eager

    return why_eager(torch.device("cuda", 0)) or "works"


FACTS: dict[str, Callable[[], str]] = {
    "python": lambda: f"{sys.version.split()[0]} at {sys.executable}, {platform.platform()}, {os.cpu_count()} cores",
    "packages": packages,
    "tools": tools,
    "nvidia-smi": nvidia,
    "device": device,
    "CuPy's stream": default_stream,
    "CUDA graph": graphs,
    "resampling": resampling,
    "prime n_fft": bluestein,
    "registers": registers,
    "torch.compile": compiler,
}


def main() -> None:
    """Print every fact."""
    failed = 0
    for name, ask in FACTS.items():
        try:
            answer = ask()
        except Exception as error:
            failed += 1
            answer = f"FAILED: {first_line(error)}"
        print(f"{name}: {answer}", flush=True)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
