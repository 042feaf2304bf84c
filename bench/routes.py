"""Times clips in memory to probabilities, by torch and by ONNX Runtime on both routes; checks against torch first.

The route ``graph`` runs the model with its front end inside; ``kernels`` runs our own front end, then the rest of that
model. On a GPU, clips and probabilities stay on the device, and CUDA graphs are timed too, as is TensorRT where it is
installed.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cumel.esc50.datasets import FEATURES
from cumel.esc50.training.checkpoint import Checkpoint
from cumel.esc50.training.recipes import RECIPES, Recipe
from cumel.export import export_onnx
from cumel.export.runtime.model import Model, load_model
from cumel.export.runtime.providers import lacking

from peers import without_tf32
from timing import SLICE, compare, demand, machine, write_rows

# Largest error of a probability; a CPU has 3e-7. SHARPER multiplies rounding errors by 100, and a GPU may choose
# another algorithm for a convolution, such as Winograd's with errors of 1e-5 of a value. No GPU has run this yet.
TOLERANCE = {"cpu": 1e-4, "cuda": 1e-2}
SHARPER = 100.0  # factor on the last layer, without which an untrained network gives all clips the same answer
BATCHES = {"cpu": (1, 16, 64), "cuda": (1, 64, 1024)}
SINGLE = 20  # single clips in each round, timed one by one
PACKAGES = ("torch", "onnxruntime-gpu")

Call = Callable[[Any], Any]


def probabilities(net: nn.Module, recipe: Recipe) -> Call:
    """Return torch's way: our features, the network, softmax."""

    def compute(y: Tensor) -> Tensor:
        with torch.inference_mode():
            return net(FEATURES[recipe.kind](y, recipe.features)[:, None].float()).softmax(dim=1)

    return compute


def by_session(model: Model) -> Call:
    """Return a function that runs a loaded model on tensors on their own device."""

    def compute(y: Tensor) -> Tensor:
        with torch.inference_mode():
            return model.answer(y)

    return compute


def replayed(model: Model, shape: tuple[int, int]) -> Call:
    """Return a function that replays a loaded model as a CUDA graph, after the features of the kernels route."""
    bound = model.session.bound((shape[0], *model.session.input.shape[1:]))

    def compute(y: Tensor) -> Tensor:
        with torch.inference_mode():
            bound.input.copy_(model.entrance(y))
            return bound.run()

    return compute


def peers(
    recipe: Recipe, net: nn.Module, path: Path, device: str, batch: int, compiled: nn.Module | None
) -> dict[str, Call]:
    """Return every way to classify a batch."""
    ways: dict[str, Call] = {"torch eager": probabilities(net, recipe)}
    if compiled is not None:
        ways["torch.compile"] = probabilities(compiled, recipe)
    for route in ("graph", "kernels"):
        ways[f"ONNX Runtime, {route}"] = by_session(load_model(path, provider=device, route=route))
    if device == "cuda":
        shape = (batch, recipe.n_samples)
        for route in ("graph", "kernels"):
            stream = torch.cuda.Stream()
            fixed = load_model(path, provider=device, route=route, batch=batch, stream=stream, cuda_graph=True)
            ways[f"ONNX Runtime, {route}, CUDA graph"] = replayed(fixed, shape)
        if lacking("tensorrt") is None:
            for route in ("graph", "kernels"):
                ways[f"TensorRT, {route}"] = by_session(load_model(path, provider="tensorrt", route=route, batch=batch))
    return ways


def clips(recipe: Recipe, n: int) -> np.ndarray:
    """Make `n` clips: a tone of its own pitch in each, in noise."""
    rng, seconds = np.random.default_rng(0), np.arange(recipe.n_samples) / recipe.features.sr
    hz = rng.uniform(100, 0.4 * recipe.features.sr, (n, 1))
    noise = 0.01 * rng.standard_normal((n, recipe.n_samples), dtype=np.float32)
    return (0.3 * np.sin(2 * np.pi * hz * seconds) + noise).astype(np.float32)


def waiting(call: Call, y: Tensor) -> Callable[[], object]:
    """Return a function that calls, and waits until the answer is computed."""
    if y.device.type == "cpu":
        return lambda: call(y)

    def compute() -> None:
        call(y)
        torch.cuda.synchronize()

    return compute


def latencies(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """Time single calls, `SINGLE` in a row in each round; return the seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            for _ in range(SINGLE):
                start = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - start)
    return {name: np.array(samples) for name, samples in seconds.items()}


def measure(
    recipe: Recipe, path: Path, net: nn.Module, device: str, rounds: int, compiles: bool
) -> list[dict[str, Any]]:
    """Check, then time every batch size; single clips also have percentiles of their latency."""
    rows = []
    compiled = torch.compile(net, dynamic=False) if compiles else None
    for batch in BATCHES[device]:
        y = torch.from_numpy(clips(recipe, batch)).to(device)
        ways = peers(recipe, net, path, device, batch, compiled)
        expected = ways["torch eager"](y).cpu().numpy()
        worst = {name: float(np.abs(way(y).cpu().numpy() - expected).max()) for name, way in ways.items()}
        if batch > 1 and not np.ptp(expected, axis=0).max() > 0.1:
            raise SystemExit("the network gives every clip the same answer, so agreement would prove nothing")
        for name, error in worst.items():
            if not error <= TOLERANCE[device]:
                raise SystemExit(f"{name}, batch {batch}: {error:.1e} from torch: not timed")
        calls = {name: waiting(way, y) for name, way in ways.items()}
        single = latencies(calls, rounds) if batch == 1 else {}
        times = compare(calls, seconds=SLICE[device], rounds=rounds)
        for name, seconds in times.items():
            p50, p99 = np.percentile(single[name], [50, 99]) * 1e3 if single else ("", "")
            rows.append(
                {
                    "op": f"{recipe.name}, waveform to probabilities, float32",
                    "peer": name,
                    "threads": torch.get_num_threads() if device == "cpu" else "",
                    "batch": batch,
                    **seconds.columns("ms_per_clip", 1e3 / batch),
                    "clips_per_s": batch / seconds.median,
                    "p50_ms": p50,
                    "p99_ms": p99,
                    "paired_speed_of_torch": times["torch eager"].ratio(seconds),
                    "max_difference": worst[name],
                }
            )
    return rows


def main() -> None:
    """Export an untrained network, check, time, append the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="quick")
    parser.add_argument("--device", choices=sorted(BATCHES), default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out: it takes a minute")
    options = parser.parse_args()
    demand(options.device)
    without_tf32()  # ONNX Runtime computes without it as well
    recipe = RECIPES[options.recipe]
    torch.manual_seed(0)
    net = recipe.build(50).eval()
    with torch.no_grad():
        last = [layer for layer in net.modules() if isinstance(layer, nn.Linear)][-1]
        last.weight *= SHARPER
    state = {"model": net.state_dict(), "ema": None, "optimizer": {}, "scheduler": None}
    labels = tuple(f"class_{i}" for i in range(50))
    where = machine(options.device, PACKAGES)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.onnx"
        Checkpoint(recipe=recipe, labels=labels, fold=1, seed=0, epoch=0, **state).save(Path(place))
        export_onnx(Path(place), path)
        net = net.to(options.device)
        rows = measure(recipe, path, net, options.device, options.rounds, not options.no_compile)
    write_rows("routes", rows, where)


if __name__ == "__main__":
    main()
