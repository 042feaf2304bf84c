"""Several processes train one network, by torch's DistributedDataParallel or by our own ring of messages.

`torchrun` starts the processes. Each has a copy of the network and a part of every batch; before each step the
gradients become their mean over the processes, so every copy takes the step of one process with the whole batch.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from ...kernels import CumelError, UnavailableError
from .ring import Ring

ENGINES = ("ddp", "ring")
TIMEOUT = timedelta(minutes=10)  # how long a collective waits for a peer that is alive but silent
# Texts in the errors of gloo, NCCL and torch when another process is gone.
GONE = ("closed by peer", "reset by peer", "Broken pipe", "Timed out", "timed out", "NCCL", "ProcessGroup", "store")


@dataclass(frozen=True)
class World:
    """The rank of a process, and how many train together."""

    rank: int = 0
    size: int = 1
    engine: Literal["ddp", "ring"] = "ddp"

    @property
    def is_main(self) -> bool:
        """Whether this process tests, logs, saves and reports."""
        return self.rank == 0

    def part(self, batch: Tensor) -> Tensor:
        """Return this process's part of a batch; the sizes of parts differ by one clip at most."""
        return batch.tensor_split(self.size)[self.rank]

    def interleave(self, part: NDArray, n_rows: int) -> NDArray:
        """Collect an array [n_rows, ...] from all processes; process `rank` has the rows rank, rank + size, ..."""
        if self.size == 1:
            return part
        whole = np.empty((n_rows, *part.shape[1:]), part.dtype)
        for rank in range(self.size):
            rows = part if rank == self.rank else np.empty_like(whole[rank :: self.size])
            dist.broadcast(torch.from_numpy(rows), rank)
            whole[rank :: self.size] = rows
        return whole

    def agreed(self, wish: bool) -> bool:
        """Return the first process's wish, in every process."""
        if self.size == 1:
            return wish
        said = torch.tensor([wish], dtype=torch.uint8)
        dist.broadcast(said, 0)
        return bool(said)

    def replica(self, net: nn.Module) -> Replica:
        """Wrap this process's copy of `net`, so that it trains together with the others."""
        if self.size == 1:
            return Replica(net)
        return RingReplica(net, self) if self.engine == "ring" else DdpReplica(net)


SOLO = World()


class Replica:
    """A network in training; this class is for one process alone."""

    def __init__(self, net: nn.Module) -> None:
        self.net: Callable[[Tensor], Tensor] = net  # the network, or the wrapper that a step calls in its place

    def reduce(self) -> None:
        """Replace the gradients, after backward, by their mean over the processes."""

    def mean_(self, tensor: Tensor) -> None:
        """Replace `tensor` by its mean over the processes."""

    def mean_statistics(self, *nets: nn.Module) -> None:
        """Replace batch norm's running statistics, which each process takes from its own clips, by their mean."""
        buffers = [
            b for net in nets for name, b in net.named_buffers() if name.endswith(("running_mean", "running_var"))
        ]
        if buffers:
            flat = torch.cat([b.flatten() for b in buffers])
            self.mean_(flat)
            for buffer, mean in zip(buffers, flat.split([b.numel() for b in buffers]), strict=True):
                buffer.copy_(mean.view_as(buffer))


class DdpReplica(Replica):
    """A replica whose gradients torch averages: by NCCL between CUDA devices, by gloo between CPUs."""

    def __init__(self, net: nn.Module) -> None:
        device = next(net.parameters()).device
        ids = [device.index] if device.type == "cuda" else None
        super().__init__(
            nn.parallel.DistributedDataParallel(
                net, device_ids=ids, broadcast_buffers=False, gradient_as_bucket_view=True
            )
        )

    def mean_(self, tensor: Tensor) -> None:  # noqa: D102
        dist.all_reduce(tensor)
        tensor /= dist.get_world_size()


class RingReplica(Replica):
    """A replica whose gradients `Ring` averages."""

    def __init__(self, net: nn.Module, world: World) -> None:
        super().__init__(net)
        self.ring = Ring(net, world.rank, world.size)

    def reduce(self) -> None:  # noqa: D102
        self.ring.finish()

    def mean_(self, tensor: Tensor) -> None:  # noqa: D102
        self.ring.mean_(tensor)


@contextmanager
def process_group(engine: str) -> Iterator[World]:
    """Join the processes that `torchrun` started until the block ends; without torchrun, this process is alone.

    Raises
    ------
    CumelError
        For an unknown engine.
    UnavailableError
        When another process is gone, or SIGTERM comes. This process then ends as well, and the run can be resumed.
    """
    if engine not in ENGINES:
        raise CumelError(f"--parallel {engine}: must be one of {', '.join(ENGINES)}")
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield SOLO
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    rank = int(os.environ["RANK"])

    def stop(*_: object) -> None:
        raise UnavailableError(
            f"process {rank} of {size}: told to stop, as torchrun does when another is gone; --resume continues the run"
        )

    before = signal.signal(signal.SIGTERM, stop)
    try:
        dist.init_process_group(backend, timeout=TIMEOUT)
        yield World(rank, size, "ring" if engine == "ring" else "ddp")
        dist.destroy_process_group()
    except RuntimeError as error:  # torch raises this with every backend
        if not any(sign in str(error) for sign in GONE):
            raise
        raise UnavailableError(
            f"process {rank} of {size}: another process of this run is gone, so this one ends; --resume continues it"
        ) from error
    finally:
        signal.signal(signal.SIGTERM, before)


def local_device(name: str) -> str:
    """Give each process of a machine a CUDA device of its own, where `name` leaves the choice."""
    if "LOCAL_RANK" in os.environ and (name == "cuda" or (name == "auto" and torch.cuda.is_available())):
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return name
