"""Log-mel of 5 s clips on a GPU, the esc50 preset: torchaudio, cuFFT by CuPy, and ours; checked, then timed in turn.

Clips and features stay on the device, more of them than its L2 cache holds. `--check-only` runs every kernel once on
small shapes, for compute-sanitizer. Without a GPU there is nothing to measure, and it says so.
"""

import argparse
from collections.abc import Callable
from importlib.metadata import distributions
from itertools import product
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch

from cumel.kernels import PRESETS, FeatureConfig, cuda, frontend, log_mel, mel_image, mfcc, plan, reference, stft
from cumel.kernels.filterbank import mel_matrix, window
from cumel.kernels.frontend import Clips
from cumel.kernels.plan import Stage

from peers import torchaudio_log_mel
from timing import machine, spread, write_rows

CFG = PRESETS["esc50"]
N_SAMPLES = 5 * CFG.sr
N_CLIPS = 512  # 450 MB of float32
AT_ONCE = 64  # clips that the unfused peers take, or their spectra would not fit
CHECKED = 2  # clips of the batch that are compared with the reference
NOISE_DB = 1e-3
ROUNDS, CALLS = 15, 5
LEVERS = {"blocks of a multiprocessor": (3, 4, 5), "frames of a block": (8, 16, 32)}


class Peer(NamedTuple):
    """A way to compute the features, and what one clip moves through device memory at the least."""

    call: Callable[[], torch.Tensor]
    n_clips: int
    n_bytes: int


def seconds(call: Callable[[], object]) -> float:
    """Time CALLS calls on the device, by its own clock; seconds per call."""
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(CALLS):
        call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3 / CALLS


