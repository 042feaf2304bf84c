"""Times training steps in one process and in several, and computes the time of an epoch on four folds of ESC-50.

`--threads` gives the threads of each process; `torchrun` starts several processes. A step includes augmentation,
forward and backward pass, averaging of gradients, optimiser and moving average.
"""

import argparse
import copy
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.autograd import DeviceType

from cumel.esc50.system.device import choose, describe, fast_bf16, to_device
from cumel.esc50.training.data import Batches, TrainingData
from cumel.esc50.training.distributed import SOLO, Replica, World, local_device, process_group
from cumel.esc50.training.loop import step, update_ema
from cumel.esc50.training.recipes import RECIPES, Recipe

from timing import Times, machine, write_rows

CLIPS, CLASSES = 1600, 50  # clips in four folds, and their classes
BASELINE = {"cuda": 12 * 60 / 20, "cpu": 3 * 3600 / 20}  # seconds per epoch in the student report
WARM_UP = 2  # steps that do not count


class Trainer:
    """A recipe's network and optimiser, with batches of noise."""

    def __init__(self, recipe: Recipe, device: torch.device, world: World) -> None:
        rng, n_clips = np.random.default_rng(0), 4 * recipe.batch_size
        shape = (n_clips, *recipe.input_shape)
        image = recipe.kind == "image"
        features = rng.integers(0, 256, shape, np.uint8) if image else rng.uniform(-60, 20, shape).astype(np.float32)
        samples = rng.integers(-9999, 9999, (n_clips, recipe.n_samples), np.int16) if recipe.augment == "wave" else None
        torch.manual_seed(0)
        self.recipe, self.device = recipe, device
        self.net = to_device(recipe.build(CLASSES, mean=-20.0, std=20.0), device).train()
        self.average = copy.deepcopy(self.net) if recipe.ema_decay else None
        self.alone_net = copy.deepcopy(self.net)
        self.alone = Replica(self.alone_net)  # a replica that exchanges nothing
        self.alone_optimizer = recipe.optimizer(self.alone_net)
        self.optimizer = recipe.optimizer(self.net)
        data, targets = TrainingData(features, samples), [i % CLASSES for i in range(n_clips)]
        batches = Batches(data, np.eye(CLASSES, dtype=np.float32)[targets], recipe, device, world)
        order = torch.Generator().manual_seed(0)
        mixing = recipe.augment != "none"
        self.batches = itertools.chain.from_iterable(batches.epoch(order, mixing) for _ in itertools.count())
        self.replica = world.replica(self.net)
        if device.type == "cuda":
            self.replica.net = torch.compile(self.replica.net)

    def check(self) -> None:
        """Exit unless the loss falls on a batch that is repeated: a network that does not learn is not timed."""
        x, labels, _ = next(self.batches)
        losses = [float(step(self.replica, self.optimizer, x, labels, self.recipe.precision)) for _ in range(6)]
        if not min(losses[1:]) < losses[0]:
            raise SystemExit(f"the loss does not fall ({losses[0]:.2f} to {min(losses[1:]):.2f}): not timed")

    def time_step(self, *, alone: bool = False) -> tuple[float, float]:
        """Return the seconds of a step, and of making its batch."""
        replica, optimizer = (self.alone, self.alone_optimizer) if alone else (self.replica, self.optimizer)
        start = time.perf_counter()
        x, labels, share = next(self.batches)
        self._wait()
        batch_end = time.perf_counter()
        step(replica, optimizer, x, labels, self.recipe.precision, share)
        if self.average is not None:
            update_ema(self.average, self.net, self.recipe.ema_decay, 1000)
        self._wait()
        return time.perf_counter() - start, batch_end - start

    def busy_share(self, n_steps: int) -> float | None:
        """Return the share of the time in which the GPU computes, measured by torch's profiler; None on a CPU."""
        if self.device.type != "cuda":
            return None
        with torch.profiler.profile() as profile:
            start = time.perf_counter()
            for x, labels, share in itertools.islice(self.batches, n_steps):
                step(self.replica, self.optimizer, x, labels, self.recipe.precision, share)
                if self.average is not None:
                    update_ema(self.average, self.net, self.recipe.ema_decay, 1000)
            self._wait()
            seconds = time.perf_counter() - start
        kernels = [
            event
            for event in profile.key_averages()
            if event.device_type == DeviceType.CUDA and not event.is_user_annotation  # kernels are counted once
        ]
        return sum(event.self_device_time_total for event in kernels) / 1e6 / seconds

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def measure(recipe: Recipe, device: torch.device, n_steps: int, world: World) -> dict[str, Any]:
    """Time steps. With several processes, time steps that exchange nothing as well, in turn."""
    trainer = Trainer(recipe, device, world)
    trainer.check()
    together, local, making = [], [], []
    for i in range(n_steps + WARM_UP):
        seconds, making_batch = trainer.time_step()
        if world.size > 1:
            alone, _ = trainer.time_step(alone=True)
        if i >= WARM_UP:
            together.append(seconds)
            making.append(making_batch / seconds)
            local += [alone] if world.size > 1 else []
    times = Times([np.array(together)])
    communication = 1 - float(np.median(local)) / times.median if local else 0.0
    return {
        "op": f"training step, recipe {recipe.name}, model {recipe.model}",
        "device_used": describe(device),
        "precision": recipe.precision if fast_bf16(device) else "fp32",
        "processes": f"{world.size} {world.engine}" if world.size > 1 else "1",
        "batch": recipe.batch_size,
        **times.columns("seconds_per_step", 1.0),
        "clips_per_s": recipe.batch_size / times.median,
        "communication": communication,
        "making_the_batch": float(np.median(making)),
        "gpu_busy": trainer.busy_share(n_steps),
        "epoch_s": CLIPS / recipe.batch_size * times.median,
        "reports_epoch_s": BASELINE[device.type] if recipe.name == "baseline" else None,
    }


def started(arguments: list[str], engine: str, processes: int) -> dict[str, Any]:
    """Start this file with `torchrun`, and return the row of its processes."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [*torchrun, str(Path(__file__)), *arguments, "--worker", engine]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Check, time, append the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="quick")
    parser.add_argument("--model", help="a model instead of the recipe's")
    parser.add_argument("--precision", help="a precision instead of the recipe's")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, help="threads of each process")
    parser.add_argument("--scaling", type=int, metavar="N", help="also time N processes, with ddp and with ring")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    changes = {name: getattr(options, name) for name in ("model", "precision") if getattr(options, name)}
    recipe = RECIPES[options.recipe].replace(**changes)
    device = choose(local_device(options.device))
    if options.worker:
        with process_group(options.worker) as world:
            row = measure(recipe, device, options.steps, world)
        if world.is_main:
            print(json.dumps(row), flush=True)
        return
    rows = [measure(recipe, device, options.steps, SOLO)]
    if options.scaling:
        rows += [started(sys.argv[1:], engine, options.scaling) for engine in ("ddp", "ring")]
    write_rows("train", rows, machine(str(device)))


if __name__ == "__main__":
    main()
