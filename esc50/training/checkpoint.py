"""A run's one file: weights, optimiser, and every config needed to use or continue it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...kernels import CumelError
from ..datasets import SPLITS
from ..system import first_line, replacing
from .recipes import Recipe

NAME = "checkpoint.pt"
FORMAT = 3
READABLE = (2, FORMAT)  # formats; what an earlier one lacks has a default
MOST_LABELS = 10_000
LARGEST = 2**31


@dataclass(kw_only=True)
class Checkpoint:
    """State of a run after `epoch` epochs, and `batch` batches of the next."""

    recipe: Recipe
    labels: tuple[str, ...]
    fold: int | str | None  # fold or split held out for testing; None for none
    seed: int
    data: str = ""  # `Dataset.fingerprint` of the data
    processes: int = 1  # processes that train together, each on a part of every batch
    epoch: int
    model: dict[str, Any]  # the network's state_dict
    ema: dict[str, Any] | None  # state_dict of the moving average, if the recipe keeps one
    optimizer: dict[str, Any]
    scheduler: dict[str, Any] | None
    history: list[dict[str, Any]] = field(default_factory=list)  # one row per epoch
    batch: int = 0  # batches of the epoch that is not over
    total: float = 0.0  # sum of their losses
    random: Tensor | None = None  # state of the random numbers within an epoch, uint8 [processes, n_bytes]
    best: dict[str, Any] | None = None  # state_dict of the network with the lowest validation loss, if any is measured
    init: str = ""  # digest of the weights that the run started from; none for random ones
    source: str = "checkpoint"  # file that it was read from, for error messages

    def __post_init__(self) -> None:
        """Check types and ranges, as the values may come from a file."""
        texts = isinstance(self.labels, tuple) and all(isinstance(label, str) for label in self.labels)
        if not texts or not 0 < len(self.labels) <= MOST_LABELS:
            raise CumelError(f"labels: must be texts, 1 to {MOST_LABELS}")
        for name in ("data", "init"):
            if not isinstance(getattr(self, name), str):
                raise CumelError(f"{name}: must be a text")
        if not _is_number(self.total):
            raise CumelError("total: must be a finite number")
        random = self.random
        if random is not None and (not isinstance(random, Tensor) or random.dtype != torch.uint8 or random.ndim != 2):
            raise CumelError("random: must be the states of random numbers")
        if (random is None) != (self.batch == 0):
            raise CumelError("batch, random: must belong together")
        if self.fold is not None and self.fold not in SPLITS and not _is_whole(self.fold):
            raise CumelError(f"fold: must be a whole number, {', '.join(SPLITS)}, or none")
        for name, least in (("seed", 0), ("processes", 1), ("epoch", 0), ("batch", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= LARGEST:
                raise CumelError(f"{name}: must be a whole number from {least} to {LARGEST}")
        if not isinstance(self.history, list):
            raise CumelError("history: must be a list")
        for row in self.history:
            _check_epoch(row)
        for name in ("model", "ema", "best"):
            if name == "model" or getattr(self, name) is not None:
                _check_weights(name, getattr(self, name))
        if not isinstance(self.optimizer, dict) or not isinstance(self.scheduler, dict | None):
            raise CumelError("optimizer, scheduler: must be tables of states")

    def network(self) -> nn.Module:
        """Build the trained network (its best or averaged weights where there are any), ready for inference."""
        weights = next(state for state in (self.best, self.ema, self.model) if state is not None)
        with torch.device("meta"):  # shapes alone: a wrong recipe's network may not fit into memory
            due = {name: value.shape for name, value in self.recipe.build(len(self.labels)).state_dict().items()}
        if due != {name: value.shape for name, value in weights.items()}:
            raise CumelError(f"{self.source}: its weights do not fit its recipe {self.recipe.name}; train again")
        net = self.recipe.build(len(self.labels))
        net.load_state_dict(weights)
        return net.eval()

    def restore(
        self,
        net: nn.Module,
        average: nn.Module | None,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler | None,
    ) -> None:
        """Load the saved state into the parts of a run.

        Raises
        ------
        CumelError
            When the state does not fit the parts.
        """
        try:
            net.load_state_dict(self.model)
            if average is not None and self.ema is not None:
                average.load_state_dict(self.ema)
            groups = [dict(group) for group in optimizer.param_groups]
            optimizer.load_state_dict(self.optimizer)
            _check_optimizer(optimizer, groups)
            if scheduler is not None and self.scheduler is not None:
                _check_scheduler(scheduler.state_dict(), self.scheduler)
                scheduler.load_state_dict(self.scheduler)
        except Exception as error:  # damage may raise anything
            reason = str(error) if isinstance(error, CumelError) else type(error).__name__
            raise CumelError(
                f"{self.source}: the run's state does not fit its recipe ({reason}); train again"
            ) from None

    def save(self, folder: Path) -> Path:
        """Write `folder`/checkpoint.pt; an interrupted write leaves the previous one."""
        path = folder / NAME
        kept = {name: getattr(self, name) for name in STORED}
        values = {"format": FORMAT, **kept, "recipe": self.recipe.to_dict(), "labels": list(self.labels)}
        try:
            with replacing(path) as part, part.open("wb") as file:
                torch.save(values, file)
        except RuntimeError as error:  # torch's error for a full disk
            reason = first_line(error)[:120]
            raise CumelError(f"{path}: cannot be written ({reason}); free some space, then --resume") from None
        return path

    @classmethod
    def load(cls, run: Path | str) -> Checkpoint:
        """Read a run's checkpoint, given the folder or the file.

        Raises
        ------
        CumelError
            When it is missing, damaged, or of another format.
        """
        run = Path(run)
        path = run / NAME if run.is_dir() else run
        if not path.is_file():
            raise CumelError(f"{path}: no checkpoint there; `cumel train --out {run}` makes one")
        try:
            values = torch.load(path, map_location="cpu", weights_only=True)
            if not isinstance(values, dict):
                raise CumelError("it holds no named values")
            if values.pop("format", None) not in READABLE:
                raise CumelError("another version's checkpoint: only the cumel that wrote it reads it")
            differing = {*STORED} - OPTIONAL - {*values} | {*values} - {*STORED}
            if differing:
                raise CumelError(f"{', '.join(sorted(map(repr, differing)))}: missing, or unknown to this version")
            if not isinstance(values["labels"], list | tuple):
                raise CumelError("labels: must be texts")
            recipe, labels = Recipe.from_dict(values.pop("recipe")), tuple(values.pop("labels"))
            return cls(recipe=recipe, labels=labels, source=str(path), **values)
        except CumelError as error:
            raise CumelError(f"{path}: not a usable checkpoint ({error}); train again") from None
        except Exception as error:  # damage in a pickle may raise anything
            raise CumelError(f"{path}: not a usable checkpoint ({type(error).__name__}); train again") from None


def _check_epoch(row: Any) -> None:
    """Check a row of the history."""
    if not isinstance(row, dict) or {*row} - {"validation"} != {"epoch", "loss", "accuracy", "lr", "seconds"}:
        raise CumelError("history: a row must have epoch, loss, accuracy, lr and seconds")
    for name, value in row.items():
        if not _is_number(value) and not (name == "accuracy" and value is None):
            raise CumelError(f"history: {name} must be a finite number")


def _check_weights(name: str, state: Any) -> None:
    """Check a network's state."""
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise CumelError(f"{name}: must be named weights")
    for key, value in state.items():
        if not isinstance(value, Tensor) or value.is_sparse or not bool(torch.isfinite(value).all()):
            raise CumelError(f"{name}: {key} must be finite numbers")