def at_once(compute: Callable[[torch.Tensor], torch.Tensor], y: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Compute AT_ONCE clips at a time."""
    return lambda: torch.cat([compute(some) for some in y.split(AT_ONCE)])


def cupy_log_mel() -> Callable[[torch.Tensor], torch.Tensor]:
    """Build what one would write in CuPy: frames by strides, cuFFT, a product with the mel matrix, decibels."""
    import cupy as cp

    taper, weights = (cp.asarray(table.astype(np.float32)) for table in (window(CFG), mel_matrix(CFG)))

    def compute(y: torch.Tensor) -> torch.Tensor:
        padded = cp.pad(cp.from_dlpack(y), ((0, 0), (CFG.padding, CFG.padding)), mode=CFG.pad_mode)
        frames = cp.lib.stride_tricks.sliding_window_view(padded, CFG.n_fft, axis=1)[:, :: CFG.hop_length]
        spectra = cp.fft.rfft(frames * taper, axis=2)
        mel = weights @ (spectra.real**2 + spectra.imag**2).transpose(0, 2, 1)
        db = 10.0 * cp.log10(cp.maximum(mel, CFG.amin))
        return torch.from_dlpack(cp.maximum(db, db.max(axis=(1, 2), keepdims=True) - CFG.top_db))

    return compute


def in_a_graph(clip: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Capture the features of one clip in a CUDA graph."""
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    with torch.cuda.stream(stream):
        log_mel(clip, CFG)  # compiles, and uploads the tables
    with torch.cuda.graph(graph, stream=stream):
        out = log_mel(clip, CFG)

    def replay() -> torch.Tensor:
        graph.replay()
        return out

    return replay


def around_cufft(y: torch.Tensor) -> torch.Tensor:
    """Our own kernels around cuFFT, as for an n_fft without a plan."""
    with patch.object(plan, "fused", return_value=None):
        return log_mel(y, CFG)


def peers(y: torch.Tensor, pcm: torch.Tensor) -> dict[str, Peer]:
    """Return every way to compute the features of the same clips."""
    values = CFG.n_mels * CFG.n_frames(N_SAMPLES)
    both = 4 * (N_SAMPLES + values)
    return {
        "torchaudio": Peer(at_once(torchaudio_log_mel(CFG, y.device), y), N_CLIPS, both),
        "CuPy, cuFFT": Peer(at_once(cupy_log_mel(), y), N_CLIPS, both),
        "cumel around cuFFT": Peer(lambda: around_cufft(y), N_CLIPS, both),
        "cumel": Peer(lambda: log_mel(y, CFG), N_CLIPS, both),
        "cumel, int16 in": Peer(lambda: log_mel(pcm, CFG), N_CLIPS, 2 * N_SAMPLES + 4 * values),
        "cumel, int16 in, float16 out": Peer(lambda: log_mel(pcm, CFG, dtype="float16"), N_CLIPS, both // 2),
        "cumel, int16 in, image out": Peer(lambda: mel_image(pcm, CFG), N_CLIPS, 2 * N_SAMPLES + values),
        "cumel, one clip": Peer(lambda: log_mel(y[0], CFG), 1, both),
        "cumel, one clip, CUDA graph": Peer(in_a_graph(y[0]), 1, both),
    }


def check(name: str, out: torch.Tensor, pcm: np.ndarray) -> float:
    """Return the largest difference in dB from the reference, or in levels of an image; stop when it is too large."""
    image = out.dtype == torch.uint8
    truth = np.stack([(reference.mel_image if image else reference.log_mel)(one, CFG) for one in pcm])
    ours = out.reshape(-1, *truth.shape[1:])[: len(truth)].cpu().numpy().astype(np.float64)
    error = float(np.abs(ours - truth[: len(ours)]).max())
    limit = 1.0 if image else 0.05 if out.dtype == torch.float16 else NOISE_DB
    if not error <= limit:
        raise SystemExit(f"{name}: {error:.1e} from the reference, more than {limit}: not timed")
    return error


def copy_rate() -> float:
    """Return bytes per second that a copy within the device reads and writes: the roof over every kernel."""
    source = torch.empty(2**28, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / min(seconds(lambda: target.copy_(source)) for _ in range(ROUNDS))


def measure(y: torch.Tensor, pcm: torch.Tensor) -> list[dict[str, Any]]:
    """Check every peer, then time them round after round."""
    ways, host = peers(y, pcm), pcm[:CHECKED].cpu().numpy()
    errors = {name: check(name, peer.call(), host[: peer.n_clips]) for name, peer in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, peer in ways.items():
            peer.call()
            times[name].append(seconds(peer.call) / peer.n_clips)
    roof, rows = copy_rate(), []
    for name, peer in ways.items():
        each = np.array(times[name])
        median = float(np.median(each))
        rows.append(
            {
                "op": "log_mel esc50",
                "peer": name,
                "batch": peer.n_clips,
                "us_per_clip": median * 1e6,
                "spread_us": spread(list(each)) * 1e6,
                "clips_per_s": 1 / median,
                "GB_per_s": peer.n_bytes / median / 1e9,
                "of_copy_rate": peer.n_bytes / median / roof,
                "speed_of_torchaudio": float(np.median(np.array(times["torchaudio"]) / each)),
                "speed_of_cufft": float(np.median(np.array(times["CuPy, cuFFT"]) / each)),
                "max_error": errors[name],
            }
        )
    return rows


def levers(y: torch.Tensor) -> list[dict[str, Any]]:
    """Time the main kernel at other settings of what kernels may be compiled and launched with."""
    rows, blocks_before, frames_before = [], dict(plan.MIN_BLOCKS), plan.MOST_FRAMES
    for blocks, frames in product(*LEVERS.values()):
        plan.MIN_BLOCKS[CFG.n_fft], plan.MOST_FRAMES = blocks, frames
        plan.fused.cache_clear()
        log_mel(y, CFG)
        each = [seconds(lambda: log_mel(y, CFG)) / N_CLIPS for _ in range(ROUNDS)]
        settings = dict(zip(LEVERS, (blocks, frames), strict=True))
        rows.append(settings | {"clips_per_s": 1 / float(np.median(each)), "spread_us": spread(each) * 1e6})
    plan.MIN_BLOCKS, plan.MOST_FRAMES = blocks_before, frames_before
    plan.fused.cache_clear()
    return rows


def every_kernel() -> None:
    """Run each kernel and plan on small shapes, edges and last blocks included."""
    rng = np.random.default_rng(0)
    for n_fft in (*plan.RADICES, 500):
        cfg = FeatureConfig(sr=16000, n_fft=n_fft, hop_length=n_fft // 4 + 1, n_mels=20, pad_mode="reflect", n_mfcc=13)
        y = torch.from_numpy(rng.normal(0, 0.1, (2, 12 * n_fft + 37)).astype(np.float32)).cuda()
        lengths = [y.shape[1], 5 * n_fft]
        launcher = cuda.frontend(y.device)
        for stage in Stage:
            frontend.compute(launcher.launcher, Clips.of(y, lengths, cfg), cfg, stage)
        for dtype in (torch.float16, torch.uint8):
            frontend.compute(launcher.launcher, Clips.of(y, lengths, cfg), cfg, Stage.DECIBEL, dtype)
        out = log_mel((32768 * y).to(torch.int16), cfg, lengths)
        for clip, n in enumerate(lengths):
            truth = reference.log_mel((32768 * y[clip, :n]).to(torch.int16).cpu().numpy(), cfg)
            error = np.abs(out[clip, :, : truth.shape[1]].cpu().numpy() - truth).max()
            if not error <= NOISE_DB:
                raise SystemExit(f"n_fft={n_fft}: {error:.1e} dB from the reference")
        stft(y, cfg, lengths), mfcc(y, cfg, lengths)
    torch.cuda.synchronize()
    print("every kernel ran, and log_mel equals the reference")


def cupy_package() -> str:
    """Return the name under which CuPy is installed."""
    return next(dist.name for dist in distributions() if dist.name.startswith("cupy"))


def main() -> None:
    """Check and time, print and append the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check-only", action="store_true", help="run every kernel once on small shapes, time nothing")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device: nothing to measure")
    if options.check_only:
        return every_kernel()
    rng = np.random.default_rng(0)
    host = (3000 * rng.standard_normal((N_CLIPS, N_SAMPLES), dtype=np.float32)).astype(np.int16)
    pcm = torch.from_numpy(host).cuda()
    y = pcm.float() / 32768.0
    where = machine(torch.cuda.get_device_name(), ("torch", "torchaudio", cupy_package()))
    write_rows("gpu", measure(y, pcm), where)
    return write_rows("gpu_levers", levers(y), where)


if __name__ == "__main__":
    main()
