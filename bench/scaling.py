"""Measures how the cost of a log-mel spectrogram grows with clip length, clips at once, n_fft, n_mels and threads.

Each axis changes one number of the esc50 preset. A fitted exponent of 1 means that the cost grows in proportion. Peers
stop at a minute, since they keep the spectra of a whole clip in memory.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cumel.esc50.system.pipeline import CORES
from cumel.kernels import PRESETS, FeatureConfig, log_mel
from cumel.kernels.tolerance import TONAL_DB

from peers import LogMel, in_parts, librosas_log_mel, packages, torchaudio_log_mel, true_log_mel, without_tf32
from timing import Times, compare, demand, machine, peak_mb, write_rows

CFG = PRESETS["esc50"]
CLIP_S = 5
LENGTHS = (1, 4, 15, 60, 600, 7200)  # seconds
PEERS_UP_TO_S = 60
CLIPS = {"cpu": (1, 4, 16, 32), "cuda": (1, 4, 16, 64, 256, 1024, 4096)}
N_FFT = (256, 512, 1024, 2048, 4096)
N_MELS = (16, 32, 64, 128, 256)
# Smallest values that are fitted: on a GPU, one short clip costs a kernel launch, whatever its length.
FROM = {("cuda", "clips at once"): 64, ("cuda", "clip length, s"): 60}
BRIEF = 0.2  # seconds for each round


@dataclass(frozen=True)
class Point:
    """A point on an axis, where the cost is measured."""

    axis: str
    value: int
    cfg: FeatureConfig
    n_clips: int
    seconds: int
    threads: int
    peers: bool = True


def points(device: str, threads: int) -> Iterator[Point]:
    """Yield the points of all axes."""
    for seconds in LENGTHS:
        yield Point("clip length, s", seconds, CFG, 1, seconds, threads, seconds <= PEERS_UP_TO_S)
    for n_clips in CLIPS[device]:
        yield Point("clips at once", n_clips, CFG, n_clips, CLIP_S, threads)
    several = 1 if device == "cpu" else 256
    for n_fft in N_FFT:
        yield Point("n_fft", n_fft, CFG.replace(n_fft=n_fft, n_mels=16, n_mfcc=16), several, CLIP_S, threads)
    for n_mels in N_MELS:
        yield Point("n_mels", n_mels, CFG.replace(n_mels=n_mels, n_mfcc=1), several, CLIP_S, threads)
    for n_threads in (2**i for i in range(CORES.bit_length()) if device == "cpu"):
        yield Point("threads", n_threads, CFG, 16, CLIP_S, n_threads)


def ways(point: Point, device: str) -> dict[str, LogMel]:
    """Return the functions that are timed at a point."""
    own: dict[str, LogMel] = {"cumel": partial(log_mel, cfg=point.cfg)}
    if not point.peers:
        return own
    peers = {"torchaudio": in_parts(torchaudio_log_mel(point.cfg, device))}
    return peers | ({"librosa": librosas_log_mel(point.cfg)} if device == "cpu" else {}) | own


def check(name: str, out: Tensor, y: Tensor, cfg: FeatureConfig) -> None:
    """Compare the first and the last second of the last clip with librosa; stop when either is wrong."""
    n_frames, settled = out.shape[2], -(-cfg.n_fft // cfg.hop_length)  # frames that a cut changes
    begin = min(n_frames, cfg.sr // cfg.hop_length)
    first = true_log_mel(y[-1, : begin * cfg.hop_length].cpu().numpy().astype(float), cfg)
    last = true_log_mel(y[-1, (n_frames - begin) * cfg.hop_length :].cpu().numpy().astype(float), cfg)
    db = out[-1].double().cpu().numpy()
    n = begin - settled
    for part, expected in ((db[:, :n], first[:, :n]), (db[:, -n:], last[:, -n:])):
        error = np.abs(part - expected).max()
        if not error <= TONAL_DB:
            raise SystemExit(f"{name}: {error:.1e} dB from librosa, more than {TONAL_DB}: not timed")


def measure(point: Point, device: str) -> dict[str, tuple[Times, float]]:
    """Check, then time every way at a point; return its times and its memory in MB."""
    if device == "cpu":
        torch.set_num_threads(point.threads)
    noise = torch.Generator(device).manual_seed(0)
    y = 0.1 * torch.randn(point.n_clips, point.seconds * point.cfg.sr, generator=noise, device=device)
    memory, calls = {}, {}
    with limited_threads(point.threads, device):
        for name, way in ways(point, device).items():
            calls[name] = partial(way, y)
            memory[name], out = peak_mb(calls[name], device)
            check(f"{name}, {point.axis} {point.value}", out, y, point.cfg)
            del out
        times = compare(calls, device=device, seconds=BRIEF if device == "cpu" else None)
    return {name: (times[name], memory[name]) for name in calls}


def limited_threads(n: int, device: str) -> AbstractContextManager[object]:
    """Limit the threads of librosa's BLAS on the CPU, where librosa is a peer."""
    if device != "cpu":
        return nullcontext()
    from threadpoolctl import threadpool_limits  # imported here, since a bare GPU machine lacks it

    return threadpool_limits(n)


def fit(values: Sequence[float], costs: Sequence[float]) -> tuple[float, float]:
    """Fit cost ~ value^exponent by least squares of the logarithms.

    Returns
    -------
    exponent : float
    worst_factor : float
        Distance of the worst point from the fitted line, as a factor.
    """
    x, y = np.log(values), np.log(costs)
    slope, start = np.polyfit(x, y, 1)
    return float(slope), float(np.exp(np.abs(y - (start + slope * x)).max()))


def main() -> None:
    """Measure every axis, append the rows, then the exponents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=sorted(CLIPS), default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="threads of the CPU, except on the axis of threads")
    options = parser.parse_args()
    device = options.device
    demand(device)
    without_tf32()
    where, rows = machine(device, packages(device)), []
    with torch.inference_mode():
        for point in points(device, options.threads):
            for name, (times, memory) in measure(point, device).items():
                place = {"axis": point.axis, "peer": name, "value": point.value}
                rows.append(place | times.columns("ms", 1e3) | {"peak_mb": memory})
    write_rows("scaling", rows, where)
    write_rows("scaling_exponents", exponents(rows, device), where)


def exponents(rows: list[dict[str, Any]], device: str) -> list[dict[str, Any]]:
    """Fit each peer's cost along each axis."""
    lines: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in rows:
        lines.setdefault((row["axis"], row["peer"]), []).append((row["value"], row["ms"]))
    fitted = []
    for (axis, peer), costs_of in lines.items():
        line = [point for point in costs_of if point[0] >= FROM.get((device, axis), 0)]
        if len(line) > 1:
            values, costs = zip(*line, strict=True)
            exponent, factor = fit(values, costs)
            ends = {"first": values[0], "last": values[-1]}
            fitted.append({"axis": axis, "peer": peer, **ends, "exponent": exponent, "worst_factor": factor})
    return fitted


if __name__ == "__main__":
    main()
