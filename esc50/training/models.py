"""The networks: mel spectrogram in, class scores (logits) out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from ...kernels import CumelError


def _convolution(n_in: int, n_out: int, size: int = 3, stride: int = 1, *, relu: bool = True) -> nn.Sequential:
    """Return a convolution with batch norm, and ReLU; at stride 1 the size of the picture stays."""
    layers: list[nn.Module] = [nn.Conv2d(n_in, n_out, size, stride, size // 2, bias=False), nn.BatchNorm2d(n_out)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


def _pair(n_in: int, n_out: int) -> nn.Sequential:
    """Two 3x3 convolutions with batch norm and ReLU."""
    return nn.Sequential(*_convolution(n_in, n_out), *_convolution(n_out, n_out))


class ESC50Model(nn.Module):
    """The baseline's network: four pairs of 3x3 convolutions, then everything flattened into a dense layer.

    109.7 M parameters, 108.5 M of them in the flatten layer, and 2.8 G multiply-adds for a 128 x 431 image. With
    ``pool`` the dense layer sees the mean over the image instead: 1.3 M parameters, as many multiply-adds.

    Parameters
    ----------
    input_shape : sequence of 3 int
        Channels, mel bands and frames of the image; a float tensor ``[batch, *input_shape]`` of values 0..255.
    batch_size : int
        Unused. The student report's code passes it.
    num_cats : int
        Classes.
    pool : bool
        Global average pooling instead of the flatten layer.
    """

    def __init__(
        self,
        input_shape: Sequence[int] = (1, 128, 431),
        batch_size: int = 16,
        num_cats: int = 50,
        *,
        pool: bool = False,
    ) -> None:
        super().__init__()
        channels, n_mels, n_frames = input_shape
        if min(n_mels, n_frames) < 8:
            raise CumelError(
                f"ESC50Model: input_shape={tuple(input_shape)}: three poolings need an image of 8 x 8 or more"
            )
        self.batch_size = batch_size
        self.pool = pool
        widths = (channels, 32, 64, 128, 256)
        blocks: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            blocks += [_pair(n_in, n_out), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*blocks[:-1])  # no pooling after the last pair
        self.dense1 = nn.Linear(widths[-1] * (1 if pool else (n_mels // 8) * (n_frames // 8)), 500)
        self.dropout = nn.Dropout(0.5)
        self.dense2 = nn.Linear(500, num_cats)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits [batch, num_cats]."""
        maps = self.features(image.to(self.dense1.weight.dtype))  # values 0..255 are exact in float16 too
        hidden = torch.relu(self.dense1(maps.mean(dim=(2, 3)) if self.pool else maps.flatten(1)))
        return self.dense2(self.dropout(hidden))


class _Normalised(nn.Module):
    """A network that sees ``(x - mean) / std``, with `mean` and `std` of the training folds' log-mel values, in dB."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(float(mean)))
        self.register_buffer("std", torch.tensor(float(std)))

    def normal(self, log_mel: Tensor, weights: Tensor) -> Tensor:
        """Return what the network sees, in the type of its weights: decibels themselves are too coarse in float16."""
        return ((log_mel - self.mean) / self.std).to(weights.dtype)


class CompactCNN(_Normalised):
    """A small plain network for log-mel spectrograms of any length, with its normalisation inside.

    3x3 pairs of 32, 64 and 128 channels and one layer of 256, mean over frequency, mean + max over time:
    0.6 M parameters, 0.2 G multiply-adds for 64 x 251.

    Parameters
    ----------
    mean, std : float
        Of the training folds' log-mel values, in dB; the network sees ``(x - mean) / std``.
    num_cats : int
        Classes.
    """

    def __init__(self, mean: float = 0.0, std: float = 1.0, num_cats: int = 50) -> None:
        super().__init__(mean, std)
        self.stem = _convolution(1, 32, stride=2)
        self.features = nn.Sequential(
            _pair(32, 32),
            nn.MaxPool2d(2),
            _pair(32, 64),
            nn.MaxPool2d(2),
            _pair(64, 128),
            nn.MaxPool2d(2),
            *_convolution(128, 256),
        )
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(256, num_cats)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return logits [batch, num_cats] of ``log_mel`` [batch, 1, n_mels, n_frames] in dB."""
        x = self.features(self.stem(self.normal(log_mel, self.head.weight))).mean(dim=2)
        return self.head(self.dropout(x.mean(dim=2) + x.amax(dim=2)))


