"""Times log-mel features of 5 s clips, by peers and by cumel; checks them against librosa in float64 first.

On the CPU the samples are in memory. On a GPU they are on the device, and in a second comparison in pinned memory,
from which every call copies them; each as float32 and as int16, which is converted on the device for peers. A peer
with wrong or no results is named and left out, and the exit code is 1. A wrong result of cumel ends the run.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cumel.kernels import FeatureConfig, cuda, log_mel, mel_image, plan, reference
from cumel.kernels.tolerance import NOISE_DB

from peers import TIMED, librosas_log_mel, others, packages, true_log_mel, without_tf32
from timing import FRONT_ENDS, Times, compare, copy_rate, demand, machine, peak_mb, write_rows

SECONDS = 5
BATCHES = {"cpu": (1, 16, 256), "cuda": (1, 16, 256, 4096)}
CACHED = 2**28  # bytes; a smaller batch may stay in a GPU's L2 cache, where the copy rate is no bound
LIMITS = {torch.float32: NOISE_DB, torch.float16: 0.05, torch.uint8: 1.0}  # dB; for an image, levels
LOUDNESS = 3000  # standard deviation of the int16 noise
MADE = cuda._prepared


@dataclass(frozen=True)
class Way:
    """A way to compute the features of the same clips."""

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
        """Return the least bytes that one clip moves through memory: samples in, features out."""
        n_samples = SECONDS * cfg.sr
        return self.sample_bytes * n_samples + self.value_bytes * cfg.n_mels * cfg.n_frames(n_samples)


def make_clips(cfg: FeatureConfig, n_clips: int, device: str) -> Tensor:
    """Return noise as int16 [n_clips, 5 s]."""
    noise = torch.Generator(device).manual_seed(0)
    pcm = torch.empty(n_clips, SECONDS * cfg.sr, dtype=torch.int16, device=device)
    for clip in pcm:  # one by one: float32 noise for all of them might not fit
        clip.copy_(LOUDNESS * torch.randn(len(clip), generator=noise, device=device))
    return pcm


def scaled(clips: Tensor) -> Tensor:
    """Return int16 as float32 in -1..1, and float32 as it is."""
    return clips.float().mul_(1 / 32768) if clips.dtype == torch.int16 else clips


def in_a_graph(clip: Tensor, cfg: FeatureConfig) -> Callable[[], Tensor]:
    """Capture the features of one clip in a CUDA graph."""
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    with torch.cuda.stream(stream):
        log_mel(clip, cfg)  # the first call compiles, and uploads the tables
    with torch.cuda.graph(graph, stream=stream):
        out = log_mel(clip, cfg)

    def replay() -> Tensor:
        graph.replay()
        return out

    return replay


@cache
def _made_without_plan(*arguments: Any) -> Any:
    shipped, plan.fused = plan.fused, lambda *_, **__: None
    try:
        return MADE.__wrapped__(*arguments)
    finally:
        plan.fused = shipped


def around_cufft(y: Tensor, cfg: FeatureConfig) -> Tensor:
    """Compute with our kernels around cuFFT, as for an n_fft without a plan."""
    cuda._prepared = _made_without_plan  # a mock would take as long as a small batch
    try:
        return log_mel(y, cfg)
    finally:
        cuda._prepared = MADE


def ways(cfg: FeatureConfig, pcm: Tensor, device: str) -> Iterator[Way]:
    """Yield every way to compute the features of these clips."""
    y, n = scaled(pcm), len(pcm)
    peers = others(cfg, device, n)
    if device == "cpu" and find_spec("librosa"):  # the base of the ratios; it takes one clip at a time
        yield Way("librosa", "float32", partial(librosas_log_mel(cfg), y[-1:]), 1, 4)
    for name, compute in peers.items():
        yield Way(name, "float32", partial(compute, y), n, 4)
    yield Way("cumel", "float32", lambda: log_mel(y, cfg), n, 4)
    yield Way("cumel", "int16", lambda: log_mel(pcm, cfg), n, 2)
    if device == "cpu":
        return
    if "torchaudio" in peers:
        yield Way("torchaudio", "int16", lambda: peers["torchaudio"](scaled(pcm)), n, 2)
    yield Way("cumel around cuFFT", "float32", lambda: around_cufft(y, cfg), n, 4)
    yield Way("cumel, float16 out", "int16", lambda: log_mel(pcm, cfg, dtype="float16"), n, 2, 2)
    yield Way("cumel, image out", "int16", lambda: mel_image(pcm, cfg), n, 2, 1)
    if n == 1:
        yield Way("cumel, CUDA graph", "float32", in_a_graph(y, cfg), n, 4)
    for name, samples in (("float32", y), ("int16", pcm)):
        host = torch.empty(samples.shape, dtype=samples.dtype, pin_memory=True).copy_(samples)
        size = samples.element_size()
        take = partial(host.to, "cuda", non_blocking=True)
        source = f"pinned {name}"
        if "torchaudio" in peers:
            yield Way("torchaudio", source, lambda take=take: peers["torchaudio"](scaled(take())), n, size)
        yield Way("cumel", source, lambda take=take: log_mel(take(), cfg), n, size)


class Truth:
    """True features of the first and the last two clips.

    Decibels are librosa's in float64, or the reference's on a machine without librosa; images are the reference's.
    """

    def __init__(self, cfg: FeatureConfig, pcm: Tensor) -> None:
        self.n_clips = len(pcm)
        self.checked = sorted({0, max(len(pcm) - 2, 0), len(pcm) - 1})
        clips = pcm[self.checked].cpu().numpy()
        self.decibels = np.stack([true_log_mel(clip / 32768, cfg) for clip in clips])
        self.image = np.stack([reference.mel_image(clip, cfg) for clip in clips]).astype(np.float64)

    def errors(self, out: Tensor) -> np.ndarray:
        """Return the errors of the checked clips of `out`, in dB or image levels; a single clip counts as the last."""
        expected = self.image if out.dtype == torch.uint8 else self.decibels
        clips = out[self.checked] if len(out) == self.n_clips else out
        return np.abs(clips.double().cpu().numpy() - expected[-len(clips) :])


def too_large(cfg: FeatureConfig, n_clips: int, device: str) -> str | None:
    """Return a message if a batch would not fit: samples of both types, and the features that two ways keep."""
    if device == "cpu":
        return None
    samples, values = n_clips * SECONDS * cfg.sr, n_clips * cfg.n_mels * cfg.n_frames(SECONDS * cfg.sr)
    needed, free = 2 * (4 + 2) * samples + 4 * 4 * values + CACHED, torch.cuda.mem_get_info()[0]
    if needed <= free:
        return None
    return f"takes about {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB of the device are free: left out"


class WrongError(Exception):
    """A wrong result, which is not timed."""


def checked(way: Way, truth: Truth, device: str) -> tuple[np.ndarray, float | None]:
    """Return the errors, and the memory of a call in MB; None where neither torch nor CuPy counts it."""
    memory, out = peak_mb(way.call, device)
    errors, limit = truth.errors(out), LIMITS[out.dtype]
    if not errors.max() <= limit:
        raise WrongError(f"{errors.max():.1e} from librosa, more than {limit}: not timed")
    hidden = device != "cpu" and way.peer in (
        "NVIDIA DALI",
        "cumel, CUDA graph",
    )  # has its own pool; took its memory at the capture
    return errors, None if hidden else memory


def measure(preset: str, n_clips: int, device: str, roofs: dict[str, float]) -> tuple[list[dict[str, Any]], list[str]]:
    """Check every way on a batch, then time them in turn; return the rows, and why peers are left out."""
    cfg = FRONT_ENDS[preset]
    lacking = too_large(cfg, n_clips, device)
    if lacking is not None:
        return [], [f"{preset}, {n_clips} at once: {lacking}"]
    pcm = make_clips(cfg, n_clips, device)
    truth = Truth(cfg, pcm)
    right, wrong = {}, []
    for way in ways(cfg, pcm, device):
        try:
            right[way] = checked(way, truth, device)
        except (WrongError, RuntimeError) as error:
            message = f"{preset}, {n_clips} at once: {way.name}: {error}"
            if way.peer.startswith("cumel"):
                raise SystemExit(message) from None
            wrong.append(message)
    times = compare({way.name: way.call for way in right}, device=device)
    return [row(preset, way, right, times, device, roofs) for way in right if way.n_clips == n_clips], wrong


def row(
    preset: str,
    way: Way,
    right: dict[Way, tuple[np.ndarray, float | None]],
    times: dict[str, Times],
    device: str,
    roofs: dict[str, float],
) -> dict[str, Any]:
    """Return a row of results/features.csv; `roofs` are in bytes per second."""
    errors, memory = right[way]
    seconds, n_bytes = times[way.name].median / way.n_clips, way.n_bytes(FRONT_ENDS[preset])
    image, pinned = way.value_bytes == 1, way.source.startswith("pinned")
    moved = way.sample_bytes * SECONDS * FRONT_ENDS[preset].sr if pinned else n_bytes
    cached = device != "cpu" and not pinned and n_bytes * way.n_clips < CACHED
    return {
        "preset": preset,
        "peer": way.peer,
        "source": way.source,
        "threads": torch.get_num_threads() if device == "cpu" else 0,
        "batch": way.n_clips,
        **times[way.name].columns("ms_per_clip", 1e3 / way.n_clips),
        "clips_per_s": 1 / seconds,
        "x_real_time": SECONDS / seconds,
        **{f"same_batch_speed_of_{peer}": speed(way, peer, list(right), times) for peer in ("librosa", "torchaudio")},
        "max_db": None if image else float(errors.max()),
        "mean_db": None if image else float(errors.mean()),
        "GB_per_s": n_bytes / seconds / 1e9,
        "of_copy_rate": None if cached else moved / seconds / roofs["pinned" if pinned else "device"],
        "peak_mb": memory,
    }


def speed(way: Way, peer: str, ways: list[Way], times: dict[str, Times]) -> float | None:
    """Return the speed as a multiple of a peer's on the same kind of samples, or on float32 where that is missing."""
    for source in (way.source, "float32"):
        for other in ways:
            if (other.peer, other.source) == (peer, source):
                return times[other.name].ratio(times[way.name]) * way.n_clips / other.n_clips
    return None


def main() -> None:
    """Check, time, append the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=sorted(BATCHES), default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="threads of the CPU")
    parser.add_argument("--presets", nargs="*", choices=sorted(FRONT_ENDS), default=TIMED)
    parser.add_argument("--batches", nargs="*", type=int)
    options = parser.parse_args()
    device = options.device
    demand(device)
    without_tf32()
    torch.set_num_threads(options.threads)
    if device == "cpu":
        from threadpoolctl import threadpool_limits  # imported here, since a bare GPU machine lacks it

        threadpool_limits(options.threads)  # limits librosa's BLAS
    where, roofs = machine(device, packages(device)), {"device": copy_rate(device)}
    if device == "cuda":
        roofs["pinned"] = copy_rate(device, pinned=True)
    left_out = []
    with torch.inference_mode():
        for preset in options.presets:
            for n_clips in options.batches or BATCHES[device]:
                rows, wrong = measure(preset, n_clips, device, roofs)
                if rows:
                    write_rows("features", rows, where)  # written now, since a later batch may fail
                left_out += wrong
    if left_out:
        raise SystemExit("\n".join(["left out:", *left_out]))


if __name__ == "__main__":
    main()
