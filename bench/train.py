"""Seconds per training step of a recipe, and what an epoch of ESC-50's four training folds would take with it."""

import argparse
import time

import numpy as np
import torch
from torch.nn import functional as F

from cumel.esc50.device import choose, describe, place
from cumel.esc50.recipes import RECIPES
from cumel.esc50.train import step

from timing import spread, write_rows

CLIPS = 1600  # in four folds
DOCUMENT = {"cuda": 12 * 60 / 20, "cpu": 3 * 3600 / 20}  # seconds per epoch in the student report


def main() -> None:
    """Check that the loss falls on a batch seen again and again, time the steps, append the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="quick")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    recipe, device = RECIPES[options.recipe], choose(options.device)
    torch.manual_seed(0)
    net = place(recipe.build(50, mean=-20.0, std=20.0), device).train()
    optimizer = recipe.optimizer(net)
    x = torch.rand(recipe.batch_size, *recipe.input_shape, device=device) * (255 if recipe.kind == "image" else 80)
    labels = F.one_hot(torch.arange(recipe.batch_size, device=device) % 50, 50).float()
    losses, seconds = [], []
    for _ in range(options.steps + 2):
        start = time.perf_counter()
        losses.append(step(net, optimizer, x, labels, recipe, mixing=recipe.augment))  # reads the loss: synchronises
        seconds.append(time.perf_counter() - start)
    if not min(losses[2:]) < losses[0]:
        raise SystemExit(f"the loss does not fall ({losses[0]:.2f} to {min(losses[2:]):.2f}): not timed")
    median = float(np.median(seconds[2:]))
    write_rows(
        "train",
        [
            {
                "op": f"training step, recipe {options.recipe}",
                "device_used": describe(device),
                "batch": recipe.batch_size,
                "seconds_per_step": median,
                "spread_s": spread(seconds[2:]),
                "clips_per_s": recipe.batch_size / median,
                "epoch_s": CLIPS / recipe.batch_size * median,
                "documents_epoch_s": DOCUMENT[device.type],
            }
        ],
    )


if __name__ == "__main__":
    main()