class _Residual(nn.Module):
    """Two 3x3 convolutions beside a short cut (He et al., 2016)."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_convolution(n_in, n_out), *_convolution(n_out, n_out, relu=False))
        self.short = _convolution(n_in, n_out, 1, relu=False) if n_in != n_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.short(x))


class ResidualCNN(_Normalised):
    """A residual network for log-mel spectrograms of any length, with its normalisation inside.

    A 3x3 stem of stride 2, then one residual block per width with pooling between; the last picture is weighed over
    frequency by each channel on its own, then mean + max over time. Widths (24, 48, 96, 192): 0.7 M parameters, 0.14 G
    multiply-adds for 64 x 251. Widths (64, 128, 256, 512): 4.9 M parameters, 3.5 G multiply-adds for 128 x 431.

    Parameters
    ----------
    mean, std : float
        Of the training folds' log-mel values, in dB; the network sees ``(x - mean) / std``.
    num_cats : int
        Classes.
    widths : sequence of int
        Channels of the blocks.
    n_mels : int
        Bands of the input.
    """

    def __init__(
        self,
        mean: float = 0.0,
        std: float = 1.0,
        num_cats: int = 50,
        *,
        widths: Sequence[int] = (24, 48, 96, 192),
        n_mels: int = 64,
    ) -> None:
        super().__init__(mean, std)
        self.stem = _convolution(1, widths[0], stride=2)
        blocks: list[nn.Module] = [_Residual(widths[0], widths[0])]
        for n_in, n_out in pairwise(widths):
            blocks += [nn.MaxPool2d(2), _Residual(n_in, n_out)]
        self.features = nn.Sequential(*blocks)
        height = -(-n_mels // 2) >> (len(widths) - 1)
        if height < 1:
            raise CumelError(f"n_mels={n_mels}: this network needs {2 ** len(widths)} or more")
        self.weigh = nn.Conv2d(widths[-1], widths[-1], (height, 1), groups=widths[-1], bias=False)
        nn.init.constant_(self.weigh.weight, 1 / height)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(widths[-1], num_cats)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return logits [batch, num_cats] of ``log_mel`` [batch, 1, n_mels, n_frames] in dB."""
        x = self.weigh(self.features(self.stem(self.normal(log_mel, self.head.weight)))).flatten(2)
        return self.head(self.dropout(x.mean(dim=2) + x.amax(dim=2)))


@dataclass(frozen=True)
class Model:
    """A network that `--model` can name."""

    about: str
    recipe: str  # recipe that it is made for
    build: Callable[[tuple[int, int, int], int, float, float], nn.Module]  # input shape, classes, mean, std
    head: str = "head"  # name of the last layer, which gives the classes' scores


MODELS: dict[str, Model] = {  # by the names in `recipes.ANY_LENGTH`
    "esc50": Model(
        "the baseline's, with its flatten layer",
        "baseline",
        lambda shape, n_classes, _mean, _std: ESC50Model(shape, num_cats=n_classes),
        head="dense2",
    ),
    "esc50-pool": Model(
        "the baseline's, with global pooling",
        "baseline",
        lambda shape, n_classes, _mean, _std: ESC50Model(shape, num_cats=n_classes, pool=True),
        head="dense2",
    ),
    "compact": Model(
        "plain, for a CPU", "quick", lambda _shape, n_classes, mean, std: CompactCNN(mean, std, n_classes)
    ),
    "residual": Model(
        "residual, for a CPU",
        "quick",
        lambda shape, n_classes, mean, std: ResidualCNN(mean, std, n_classes, n_mels=shape[1]),
    ),
    "residual-large": Model(
        "residual, for a GPU",
        "best",
        lambda shape, n_classes, mean, std: ResidualCNN(
            mean, std, n_classes, widths=(64, 128, 256, 512), n_mels=shape[1]
        ),
    ),
}


def count_parameters(net: nn.Module) -> int:
    """Return how many trainable numbers `net` has."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


@torch.no_grad()
def count_macs(net: nn.Module, input_shape: Sequence[int]) -> int:
    """Return the multiply-adds of the convolutions and dense layers for one input."""
    macs = 0

    def count(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal macs
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        macs += output[0].numel() * layer.weight[0].numel()

    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    training = net.training
    net.eval()(torch.zeros(1, *input_shape))
    net.train(training)
    for hook in hooks:
        hook.remove()
    return macs
