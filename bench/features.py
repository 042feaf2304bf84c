"""Log-mel of 5 s clips: what one would use instead, and ours; checked against librosa in float64, then timed in turn.

On the CPU samples are in memory; on a GPU they are on the device, and once more in pinned memory from where every call
copies them, as float32 and as int16. Peers get int16 converted on the device.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from cumel.esc50.verify import librosa_log_mel
from cumel.kernels import PRESETS, FeatureConfig, log_mel, mel_image, plan, reference

from peers import librosas_log_mel, others, packages
from timing import Times, compare, copy_rate, machine, peak_mb, write_rows

SECONDS = 5
TIMED = ("esc50", "librosa", "whisper", "panns")
BATCHES = {"cpu": (1, 16, 256), "cuda": (1, 16, 256, 4096)}
CHECKED = 2  # clips of a batch, the last among them
LIMITS = {torch.float32: 1e-3, torch.float16: 0.05, torch.uint8: 1.0}  # dB, of an image levels; noise
LOUDNESS = 3000  # of int16


@dataclass(frozen=True)
class Way:
    """One way to compute the features of the same clips."""

    peer: str
    source: str
    call: Callable[[], Tensor]
    n_clips: int
    sample_bytes: int
    value_bytes: int = 4

    @property
    def name(self) -> str:
        """Peer and source."""
        return f"{self.peer}, {self.source}"

    def n_bytes(self, cfg: FeatureConfig) -> int:
        """Return what one clip moves through memory at the least: samples in, features out."""
        n_samples = SECONDS * cfg.sr
        return self.sample_bytes * n_samples + self.value_bytes * cfg.n_mels * cfg.n_frames(n_samples)


def make_clips(cfg: FeatureConfig, n_clips: int, device: str) -> Tensor:
    """Return noise as int16 [n_clips, 5 s]."""
    noise = torch.Generator(device).manual_seed(0)
    pcm = torch.empty(n_clips, SECONDS * cfg.sr, dtype=torch.int16, device=device)
    for clip in pcm:  # float32 of all at once would not fit beside the rest
        clip.copy_(LOUDNESS * torch.randn(len(clip), generator=noise, device=device))
    return pcm


def scaled(clips: Tensor) -> Tensor:
    """Return int16 as float32 in -1..1, and float32 as it is."""
    return clips.float().mul_(1 / 32768) if clips.dtype == torch.int16 else clips


def in_a_graph(clip: Tensor, cfg: FeatureConfig) -> Callable[[], Tensor]:
    """Capture the features of one clip in a CUDA graph."""
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    with torch.cuda.stream(stream):
        log_mel(clip, cfg)  # compiles, and uploads the tables
    with torch.cuda.graph(graph, stream=stream):
        out = log_mel(clip, cfg)

    def replay() -> Tensor:
        graph.replay()
        return out

    return replay


def around_cufft(y: Tensor, cfg: FeatureConfig) -> Tensor:
    """Our own kernels around cuFFT, as for an n_fft without a plan."""
    with patch.object(plan, "fused", return_value=None):
        return log_mel(y, cfg)


def ways(cfg: FeatureConfig, pcm: Tensor, device: str) -> Iterator[Way]:
    """Yield every way to compute the features of these clips."""
    y, n = scaled(pcm), len(pcm)
    theirs = others(cfg, device, n)
    if device == "cpu":  # what the others are compared with, in every run; it knows no batches
        yield Way("librosa", "float32", partial(librosas_log_mel(cfg), y[-1:]), 1, 4)
    for name, compute in theirs.items():
        yield Way(name, "float32", partial(compute, y), n, 4)
    yield Way("cumel", "float32", lambda: log_mel(y, cfg), n, 4)
    yield Way("cumel", "int16", lambda: log_mel(pcm, cfg), n, 2)
    if device == "cpu":
        return
    yield Way("cumel around cuFFT", "float32", lambda: around_cufft(y, cfg), n, 4)
    yield Way("cumel, float16 out", "int16", lambda: log_mel(pcm, cfg, dtype="float16"), n, 2, 2)
    yield Way("cumel, image out", "int16", lambda: mel_image(pcm, cfg), n, 2, 1)
    if n == 1:
        yield Way("cumel, CUDA graph", "float32", in_a_graph(y, cfg), n, 4)
    for name, samples in (("float32", y), ("int16", pcm)):
        host, size = samples.cpu().pin_memory(), samples.element_size()
        take = partial(host.to, "cuda", non_blocking=True)
        source = f"pinned {name}"
        yield Way("torchaudio", source, lambda take=take: theirs["torchaudio"](scaled(take())), n, size)
        yield Way("cumel", source, lambda take=take: log_mel(take(), cfg), n, size)


class Truth:
    """What librosa in float64 makes of the checked clips, and the reference where it is an image."""

    def __init__(self, cfg: FeatureConfig, pcm: Tensor) -> None:
        clips = pcm.cpu().numpy()
        self.decibels = np.stack([librosa_log_mel(clip / 32768, cfg) for clip in clips])
        self.image = np.stack([reference.mel_image(clip, cfg) for clip in clips]).astype(np.float64)

    def errors(self, out: Tensor) -> np.ndarray:
        """Return how far off the checked clips of `out` are, in dB, or in levels of an image."""
        expected = self.image if out.dtype == torch.uint8 else self.decibels
        mine = out[-len(expected) :].double().cpu().numpy()
        return np.abs(mine - expected[-len(mine) :])


def checked(way: Way, truth: Truth, device: str) -> tuple[np.ndarray, float]:
    """Return the errors, and the memory a call takes; stop when the result is wrong."""
    memory, out = peak_mb(way.call, device)
    errors, limit = truth.errors(out), LIMITS[out.dtype]
    if not errors.max() <= limit:
        raise SystemExit(f"{way.peer}, {way.source}: {errors.max():.1e} from librosa, more than {limit}: not timed")
    return errors, memory


def measure(preset: str, n_clips: int, device: str, roof: float) -> list[dict[str, Any]]:
    """Check every way on a batch, then time them in turn; `roof` is in bytes per second."""
    cfg = PRESETS[preset]
    pcm = make_clips(cfg, n_clips, device)
    truth = Truth(cfg, pcm[-CHECKED:])
    each = list(ways(cfg, pcm, device))
    found = [checked(way, truth, device) for way in each]
    times = compare({way.name: way.call for way in each}, device=device)
    rows = []
    for way, (errors, memory) in zip(each, found, strict=True):
        if way.n_clips != n_clips:
            continue
        seconds = times[way.name].median / n_clips
        image = way.value_bytes == 1
        rows.append(
            {
                "preset": preset,
                "peer": way.peer,
                "source": way.source,
                "threads": torch.get_num_threads() if device == "cpu" else 0,
                "batch": n_clips,
                **times[way.name].columns("ms_per_clip", 1e3 / n_clips),
                "clips_per_s": 1 / seconds,
                "x_real_time": SECONDS / seconds,
                **{f"speed_of_{peer}": speed(way, peer, each, times) for peer in ("librosa", "torchaudio")},
                "max_db": None if image else float(errors.max()),
                "mean_db": None if image else float(errors.mean()),
                "GB_per_s": way.n_bytes(cfg) / seconds / 1e9,
                "of_copy_rate": way.n_bytes(cfg) / seconds / roof,
                "peak_mb": memory,
            }
        )
    return rows


def speed(way: Way, peer: str, each: list[Way], times: dict[str, Times]) -> float | None:
    """Return clips per second as a multiple of a peer's, from where it takes float32, or the same pinned memory."""
    source = way.source if way.source.startswith("pinned") else "float32"
    for other in each:
        if (other.peer, other.source) == (peer, source):
            return times[other.name].ratio(times[way.name]) * way.n_clips / other.n_clips
    return None


def main() -> None:
    """Check, time, append the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=sorted(BATCHES), default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--presets", nargs="*", choices=sorted(PRESETS), default=TIMED)
    parser.add_argument("--batches", nargs="*", type=int)
    options = parser.parse_args()
    device = options.device
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device: nothing to measure")
    torch.set_num_threads(options.threads)
    threadpool_limits(options.threads)  # librosa's BLAS
    where, roof = machine(device, packages(device)), copy_rate(device)
    with torch.inference_mode():
        rows = [
            row
            for preset in options.presets
            for n_clips in options.batches or BATCHES[device]
            for row in measure(preset, n_clips, device, roof)
        ]
    write_rows("features", rows, where)


if __name__ == "__main__":
    main()