def _check_optimizer(optimizer: torch.optim.Optimizer, fresh: list[dict[str, Any]]) -> None:
    """Check an optimiser's loaded state; `fresh` are the groups that it had when it was new."""
    for group, due in zip(optimizer.param_groups, fresh, strict=True):
        for name in group.keys() | due.keys():
            kept, new = group[name], due[name]
            if name != "params" and not (_is_number(kept) if _is_number(new) else _numbers(kept) == _numbers(new)):
                raise CumelError(f"optimizer: {name} is not what it was")
    for weight in (weight for group in optimizer.param_groups for weight in group["params"]):
        state = optimizer.state[weight]
        shapes = {"step": (), "exp_avg": weight.shape, "exp_avg_sq": weight.shape}
        if {name: tuple(value.shape) for name, value in state.items()} != {k: tuple(v) for k, v in shapes.items()}:
            raise CumelError("optimizer: its moments are not those of the weights")
        if not all(bool(torch.isfinite(value).all()) for value in state.values()):
            raise CumelError("optimizer: its moments must be finite numbers")


def _check_scheduler(fresh: dict[str, Any], state: dict[str, Any]) -> None:
    """Check a scheduler's state: only the step, and the rates that go with it, may differ from a new one's."""
    moving = ("last_epoch", "_step_count", "_last_lr")
    same = all(state[name] == value for name, value in fresh.items() if name not in moving)
    if not same or set(state) != set(fresh):
        raise CumelError("scheduler: its schedule is not the recipe's")
    steps, rates = [state["last_epoch"], state["_step_count"]], state["_last_lr"]
    if not all(isinstance(step, int) and 0 <= step <= fresh["total_steps"] + 1 for step in steps):
        raise CumelError("scheduler: its step is not one of the schedule")
    if not isinstance(rates, list) or not all(map(_is_number, rates)):
        raise CumelError("scheduler: its rates must be finite numbers")


def _numbers(value: Any) -> Any:
    """Return the part of an option that may not change: a tuple's number types, or the value itself."""
    return [type(number) for number in value] if isinstance(value, tuple) and all(map(_is_number, value)) else value


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and _is_number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST  # no NaN


STORED = tuple(each.name for each in fields(Checkpoint) if each.name != "source")
OPTIONAL = {"batch", "total", "random", "best", "init"}  # fields that format 2 lacks


def to_continue(out: Path, resume: bool, identity: dict[str, Any]) -> Checkpoint | None:
    """Read the checkpoint that a run in `out` continues, and check that it is of the same run.

    Parameters
    ----------
    out : Path
        The run's folder; made if missing.
    resume : bool
        Whether a checkpoint is expected.
    identity : dict
        Fields of the checkpoint that identify the run.

    Raises
    ------
    CumelError
        When there is a checkpoint and `resume` is not asked for, or the other way round, or another run wrote it.
    """
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
    if len(previous.history) != previous.epoch or (previous.ema is None) != (not previous.recipe.ema_decay):
        raise CumelError(f"{out / NAME}: not a usable checkpoint (its history or average is incomplete); train again")
    if (previous.scheduler is None) != (previous.recipe.schedule == "constant"):
        raise CumelError(f"{out / NAME}: not a usable checkpoint (its scheduler is not the recipe's); train again")
    differing = previous.recipe.differences(identity["recipe"])
    for name in ("fold", "seed", "processes"):
        was = getattr(previous, name)
        if was != identity[name]:
            differing.append(f"{name}={was}, not {identity[name]}")
    for name, what in (("labels", "labels"), ("data", "clips"), ("init", "weights to start from")):
        if getattr(previous, name) != identity[name]:
            differing.append(f"other {what}")
    if differing:
        raise CumelError(f"{out}: cannot resume, its run has {'; '.join(differing)}")
    return previous
