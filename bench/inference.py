"""Measures the front end inside ONNX graphs on one thread: its distance from librosa, then its time.

It is timed alone and with a network. Peers are the same front end by torch.stft, in torch and exported with the
operator STFT, and whole networks in torch and as int8.
"""

import argparse
import math
from collections.abc import Callable
from importlib.metadata import packages_distributions

import numpy as np
import onnxruntime
import torch
from onnxscript import ir
from torch import Tensor, nn

from cumel.esc50.training.recipes import RECIPES, Recipe
from cumel.esc50.verify import librosa_log_mel
from cumel.export.check.frontend import signals
from cumel.export.graph.frontend import prepend, standalone
from cumel.export.graph.interface import Interface
from cumel.export.graph.network import Classifier, to_onnx
from cumel.export.graph.quantize import quantized
from cumel.kernels import FeatureConfig, log_mel
from cumel.kernels.filterbank import mel_matrix, window
from cumel.kernels.tolerance import DEPTH_DB, NOISE_DB, NOISY, NOISY_DB, TONAL_DB

from timing import FRONT_ENDS, compare, machine, write_rows

SECONDS = 5.0
PROBABILITY = {"fp32": 1e-3, "int8": 0.2}  # untrained networks
BAR = 0.35  # demanded share of the time of a graph with STFT


