"""The training loop, from a dataset to a checkpoint, in one function to read from top to bottom."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...kernels import CumelError
from ..datasets import Dataset, Fold
from ..system import bar, defaults, describe, fast_bf16, replacing, say, to_device, why_eager
from .checkpoint import NAME, Checkpoint, to_continue
from .data import Batches, TrainingData, prepare, set_aside
from .distributed import SOLO, World
from .evaluation import probabilities
from .keeping import Best, Keeper, random_state, set_random_state
from .log import RunLog
from .metrics import accuracy, interval, loss_of
from .models import count_parameters
from .recipes import Recipe
from .steps import check_finite, criterion, step, update_ema
from .transfer import Donor, freeze, training_mode

SCORES = "scores.npy"  # probabilities after the last epoch, [n_test, n_classes]
UNMIXED = 0.05  # share of the epochs, at the end, that see whole unmixed clips


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
    init: Path | None = None,
) -> dict[str, Any]:
    """Train on every fold but one, and report the accuracy on that one: of the last epoch, or of the best.

    The run folder `out` gets a checkpoint every 20 s and at the end, log.jsonl with a line per epoch, and
    learning.png. On the CPU a resumed run ends with the very weights of an uninterrupted one: all randomness of an
    epoch derives from the seed and its number, and a checkpoint within an epoch has its state.

    With `recipe.patience` some of the training clips (the data's split ``valid``, or a share of them) are not learned
    from: the epoch with the lowest loss on these is the best. What is held out for testing chooses nothing.

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
    init : Path, optional
        A run with the same features and network, whose weights this one starts from; its classes may be others.

    Returns
    -------
    dict
        The report: recipe, fold, clips, accuracy and its interval of confidence, seconds, device, checkpoint.

    Raises
    ------
    CumelError
        When `out` holds a run and `resume` is not asked for, or the other way round, or the two differ; when the
        weights of `init` do not fit; when training diverges.
    StoppedError
        After Ctrl-C or SIGTERM: the run's folder keeps its state, and `resume` goes on with it.
    """
    if not 0 <= seed < 2**31:
        raise CumelError(f"seed={seed}: must be between 0 and {2**31 - 1}")
    if recipe.freeze and init is None:
        raise CumelError("--freeze: keeps the weights of another run; name it by --init")
    if data.multi_label:
        recipe = recipe.replace(loss="bce")
    train_set, test_set = data.split(fold)
    train_set, valid_set = set_aside(data, train_set, fold, recipe, seed)
    donor = None if init is None else Donor.load(init, recipe, data, fold)
    identity = {"recipe": recipe, "fold": fold, "seed": seed, "labels": data.labels, "data": data.fingerprint}
    identity |= {"processes": world.size, "init": "" if donor is None else donor.digest}
    previous = to_continue(out, resume, identity)
    keeper = Keeper(out, recipe.epochs, previous, world)
    eager = why_eager(device)
    if device.type == "cuda" and world.is_main:
        say(
            "the network is compiled before its first step: a minute or two"
            if eager is None
            else f"not compiled: {eager}"
        )
    started = time.monotonic()
    if training_data is None:
        with keeper.interruptible():
            training_data = prepare(data, recipe, workers, device, world)
    prepared = time.monotonic() - started
    hot = data.hot()
    seen = training_data.of(train_set)  # statistics come from the training folds alone
    scale = {}
    if recipe.kind == "logmel":
        scale = {"mean": float(seen.features.mean()), "std": max(float(seen.features.std()), 1e-3)}

    torch.manual_seed(seed)
    net = to_device(recipe.build(len(data.labels), **scale), device)
    if donor is not None:
        given = donor.give(net, data.labels)
        if world.is_main:
            say(given)
    if recipe.freeze:
        freeze(net, recipe.model)
    average = copy.deepcopy(net) if recipe.ema_decay else None
    judged = net if average is None else average
    optimizer = recipe.optimizer(net)
    batches = Batches(seen, hot[train_set], recipe, device, world)
    scheduler = recipe.scheduler(optimizer, batches.n_batches)
    tested, validated = (torch.from_numpy(training_data.features[some]).to(device) for some in (test_set, valid_set))
    log = RunLog(out, [] if previous is None else previous.history) if world.is_main else None
    done = first = 0
    total = torch.zeros((), device=device)
    if previous is not None:
        done, first = previous.epoch, previous.batch
        total += previous.total
        previous.restore(net, average, optimizer, scheduler)
    best = Best(recipe.patience, previous.history if previous else [], previous.best if previous else None)
    replica = world.replica(net)
    if eager is None:
        replica.net = torch.compile(replica.net, dynamic=False)  # a batch has one of two sizes

    def save(epoch: int, batch: int = 0) -> None:
        random = None
        if batch:
            check_finite(net, float(total) / batch, epoch, recipe)
            random = random_state(device, world)
            replica.mean_statistics(net, *([] if average is None else [average]))
        if log is not None:
            Checkpoint(
                **identity,
                epoch=epoch,
                batch=batch,
                total=float(total) if batch else 0.0,
                random=random,
                model=net.state_dict(),
                ema=None if average is None else average.state_dict(),
                best=best.weights,
                optimizer=optimizer.state_dict(),
                scheduler=None if scheduler is None else scheduler.state_dict(),
                history=log.history,
            ).save(out)
            log.write()
        keeper.saved(epoch, batch)

    order, steps, loss_fn = (
        torch.Generator(),
        done * batches.n_batches + first,
        criterion(recipe, batches.weights.to(device)),
    )
    left = 0 if best.is_over(done) else recipe.epochs * batches.n_batches - steps
    with keeper.interruptible(asks=True), bar("training", left, "batches", quiet=not world.is_main) as advance:
        for epoch in range(done, recipe.epochs if left else done):
            epoch_started = time.monotonic()
            torch.manual_seed((seed * 100_003 + epoch + 1) * 1009 + world.rank)
            order.manual_seed(seed * 100_003 + epoch + 1)  # every process deals the same batches
            mixing = epoch < round(recipe.epochs * (1 - UNMIXED))
            training_mode(net)
            if first and previous is not None and previous.random is not None:
                set_random_state(previous.random, device, world)
            for batch, (x, labels, share) in enumerate(batches.epoch(order, mixing, first), start=first + 1):
                total += step(replica, optimizer, x, labels, recipe.precision, share, loss_fn)
                if average is not None:
                    update_ema(average, net, recipe.ema_decay, steps)
                if scheduler is not None:
                    scheduler.step()
                steps += 1
                advance()
                if batch < batches.n_batches and keeper.is_due(batch):
                    save(epoch, batch)
            replica.mean_(total)
            replica.mean_statistics(net, *([] if average is None else [average]))
            loss, first, total = float(total) / batches.n_batches, 0, torch.zeros((), device=device)
            check_finite(net, loss, epoch, recipe)
            row: dict[str, Any] = {"epoch": epoch + 1, "loss": loss, "accuracy": None}
            if valid_set and log is not None:
                scores = probabilities(judged, validated, recipe)
                row["validation"] = loss_of(scores, hot[valid_set], recipe.loss)
                best.see(epoch + 1, row["validation"], judged.state_dict())
            last = world.agreed(epoch + 1 == recipe.epochs or best.is_over(epoch + 1))
            if log is not None:
                if test_set and (last or (epoch + 1) % recipe.test_every == 0):
                    final = best.network(judged) if last else judged
                    scores = probabilities(final, tested, recipe, recipe.views if last else 1)
                    row["accuracy"] = accuracy(scores, hot[test_set])
                    if last:
                        with replacing(out / SCORES) as part, part.open("wb") as file:
                            np.save(file, scores)
                    advance(0, f"accuracy {row['accuracy']:.3f} after epoch {epoch + 1}")
                row |= {"lr": optimizer.param_groups[0]["lr"], "seconds": round(time.monotonic() - epoch_started, 3)}
                log.add(row)
            if last:
                keeper.epochs = epoch + 1
            if keeper.is_due() or last:
                save(epoch + 1)
            if last:
                break

    if log is None:
        return {}
    log.close()
    accuracy_ = log.history[-1]["accuracy"]
    return {
        "recipe": recipe.name,
        "model": recipe.model,
        "fold": fold,
        "seed": seed,
        "train_clips": len(train_set),
        "test_clips": len(test_set),
        **({"valid_clips": len(valid_set), "best_epoch": best.epoch} if valid_set else {}),
        "parameters": count_parameters(net),
        "epochs": len(log.history),
        "accuracy": accuracy_,
        "interval": None if accuracy_ is None else [round(bound, 3) for bound in interval(accuracy_, len(test_set))],
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
