"""One step of training: the loss, the gradient, the weights and their moving average."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...kernels import CumelError
from ..system import autocast
from .distributed import Replica
from .recipes import Recipe

Criterion = Callable[[Tensor, Tensor], Tensor]  # from logits and labels [n_clips, n_classes] to their mean loss


def criterion(recipe: Recipe, weights: Tensor) -> Criterion:
    """Return the recipe's loss; `weights` [n_classes] are those of rare classes, for a recipe that uses them."""
    weight = weights if recipe.balance == "weights" else None
    return partial(F.binary_cross_entropy_with_logits if recipe.loss == "bce" else F.cross_entropy, weight=weight)


def step(
    replica: Replica,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    labels: Tensor,
    precision: str,
    share: float = 1.0,
    loss_of: Criterion = F.cross_entropy,
) -> Tensor:
    """Update the weights once; returns the loss as a tensor, so that nothing waits for the device."""
    optimizer.zero_grad(set_to_none=True)
    with autocast(x.device, precision):
        logits = replica.net(x.contiguous(memory_format=torch.channels_last))
    loss = loss_of(logits.float(), labels) * share
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


def check_finite(net: nn.Module, loss: float, epoch: int, recipe: Recipe) -> None:
    """Raise a `CumelError` when training diverged in an epoch, counted from 0."""
    if not (loss < math.inf and all(bool(weight.isfinite().all()) for weight in net.parameters())):
        raise CumelError(f"epoch {epoch + 1}: training diverged (loss {loss:g}); use a lower --lr than {recipe.lr:g}")
