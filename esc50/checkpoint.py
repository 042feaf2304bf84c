"""A run's one file: weights, optimiser, and every config needed to use or continue it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..kernels import CumelError
from .files import replacing
from .recipes import Recipe

NAME = "checkpoint.pt"
FORMAT = 2


@dataclass(kw_only=True)
class Checkpoint:
    """State of a run after `epoch` epochs."""

    recipe: Recipe
    labels: tuple[str, ...]
    fold: int  # held out
    seed: int
    data: str = ""  # `Esc50.fingerprint` of what it is trained on
    processes: int = 1  # that train together, each with its part of a batch
    epoch: int
    model: dict[str, Any]  # the network's state_dict
    ema: dict[str, Any] | None  # its moving average's, if the recipe keeps one
    optimizer: dict[str, Any]
    scheduler: dict[str, Any] | None
    history: list[dict[str, Any]] = field(default_factory=list)  # one row per epoch

    def network(self) -> nn.Module:
        """Build the trained network (the averaged weights where there are any), ready for inference."""
        net = self.recipe.build(len(self.labels))
        try:
            net.load_state_dict(self.model if self.ema is None else self.ema)
        except RuntimeError:
            raise CumelError(f"checkpoint: its weights do not fit its recipe {self.recipe.name}; train again") from None
        return net.eval()

    def save(self, folder: Path) -> Path:
        """Write `folder`/checkpoint.pt; an interrupted write leaves the previous one."""
        path = folder / NAME
        values = {"format": FORMAT, **vars(self), "recipe": self.recipe.to_dict(), "labels": list(self.labels)}
        try:
            with replacing(path) as part, part.open("wb") as file:
                torch.save(values, file)
        except RuntimeError as error:  # torch reports a full disk so
            reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
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
            if values.pop("format") != FORMAT:
                raise CumelError("another version's checkpoint; train again, or use the cumel that wrote it")
            recipe, labels = Recipe.from_dict(values.pop("recipe")), tuple(values.pop("labels"))
            return cls(recipe=recipe, labels=labels, **values)
        except CumelError as error:
            raise CumelError(f"{path}: {error}") from None
        except Exception as error:  # damage anywhere in a pickle surfaces as anything
            raise CumelError(f"{path}: not a usable checkpoint ({type(error).__name__}); train again") from None


def to_continue(out: Path, resume: bool, identity: dict[str, Any]) -> Checkpoint | None:
    """Read the checkpoint that a run in `out` continues, having made sure that it is of this very run.

    Parameters
    ----------
    out : Path
        The run's folder; made if missing.
    resume : bool
        Whether there should be one.
    identity : dict
        Those of the checkpoint's fields that say which run it is.

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
    differing = previous.recipe.differences(identity["recipe"])
    for name in ("fold", "seed", "processes"):
        was = getattr(previous, name)
        differing += [f"{name}={was}, not {identity[name]}"] * (was != identity[name])
    differing += ["other labels"] * (previous.labels != identity["labels"])
    differing += ["other clips"] * (previous.data != identity["data"])
    if differing:
        raise CumelError(f"{out}: cannot resume, its run has {'; '.join(differing)}")
    return previous
