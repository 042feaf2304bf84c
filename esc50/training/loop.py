"""The training loop, from a dataset to a checkpoint, in one function to read from top to bottom."""

from __future__ import annotations

import copy
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...kernels import CumelError
from ..datasets import Dataset, Fold
from ..system import autocast, bar, defaults, describe, fast_bf16, replacing, say, to_device, why_eager
from .checkpoint import NAME, Checkpoint, to_continue
from .data import Batches, TrainingData, prepare
from .distributed import SOLO, Replica, World
from .evaluation import accuracy, probabilities
from .log import RunLog
from .models import count_parameters
from .recipes import Recipe

SCORES = "scores.npy"  # probabilities after the last epoch, [n_test, n_classes]
UNMIXED = 0.05  # share of the epochs, at the end, that see whole unmixed clips
SAVE_SECONDS = 20.0  # least time between two checkpoints; the last epoch's is always written


@defaults()
def train(
    data: Dataset,
    out: Path,
    recipe: Recipe,
    fold: Fold,
    device: torch.device,
    *,
    seed: int = 0,
    resume: bool = False,
    workers: int = 2,
    training_data: TrainingData | None = None,
    world: World = SOLO,
) -> dict[str, Any]:
    """Train on every fold but one, and report the last epoch's accuracy on that one.

    The run folder `out` gets a checkpoint every 20 s and at the end, log.jsonl with a line per epoch, and
    learning.png. On the CPU a resumed run ends with the very weights of an uninterrupted one: all randomness of an
    epoch derives from the seed and its number.

    Parameters
    ----------
    data : Dataset
    out : Path
        The run's folder; made if missing.
    recipe : Recipe
    fold : int, str or None
        The fold held out for testing; None for none, and then no accuracy is measured.
    device : torch.device
    seed : int
    resume : bool
        Continue the run in `out`, which must have the same recipe, fold, seed, labels, clips and processes.
    workers : int
        Threads that decode.
    training_data : TrainingData, optional
        Features of all clips; computed when absent.
    world : World
        The processes that train together; each calls this with the same arguments, the first one reports.

    Returns
    -------
    dict
        The report: recipe, fold, clips, accuracy of the last epoch, seconds, device, checkpoint.

    Raises
    ------
    CumelError
        When `out` holds a run and `resume` is not asked for, or the other way round, or the two differ; when training
        diverges.
    """
    if not 0 <= seed < 2**31:
        raise CumelError(f"seed={seed}: must be between 0 and {2**31 - 1}")
    train_set, test_set = data.split(fold)
    identity = {"recipe": recipe, "fold": fold, "seed": seed, "labels": data.labels, "data": data.fingerprint}
    identity["processes"] = world.size
    previous = to_continue(out, resume, identity)
    eager = why_eager(device)
    if device.type == "cuda" and world.is_main:
        say(
            "the network is compiled before its first step: a minute or two"
            if eager is None
            else f"not compiled: {eager}"
        )
    started = time.monotonic()
    if training_data is None:
        training_data = prepare(data, recipe, workers, device, world)
    prepared = time.monotonic() - started
    targets = np.array([clip.target for clip in data.clips])
    seen = training_data.of(train_set)  # statistics come from the training folds alone
    scale = {}
    if recipe.kind == "logmel":
        scale = {"mean": float(seen.features.mean()), "std": max(float(seen.features.std()), 1e-3)}

    torch.manual_seed(seed)
    net = to_device(recipe.build(len(data.labels), **scale), device)
    average = copy.deepcopy(net) if recipe.ema_decay else None
    optimizer = recipe.optimizer(net)
    batches = Batches(seen, targets[train_set].tolist(), len(data.labels), recipe, device, world)
    scheduler = recipe.scheduler(optimizer, batches.n_batches)
    tested = torch.from_numpy(training_data.features[test_set]).to(device)
    log = RunLog(out, [] if previous is None else previous.history) if world.is_main else None
    done = 0
    if previous is not None:
        done = previous.epoch
        previous.restore(net, average, optimizer, scheduler)
    replica = world.replica(net)
    if eager is None:
        replica.net = torch.compile(replica.net, dynamic=False)  # a batch has one of two sizes

    order, steps, saved = torch.Generator(), done * batches.n_batches, time.monotonic()
    with bar("training", (recipe.epochs - done) * batches.n_batches, "batches", quiet=not world.is_main) as advance:
        for epoch in range(done, recipe.epochs):
            epoch_started = time.monotonic()
            torch.manual_seed((seed * 100_003 + epoch + 1) * 1009 + world.rank)
            order.manual_seed(seed * 100_003 + epoch + 1)  # every process deals the same batches
            mixing = epoch < round(recipe.epochs * (1 - UNMIXED))
            total = torch.zeros((), device=device)
            net.train()
            for x, labels, share in batches.epoch(order, mixing):
                total += step(replica, optimizer, x, labels, recipe.precision, share)
                if average is not None:
                    update_ema(average, net, recipe.ema_decay, steps)
                if scheduler is not None:
                    scheduler.step()
                steps += 1
                advance()
            replica.mean_(total)
            replica.mean_statistics(net, *([] if average is None else [average]))
            loss = float(total) / batches.n_batches
            if not (loss < math.inf and all(bool(weight.isfinite().all()) for weight in net.parameters())):
                raise CumelError(
                    f"epoch {epoch + 1}: training diverged (loss {loss:g}); use a lower --lr than {recipe.lr:g}"
                )
            last = epoch + 1 == recipe.epochs
            if log is None:
                continue
            right = None
            if test_set and (last or (epoch + 1) % recipe.test_every == 0):
                judged, views = net if average is None else average, recipe.views if last else 1
                scores = probabilities(judged, tested, recipe.batch_size, recipe.precision, views)
                right = accuracy(scores, targets[test_set])
                if last:
                    with replacing(out / SCORES) as part, part.open("wb") as file:
                        np.save(file, scores)
                advance(0, f"accuracy {right:.3f} after epoch {epoch + 1}")
            log.add(
                {
                    "epoch": epoch + 1,
                    "loss": loss,
                    "accuracy": right,
                    "lr": optimizer.param_groups[0]["lr"],
                    "seconds": round(time.monotonic() - epoch_started, 3),
                }
            )
            if last or time.monotonic() - saved >= SAVE_SECONDS:
                Checkpoint(
                    **identity,
                    epoch=epoch + 1,
                    model=net.state_dict(),
                    ema=None if average is None else average.state_dict(),
                    optimizer=optimizer.state_dict(),
                    scheduler=None if scheduler is None else scheduler.state_dict(),
                    history=log.history,
                ).save(out)
                log.write()
                saved = time.monotonic()

    if log is None:
        return {}
    log.close()
    return {
        "recipe": recipe.name,
        "model": recipe.model,
        "fold": fold,
        "seed": seed,
        "train_clips": len(train_set),
        "test_clips": len(test_set),
        "parameters": count_parameters(net),
        "epochs": len(log.history),
        "accuracy": log.history[-1]["accuracy"],
        "chance": 1 / len(data.labels),
        "feature_seconds": round(prepared, 1),
        "seconds": round(time.monotonic() - started, 1),
        "epoch_seconds": float(np.median([row["seconds"] for row in log.history])),
        "device": describe(device),
        "compiled": eager is None,
        "precision": recipe.precision if fast_bf16(device) else "fp32",
        "processes": f"{world.size} ({world.engine})" if world.size > 1 else 1,
        "checkpoint": str(out / NAME),
    }


def step(
    replica: Replica, optimizer: torch.optim.Optimizer, x: Tensor, labels: Tensor, precision: str, share: float = 1.0
) -> Tensor:
    """Update the weights once; returns the loss as a tensor, so that nothing waits for the device."""
    optimizer.zero_grad(set_to_none=True)
    with autocast(x.device, precision):
        logits = replica.net(x.contiguous(memory_format=torch.channels_last))
    loss = F.cross_entropy(logits.float(), labels) * share
    loss.backward()
    replica.reduce()
    optimizer.step()
    return loss.detach()


@torch.no_grad()
def update_ema(average: nn.Module, net: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights and batch statistics towards the network's, faster during the first steps."""
    share = 1.0 - min(decay, (1 + step) / (10 + step))
    pairs = list(zip(average.state_dict().values(), net.state_dict().values(), strict=True))
    floats = [(mean, value) for mean, value in pairs if mean.is_floating_point()]
    torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
        [mean for mean, _ in floats], [value for _, value in floats], share
    )
    for mean, value in pairs:
        if not mean.is_floating_point():
            mean.copy_(value)
