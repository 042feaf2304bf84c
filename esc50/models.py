"""The networks: mel spectrogram in, class scores (logits) out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..kernels import CumelError


def _conv_pair(n_in: int, n_out: int) -> nn.Sequential:
    """Two 3x3 convolutions with batch norm and ReLU; the size of the picture stays."""
    layers: list[nn.Module] = []
    for n in (n_in, n_out):
        layers += [nn.Conv2d(n, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class ESC50Model(nn.Module):
    """The document's network: four pairs of 3x3 convolutions, then everything flattened into a dense layer.

    109.7 M parameters, 108.5 M of them in the flatten layer, and 2.8 G multiply-adds for a 128 x 431 image.

    Parameters
    ----------
    input_shape : sequence of 3 int
        Channels, mel bands and frames of the image; a float tensor ``[batch, *input_shape]`` of values 0..255.
    batch_size : int
        Unused, as in the document, whose code passes it.
    num_cats : int
        Classes.
    """

    def __init__(self, input_shape: Sequence[int] = (1, 128, 431), batch_size: int = 16, num_cats: int = 50) -> None:
        super().__init__()
        channels, n_mels, n_frames = input_shape
        if min(n_mels, n_frames) < 8:
            raise CumelError(
                f"ESC50Model: input_shape={tuple(input_shape)}: three poolings need an image of 8 x 8 or more"
            )
        self.batch_size = batch_size
        widths = (channels, 32, 64, 128, 256)
        blocks: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            blocks += [_conv_pair(n_in, n_out), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*blocks[:-1])  # no pooling after the last pair
        self.dense1 = nn.Linear(widths[-1] * (n_mels // 8) * (n_frames // 8), 500)
        self.dropout = nn.Dropout(0.5)
        self.dense2 = nn.Linear(500, num_cats)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits [batch, num_cats]."""
        image = image.to(self.dense1.weight.dtype)  # of 0..255, exact in float16 too
        hidden = torch.relu(self.dense1(self.features(image).flatten(1)))
        return self.dense2(self.dropout(hidden))


class CompactCNN(nn.Module):
    """A small network for log-mel spectrograms of any length, with its normalisation inside.

    3x3 pairs of 32, 64 and 128 channels and one layer of 256, mean over frequency, mean + max over time:
    0.6 M parameters, 0.2 G multiply-adds for 64 x 251.

    Parameters
    ----------
    mean, std : float
        Of the training folds' log-mel values, in dB; the network sees ``(x - mean) / std``.
    num_cats : int
        Classes.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float = 0.0, std: float = 1.0, num_cats: int = 50) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(float(mean)))
        self.register_buffer("std", torch.tensor(float(std)))
        self.stem = nn.Sequential(
            nn.Conv2d(1, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True)
        )
        self.features = nn.Sequential(
            _conv_pair(32, 32),
            nn.MaxPool2d(2),
            _conv_pair(32, 64),
            nn.MaxPool2d(2),
            _conv_pair(64, 128),
            nn.MaxPool2d(2),
            nn.Conv2d(128, 256, 3, padding=1, bias=False),
            nn.BatchNorm2d(256),
            nn.ReLU(inplace=True),
        )
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(256, num_cats)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return logits [batch, num_cats] of ``log_mel`` [batch, 1, n_mels, n_frames] in dB."""
        x = ((log_mel - self.mean) / self.std).to(self.head.weight.dtype)  # decibels are too coarse in float16
        x = self.features(self.stem(x)).mean(dim=2)
        return self.head(self.dropout(x.mean(dim=2) + x.amax(dim=2)))


def count_parameters(net: nn.Module) -> int:
    """Return how many trainable numbers `net` has."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)