class Eager(nn.Module):
    """The front end as one would write it in torch, for recipes of kind logmel."""

    def __init__(self, cfg: FeatureConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.register_buffer("window", torch.from_numpy(window(cfg).astype(np.float32)))
        self.register_buffer("mel", torch.from_numpy(mel_matrix(cfg).astype(np.float32)))

    def forward(self, y: Tensor) -> Tensor:
        """Return decibels [batch, 1, n_mels, n_frames]."""
        cfg = self.cfg
        options = {"center": cfg.center, "pad_mode": cfg.pad_mode, "return_complex": True}
        stft = torch.stft(y, cfg.n_fft, cfg.hop_length, window=self.window, **options)
        power = torch.view_as_real(stft).square().sum(dim=-1)
        db = (10.0 / math.log(10.0)) * (self.mel @ power).clamp(min=cfg.amin).log()
        if cfg.top_db is not None:
            db = torch.maximum(db, db.amax(dim=(1, 2), keepdim=True) - cfg.top_db)
        return db[:, None]


def session(model: ir.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that runs a model on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    content = ir.to_proto(model).SerializeToString()
    loaded = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = loaded.get_inputs()[0].name
    return lambda y: loaded.run(None, {name: y})[0]


def where() -> dict[str, str]:
    """Describe the machine, with the version of the ONNX Runtime that is installed."""
    runtime = packages_distributions()["onnxruntime"][0]
    return machine(packages=(runtime, "onnx", "torch", "librosa"))


def parity() -> None:
    """Compare the graph of every preset with librosa."""
    rows = []
    for preset, cfg in FRONT_ENDS.items():
        n_samples = round(SECONDS * cfg.sr)
        model = standalone(cfg, n_samples)
        run = session(model)
        row = {"preset": preset, "nodes": len(model.graph), "kib": len(ir.to_proto(model).SerializeToString()) / 1024}
        for name, y in signals(n_samples, cfg.sr).items():
            expected = librosa_log_mel(y.astype(np.float64), cfg)
            floor = expected.max() - DEPTH_DB
            error = np.abs(np.maximum(run(y[None])[0, 0], floor) - np.maximum(expected, floor))
            row[f"{name}_db"] = float(error.max())
            limit = NOISY_DB if name in NOISY else TONAL_DB
            if not error.max() <= limit:
                raise SystemExit(f"{preset}, {name}: {error.max():.1e} dB from librosa, more than {limit:g}")
        rows.append(row)
    write_rows("inference_parity", rows, where())


def timed(topic: str, calls: dict[str, Callable[[], object]], sizes: dict[str, int], rounds: int) -> list[dict]:
    """Time the calls in turn, and return a row for each; ratios are medians over rounds."""
    times = compare(calls, rounds=rounds)
    first = next(iter(times))
    return [
        {
            "op": topic,
            "peer": name,
            **seconds.columns("ms_per_clip", 1e3),
            f"paired_of_{first}": seconds.ratio(times[first]),
            "kib": sizes.get(name, 0) / 1024,
        }
        for name, seconds in times.items()
    ]


def n_bytes(model: ir.Model) -> int:
    """Return the size of a model's file."""
    return len(ir.to_proto(model).SerializeToString())


def frontends(preset: str, rounds: int) -> list[dict]:
    """Time the front end alone, on one clip."""
    cfg = FRONT_ENDS[preset]
    n_samples = round(SECONDS * cfg.sr)
    y = signals(n_samples, cfg.sr)["noise"][None]
    eager = Eager(cfg).eval()
    models = {"STFT op": to_onnx(eager, (n_samples,)), "cumel in ONNX": standalone(cfg, n_samples)}
    models["cumel in ONNX, fixed length"] = standalone(cfg, n_samples, interface=Interface(samples=n_samples))
    assert "STFT" in [node.op_type for node in models["STFT op"].graph]
    runs = {name: session(model) for name, model in models.items()}
    runs["torch.stft eager"] = lambda y: eager(torch.from_numpy(y)).numpy()
    runs["cumel on the CPU"] = lambda y: log_mel(y, cfg)[:, None]
    expected = librosa_log_mel(y[0].astype(np.float64), cfg)
    for name, run in runs.items():
        error = np.abs(run(y)[0, 0] - expected).max()
        if not error <= NOISE_DB:
            raise SystemExit(f"{name}: {error:.1e} dB from librosa: not timed")
    calls = {name: lambda run=run: run(y) for name, run in runs.items()}
    sizes = {name: n_bytes(model) for name, model in models.items()}
    return timed(f"front end, {preset}", calls, sizes, rounds)


def end_to_end(name: str, rounds: int) -> list[dict]:
    """Time one clip from waveform to probabilities, with an untrained network."""
    recipe: Recipe = RECIPES[name]
    cfg, n_samples = recipe.features, recipe.n_samples
    torch.manual_seed(0)
    net = Classifier(recipe.build(50, mean=-30.0, std=20.0)).eval()
    y = signals(n_samples, cfg.sr)["noise"][None]
    rng = np.random.default_rng(0)
    clips = (rng.standard_normal((16, n_samples)) * 10 ** rng.uniform(-3, 0, (16, 1))).astype(np.float32)
    eager = Eager(cfg).eval()

    def features(y: np.ndarray) -> Tensor:
        db = eager(torch.from_numpy(y))
        if recipe.kind == "logmel":
            return db
        low, high = db.amin(dim=(1, 2, 3), keepdim=True), db.amax(dim=(1, 2, 3), keepdim=True)
        return ((db - low) * (255.0 / (high - low) * 1.0000002)).floor()

    models = {"fp32": to_onnx(net, recipe.input_shape)}
    models["int8"] = quantized(models["fp32"], features(clips).numpy())
    for model in models.values():
        prepend(model.graph, cfg, n_samples, recipe.kind)
    runs = {"torch eager": lambda y: net(features(y)).numpy()}
    runs |= {f"ONNX Runtime, {precision}": session(model) for precision, model in models.items()}
    expected = runs["torch eager"](y)
    for precision, allowed in PROBABILITY.items():
        error = np.abs(runs[f"ONNX Runtime, {precision}"](y) - expected).max()
        if not error <= allowed:
            raise SystemExit(f"{name}, {precision}: a probability is {error:.1e} from torch's: not timed")
    calls = {peer: lambda run=run: run(y) for peer, run in runs.items()}
    sizes = {f"ONNX Runtime, {precision}": n_bytes(model) for precision, model in models.items()}
    return timed(f"waveform to probabilities, {name}", calls, sizes, rounds)


def main() -> None:
    """Check, time, append the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--recipes", nargs="*", choices=sorted(RECIPES), default=["quick", "baseline"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    parity()
    with torch.inference_mode():
        rows = [row for preset in ("esc50", "compact") for row in frontends(preset, options.rounds)]
        write_rows("inference_frontend", rows, where())
        if not rows[1]["paired_of_STFT op"] <= BAR:
            print(f"front end: {rows[1]['paired_of_STFT op']:.2f} of the time of the STFT operator, {BAR} is the bar")
        rows = [row for name in options.recipes for row in end_to_end(name, options.rounds)]
        write_rows("inference", rows, where())


if __name__ == "__main__":
    main()
