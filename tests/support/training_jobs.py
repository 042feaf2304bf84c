"""What tests of several processes run in each of them."""

import contextlib
import io
import os
import signal
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from cumel.esc50.cli import main
from cumel.esc50.training import keeping, loop, recipes
from cumel.esc50.training.distributed import process_group
from cumel.esc50.training.models import ResidualCNN
from cumel.esc50.training.ring import Ring

from support.recordings import tiny_recipe


def network() -> nn.Module:
    """One whose batch statistics are frozen: in training each process takes them from its own clips."""
    torch.manual_seed(0)
    net = ResidualCNN(num_cats=5, widths=(8, 16), n_mels=16).eval()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
    return net.double().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def batch(n_clips: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n_clips, 1, 16, 40, generator=generator, dtype=torch.float64)
    return x, torch.randn(n_clips, 5, generator=generator, dtype=torch.float64).softmax(dim=1)


def gradients(engine: str, n_clips: int) -> tuple[list[NDArray], int]:
    """Every gradient of one step; twice, so that the second finds what the first left."""
    net = network()
    with process_group(engine) as world:
        replica = world.replica(net)
        x, labels = map(world.part, batch(n_clips))
        for _ in range(2):
            net.zero_grad(set_to_none=True)
            loss = F.cross_entropy(replica.net(x), labels) * (len(x) * world.size / n_clips)
            loss.backward()
            replica.reduce()
        return [p.grad.numpy().copy() for p in net.parameters() if p.grad is not None], len(x)


def unused_and_small_buckets() -> tuple[float, list[float], float]:
    """A bucket for each tensor, and a parameter that takes no part in the loss."""
    net = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 2))
    nn.init.ones_(net[0].weight)
    with process_group("ring") as world:
        ring = Ring(net, world.rank, world.size, bucket_bytes=1)
        net[0](torch.full((1, 3), world.rank + 1.0)).sum().backward()
        ring.finish()
        mean = torch.full((5,), float(world.rank))
        ring.mean_(mean)
        assert net[1].bias.grad is not None
        assert net[0].weight.grad is not None
        return float(net[0].weight.grad[0, 0]), net[1].bias.grad.tolist(), float(mean[4])


def command(
    arguments: list[str], epochs: int, killed_at: int | None = None, by: int = signal.SIGKILL
) -> tuple[int, str]:
    """Train by the command line, saving each step; process 1 dies at one. Returns the exit code and last line."""
    recipes.RECIPES["quick"] = tiny_recipe(epochs=epochs, precision="fp32")
    keeping.SAVE_SECONDS, keeping.AGREE = 0.0, 1
    update_ema = loop.update_ema

    def fatal(*given: Any) -> None:
        if given[3] == killed_at and os.environ.get("RANK") == "1":
            os.kill(os.getpid(), by)
        update_ema(*given)

    loop.update_ema = fatal
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main(["train", "--fold", "1", "--device", "cpu", *arguments])
    return code, said.getvalue().strip().splitlines()[-1] if said.getvalue() else ""
