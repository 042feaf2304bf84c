"""The training loop, from a dataset to a checkpoint. It reads from top to bottom."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..kernels import CumelError
from . import augment
from .checkpoint import NAME, Checkpoint
from .dataset import Esc50, load_features, loader, to_device
from .device import autocast, describe, place
from .evaluate import accuracy, probabilities
from .files import replacing
from .models import count_parameters
from .progress import bar
from .recipes import Recipe

LOG = "log.jsonl"
UNMIXED = 0.05  # share of the epochs, at the end, that see whole unmixed clips


def train(
    data: Esc50,
    out: Path,
    recipe: Recipe,
    fold: int,
    device: torch.device,
    *,
    seed: int = 0,
    resume: bool = False,
    workers: int = 2,
    features: NDArray | None = None,
) -> dict[str, Any]:
    """Train on every fold but one, and report the last epoch's accuracy on that one.

    After each epoch the run folder `out` gets a checkpoint and a line in log.jsonl. On the CPU a resumed run ends with
    the very weights of an uninterrupted one: all randomness of an epoch derives from the seed and its number.

    Parameters
    ----------
    data : Esc50
    out : Path
        The run's folder; made if missing.
    recipe : Recipe
    fold : int
        The fold held out for testing.
    device : torch.device
    seed : int
    resume : bool
        Continue the run in `out`, which must have the same recipe, fold, seed, labels and clips.
    workers : int
        Threads that decode.
    features : ndarray [n_clips, 1, n_mels, n_frames], optional
        Of all clips, in the order of `data.clips`; computed when absent.

    Returns
    -------
    dict
        The report: recipe, fold, clips, accuracy of the last epoch, seconds, device, checkpoint.

    Raises
    ------
    CumelError
        When `out` holds a run and `resume` is not asked for, or the other way round, or the two differ.
    """
    if not 0 <= seed < 2**31:
        raise CumelError(f"seed={seed}: must be between 0 and {2**31 - 1}")
    train_set, test_set = data.split(fold)
    previous = _previous(out, resume, recipe, fold, seed, data)
    started = time.monotonic()
    if features is None:
        features = load_features(data, recipe.features, recipe.kind, recipe.seconds, workers, device)
    targets = [clip.target for clip in data.clips]
    known = features[train_set]  # statistics come from the training folds alone
    scale = {"mean": float(known.mean()), "std": max(float(known.std()), 1e-3)} if recipe.kind == "logmel" else {}

    torch.manual_seed(seed)
    net = place(recipe.build(len(data.labels), **scale), device)
    average = copy.deepcopy(net) if recipe.ema_decay else None
    optimizer = recipe.optimizer(net)
    order = torch.Generator()
    batches = loader(known, [targets[i] for i in train_set], recipe.batch_size, order)
    scheduler = _scheduler(optimizer, recipe, len(batches))
    test_batches = loader(features[test_set], [targets[i] for i in test_set], recipe.batch_size)
    history: list[dict[str, Any]] = []
    if previous is not None:
        net.load_state_dict(previous.model)
        optimizer.load_state_dict(previous.optimizer)
        if average is not None and previous.ema is not None:
            average.load_state_dict(previous.ema)
        if scheduler is not None and previous.scheduler is not None:
            scheduler.load_state_dict(previous.scheduler)
        history = previous.history

    steps = len(history) * len(batches)
    for epoch in range(len(history), recipe.epochs):
        epoch_started = time.monotonic()
        torch.manual_seed(seed * 100_003 + epoch + 1)
        order.manual_seed(seed * 100_003 + epoch + 1)
        mixing = recipe.augment and epoch < round(recipe.epochs * (1 - UNMIXED))
        loss = 0.0
        with _epoch_bar(epoch, recipe.epochs, history, len(batches)) as advance:
            net.train()
            for batch, target in batches:
                x, y = to_device(batch, target, device)
                loss += step(net, optimizer, x, F.one_hot(y, len(data.labels)).float(), recipe, mixing)
                if average is not None:
                    _follow(average, net, recipe.ema_decay, steps)
                steps += 1
                if scheduler is not None:
                    scheduler.step()
                advance()
        if not (loss < math.inf and all(bool(weight.isfinite().all()) for weight in net.parameters())):
            raise CumelError(
                f"epoch {epoch + 1}: training diverged (loss {loss:g}); use a lower --lr than {recipe.lr:g}"
            )
        judged = net if average is None else average
        views = recipe.views if epoch + 1 == recipe.epochs else 1
        scores, truth = probabilities(judged, test_batches, device, views)
        row = {
            "epoch": epoch + 1,
            "loss": loss / len(batches),
            "accuracy": accuracy(scores, truth),
            "lr": optimizer.param_groups[0]["lr"],
            "seconds": round(time.monotonic() - epoch_started, 2),
        }
        history.append(row)
        Checkpoint(
            recipe=recipe,
            labels=data.labels,
            fold=fold,
            seed=seed,
            data=data.fingerprint,
            epoch=epoch + 1,
            model=net.state_dict(),
            ema=None if average is None else average.state_dict(),
            optimizer=optimizer.state_dict(),
            scheduler=None if scheduler is None else scheduler.state_dict(),
            history=history,
        ).save(out)
        with replacing(out / LOG) as part:
            part.write_text("".join(json.dumps(line) + "\n" for line in history))

    return {
        "recipe": recipe.name,
        "fold": fold,
        "train_clips": len(train_set),
        "test_clips": len(test_set),
        "parameters": count_parameters(net),
        "epochs": len(history),
        "accuracy": history[-1]["accuracy"],
        "chance": 1 / len(data.labels),
        "seconds": round(time.monotonic() - started, 1),
        "device": describe(device),
        "checkpoint": str(out / NAME),
    }


def _previous(out: Path, resume: bool, recipe: Recipe, fold: int, seed: int, data: Esc50) -> Checkpoint | None:
    """Read the checkpoint to continue, having made sure that it is of this very run."""
    if out.exists() and not out.is_dir():
        raise CumelError(f"{out}: is a file; --out names a folder")
    out.mkdir(parents=True, exist_ok=True)
    if not (out / NAME).exists():
        if resume:
            raise CumelError(f"{out}: holds no run to resume; leave --resume away, or check --out")
        return None
    if not resume:
        raise CumelError(f"{out}: holds a run already; --resume continues it, another --out starts a new one")
    previous = Checkpoint.load(out)
    differing = previous.recipe.differences(recipe)
    differing += [f"fold={previous.fold}, not {fold}"] * (previous.fold != fold)
    differing += [f"seed={previous.seed}, not {seed}"] * (previous.seed != seed)
    differing += ["other labels"] * (previous.labels != data.labels)
    differing += ["other clips"] * (previous.data != data.fingerprint)
    if differing:
        raise CumelError(f"{out}: cannot resume, its run has {'; '.join(differing)}")
    return previous


def _scheduler(
    optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int
) -> torch.optim.lr_scheduler.OneCycleLR | None:
    if recipe.schedule == "constant":
        return None
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=recipe.epochs * steps)


def step(
    net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, labels: Tensor, recipe: Recipe, mixing: bool
) -> float:
    """Update the weights once; returns the loss."""
    if recipe.augment:
        x = augment.gain(augment.shift_bands(augment.roll(x)))
    if mixing:
        x, labels = augment.mix(x, labels)
        x = augment.mask(x)
        if recipe.model != "esc50":  # its flatten layer fits one length
            x = augment.crop(x, recipe.crop_frames)
    optimizer.zero_grad(set_to_none=True)
    with autocast(x.device):
        loss = F.cross_entropy(net(x.contiguous(memory_format=torch.channels_last)), labels)
    loss.backward()
    optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def _follow(average: nn.Module, net: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights and batch statistics towards the network's, faster during the first steps."""
    share = 1.0 - min(decay, (1 + step) / (10 + step))
    for mine, theirs in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if mine.is_floating_point():
            mine.lerp_(theirs, share)
        else:
            mine.copy_(theirs)


@contextmanager
def _epoch_bar(epoch: int, epochs: int, history: list[dict[str, Any]], steps: int) -> Iterator[Any]:
    last = f" (accuracy {history[-1]['accuracy']:.3f})" if history else ""
    with bar(f"epoch {epoch + 1} of {epochs}{last}", steps, "batches") as advance:
        yield advance
