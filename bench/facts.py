"""What a machine is, and what was only supposed of GPUs: each fact by itself, so that one that fails stops no other."""

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
RATES = ((44100, 16000), (48000, 44100), (22050, 44100))  # Hz, from and to
PRIME = FeatureConfig(sr=16000, n_fft=509, hop_length=101, n_mels=40)  # cuFFT takes Bluestein's way


def packages() -> str:
    """Name what is installed, and what is not."""
    found = {name: installed(name) for name in PACKAGES}
    missing = [name for name, version in found.items() if version is None]
    return (
        f"{', '.join(f'{name} {version}' for name, version in found.items() if version)}; without {', '.join(missing)}"
    )


def tools() -> str:
    """Name the programs that are there."""
    return ", ".join(f"{name}: {shutil.which(name) or 'missing'}" for name in TOOLS)


def nvidia() -> str:
    """Ask the driver's own tool."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def device() -> str:
    """Ask torch."""
    found = torch.cuda.get_device_properties(0)
    return (
        f"{found.name}, sm_{found.major}{found.minor}, {found.multi_processor_count} multiprocessors, "
        f"{found.total_memory / 2**30:.0f} GiB, {found.L2_cache_size / 2**20:.0f} MiB L2, "
        f"{found.shared_memory_per_multiprocessor >> 10} KiB shared; torch has {' '.join(torch.cuda.get_arch_list())}"
    )


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Return noise on the GPU."""
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).cuda()


def default_stream() -> str:
    """Tell on which stream CuPy's arrays are computed outside of any stream context."""
    import cupy

    from cumel.kernels import arrays

    with arrays.as_tensor(cupy.zeros(1000, np.float32)):
        used = torch.cuda.current_stream().cuda_stream
    outside = torch.cuda.ExternalStream(0).cuda_stream
    return f"CuPy's default stream is torch's {used:#x} (0x0 is right); ExternalStream(0) is {outside:#x}"


def graphs() -> str:
    """Try torch's documented recipe for CUDA graphs, which names no stream."""
    y, cfg = noise(2, 40_000), PRESETS["esc50"]
    expected, graph = log_mel(y, cfg), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = log_mel(y, cfg)
    graph.replay()
    torch.cuda.synchronize()
    return "a replay gives the same bits" if torch.equal(out, expected) else "WRONG: a replay gives other values"


def resampling() -> str:
    """Compare resampling on the GPU with the CPU; with TF32 it is off by 1e-4 and more."""
    from cumel.esc50.audio.resampling import resample_on

    y = noise(40_000).cpu().numpy()
    errors = {}
    for sr, target in RATES:
        there, here = (resample_on(torch.device(name), y, sr, target) for name in ("cuda", "cpu"))
        errors[f"{sr} to {target}"] = f"{np.abs(there - here).max():.1e}"
    return f"the largest differences from the CPU: {errors}"


def bluestein() -> str:
    """Measure the STFT of a prime n_fft."""
    y = noise(40_000)
    expected = reference.stft(y.cpu().numpy(), PRIME)
    return f"{np.abs(stft(y, PRIME).cpu().numpy() - expected).max() / np.abs(expected).max():.1e} of the largest value"


def registers() -> str:
    """Ask the driver what each plan's kernel takes, and how many of its blocks share a multiprocessor."""
    import cupy

    from cumel.kernels import launcher

    found = []
    for n_fft in plan.RADICES:
        design = plan.fused(
            PRESETS["esc50"].replace(n_fft=n_fft, hop_length=n_fft // 4, n_mels=16, n_mfcc=16), Stage.DECIBEL
        )
        assert design is not None
        made = launcher._function(design.kernel, torch.device("cuda", 0))
        blocks = cupy.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor(
            made.kernel.ptr, plan.WARP * design.warps, design.shared
        )
        found.append(f"{n_fft}: {made.num_regs} registers, {made.local_size_bytes} local bytes, {blocks} blocks")
    return "; ".join(found)


def compiler() -> str:
    """Say whether torch.compile would work here."""
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
            said = ask()
        except Exception as error:
            failed += 1
            said = f"FAILED: {first_line(error)}"
        print(f"{name}: {said}", flush=True)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
