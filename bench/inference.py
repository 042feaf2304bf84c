"""A network's forward pass in torch and in ONNX Runtime, on the CPU, checked against each other."""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from cumel.esc50.checkpoint import Checkpoint
from cumel.esc50.recipes import RECIPES
from cumel.export.session import Session
from cumel.export.to_onnx import export

from timing import compare, spread, write_rows

TOLERANCE = 1e-4  # of a probability


def main() -> None:
    """Check, time, append the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="quick")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    recipe = RECIPES[options.recipe]
    torch.manual_seed(0)
    net = recipe.build(50).eval()
    state = {"model": net.state_dict(), "ema": None, "optimizer": {}, "scheduler": None}
    labels = tuple(f"class_{i}" for i in range(50))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        Checkpoint(recipe=recipe, labels=labels, fold=1, seed=0, epoch=0, **state).save(folder)
        export(folder, folder / "model.onnx")
        session = Session(folder / "model.onnx", "cpu")
    rows = []
    for batch in (1, 16):
        x = np.random.default_rng(0).uniform(-60, 20, (batch, *recipe.input_shape)).astype(np.float32)
        tensor = torch.from_numpy(x)

        def in_torch(tensor: torch.Tensor = tensor) -> np.ndarray:
            with torch.inference_mode():
                return net(tensor).softmax(dim=1).numpy()

        worst = float(np.abs(in_torch() - session.run(x)).max())
        if not worst <= TOLERANCE:
            raise SystemExit(f"batch {batch}: ONNX Runtime is {worst:.1e} from torch: not timed")
        times = compare({"torch eager": in_torch, "ONNX Runtime": lambda x=x: session.run(x)}, options.rounds)
        for name, seconds in times.items():
            rows.append(
                {
                    "op": f"{options.recipe} network, float32",
                    "peer": name,
                    "threads": torch.get_num_threads(),
                    "batch": batch,
                    "ms_per_clip": float(np.median(seconds)) / batch * 1e3,
                    "spread_ms": spread(seconds) / batch * 1e3,
                    "speed_of_torch": float(np.median(np.array(times["torch eager"]) / np.array(seconds))),
                    "max_difference": worst,
                }
            )
    write_rows("inference", rows)


if __name__ == "__main__":
    main()
