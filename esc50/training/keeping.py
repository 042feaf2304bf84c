"""When a run saves its state, and what it says when it is interrupted."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from ..system import Stop, StoppedError, stoppable
from .checkpoint import Checkpoint
from .distributed import World

SAVE_SECONDS = 20.0  # least time between two checkpoints; the last epoch's is always written
AGREE = 16  # batches from one question whether to save to the next, where several processes have to agree


class Keeper:
    """Knows what of a run is on disk.

    Parameters
    ----------
    out : Path
        The run's folder.
    epochs : int
        Of the whole run.
    previous : Checkpoint, optional
        The one that the run goes on from.
    world : World
    """

    def __init__(self, out: Path, epochs: int, previous: Checkpoint | None, world: World) -> None:
        self.out, self.epochs, self.world = out, epochs, world
        self.kept = None if previous is None else (previous.epoch, previous.batch)
        self._saved = time.monotonic()
        self._stop = Stop("")

    @contextmanager
    def interruptible(self, *, asks: bool = False) -> Iterator[None]:
        """Turn Ctrl-C into a line that says what is kept; where it `asks`, the first one waits for `saved`."""
        try:
            if asks and self.world.size == 1:
                with stoppable("the current batch", anywhere=True) as self._stop:
                    yield
            else:  # torchrun ends all processes of a run, each in its own way
                yield
        except KeyboardInterrupt:
            if not self.world.is_main:
                raise
            raise StoppedError(f"interrupted: {self._line()}") from None

    def _line(self) -> str:
        if self.kept is None:
            return f"{self.out} keeps nothing yet; the same call begins again"
        epoch, batch = self.kept
        more = f", and {batch} batch{'es' * (batch > 1)} of the next" if batch else ""
        return f"{self.out} keeps {epoch} of {self.epochs} epochs{more}; the same call with --resume goes on"

    def is_due(self, batch: int = 0) -> bool:
        """Whether it is time to save; several processes agree on it at every 16th `batch`."""
        if batch % AGREE and self.world.size > 1:
            return False
        return self.world.agreed(self._stop.asked or time.monotonic() - self._saved >= SAVE_SECONDS)

    def saved(self, epoch: int, batch: int = 0) -> None:
        """Note that the state after so many epochs and batches is on disk; where a stop was asked for, stop."""
        self.kept, self._saved = (epoch, batch), time.monotonic()
        if self._stop.asked and epoch < self.epochs:
            raise KeyboardInterrupt


def random_state(device: torch.device, world: World) -> Tensor:
    """Return the state of torch's random numbers, uint8 [processes, n_bytes], in the first process."""
    state = torch.get_rng_state()
    if device.type == "cuda":
        state = torch.cat([state, torch.cuda.get_rng_state(device)])
    return torch.from_numpy(world.interleave(state[None].numpy(), world.size))


def set_random_state(states: Tensor, device: torch.device, world: World) -> None:
    """Set the state of torch's random numbers to this process's of `random_state`."""
    n = len(torch.get_rng_state())
    torch.set_rng_state(states[world.rank, :n].clone())
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[world.rank, n:].clone(), device)


class Best:
    """The weights with the lowest validation loss so far; `history` and `weights` are those of a run that goes on."""

    def __init__(self, patience: int, history: list[dict], weights: dict[str, Tensor] | None) -> None:
        losses = {row["epoch"]: row["validation"] for row in history if row.get("validation") is not None}
        self.patience, self.weights = patience, weights
        self.epoch = min(losses, key=losses.__getitem__, default=0)
        self.loss = losses.get(self.epoch, float("inf"))

    def see(self, epoch: int, loss: float, state: dict[str, Tensor]) -> None:
        """Compare an epoch with the best so far."""
        if loss < self.loss:
            self.epoch, self.loss = epoch, loss
            self.weights = {name: value.detach().clone() for name, value in state.items()}

    def network(self, net: nn.Module) -> nn.Module:
        """Return a copy of a network with these weights; where nothing was compared, the network itself."""
        if self.weights is None:
            return net
        best = copy.deepcopy(net)
        best.load_state_dict(self.weights)
        return best

    def is_over(self, epoch: int) -> bool:
        """Whether the loss has not fallen for so many epochs that training ends."""
        return 0 < self.patience <= epoch - self.epoch
