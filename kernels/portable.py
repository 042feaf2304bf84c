"""`FrontEnd`: features by torch's plainest operators, for converters that take a module apart.

ExecuTorch, LiteRT and Core ML know no custom operator, no complex number and no FFT. The transform is the two matrix
products of `dft`, and all sizes are fixed. Training and inference in torch are faster with `LogMel`.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from .autograd import conditioned, lift, preemphasised
from .dft import Dense, narrowed, transform
from .errors import CumelError
from .features import Config, config_of


class FrontEnd(nn.Module):
    """Features of clips of one length, made of operators that every converter of torch modules knows.

    It equals `log_mel` within float32's rounding, has gradients, and no parameters to train. Put it before a network,
    and give the whole to ``torch.export``, ``torch.jit.trace`` or a converter.

    Parameters
    ----------
    cfg : FeatureConfig or str
        The features, or the name of a preset.
    n_samples : int
        Samples of each clip, at the config's rate.

    Attributes
    ----------
    cfg : FeatureConfig
    n_samples, n_frames : int

    Raises
    ------
    CumelError
        For an unknown preset, a length that is too short for a frame, and an n_fft whose transform takes too much.

    Examples
    --------
    >>> front_end = FrontEnd("whisper", 480_000)
    >>> front_end(torch.zeros(2, 480_000)).shape
    torch.Size([2, 80, 3000])
    """

    _mel: Tensor
    _mean: Tensor
    _std: Tensor
    _matrix: Tensor
    _window: Tensor
    _first: Tensor
    _second: Tensor
    _places: Tensor

    def __init__(self, cfg: Config, n_samples: int) -> None:
        super().__init__()
        self.cfg = config_of(cfg)
        whole = isinstance(n_samples, int) and not isinstance(n_samples, bool)
        if not whole or n_samples < self.cfg.least_samples:
            raise CumelError(f"n_samples={n_samples!r}: must be {self.cfg.least_samples} or more, as a frame takes")
        self.n_samples, self.n_frames = n_samples, self.cfg.n_frames(n_samples)
        self._own = own = narrowed(self.cfg)
        self._slices = -(-own.frame_length // own.hop_length)  # of one hop each; the last may be shorter
        dft = transform(own)
        self._constant("_mel", dft.mel)
        self._n_bins = (dft.matrix if isinstance(dft, Dense) else dft.second).shape[-1] // 2  # of each k1
        if isinstance(dft, Dense):
            self._constant("_matrix", dft.matrix)
        else:
            self._split = (*dft.window.shape, len(dft.second))
            self._constant("_window", dft.window)
            self._constant("_first", dft.first)
            self._constant("_second", dft.second)
        left, right = own.edges[0], max(own.edges[1], 0)
        n = n_samples - own.n_dropped
        if own.pad_mode != "constant" and left + right:
            mirrored = np.pad(np.arange(n), (left, right), mode=own.pad_mode)
            self.register_buffer("_places", torch.from_numpy(mirrored), persistent=False)
            left, n = 0, len(mirrored)
        total = (self.n_frames + self._slices) * own.hop_length
        self._left, self._right, self._total = left, max(total - left - n, 0), total
        mean, std = (np.array(value, np.float32) for value in (own.mean, own.std))
        self._constant("_mean", mean[:, None] if mean.ndim else mean)
        self._constant("_std", std[:, None] if std.ndim else std)

    def _constant(self, name: str, value: np.ndarray) -> None:
        self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(value, np.float32)), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Compute features.

        Parameters
        ----------
        waveform : Tensor [batch, n_samples], float32
            Mono, in -1..1.

        Returns
        -------
        Tensor [batch, n_mels, n_frames], float32; [batch, n_frames, n_mels] with `cfg.time_major`
        """
        length = waveform.shape[-1]  # a tensor in a trace
        if waveform.dim() != 2 or (isinstance(length, int) and length != self.n_samples):
            raise CumelError(f"waveform: expected [batch, {self.n_samples}], got {list(waveform.shape)}")
        mel = self._mel_of(self._frames(self._padded(waveform))).transpose(1, 2)
        features = self._statistics(self._levels(mel))
        return features.transpose(1, 2) if self.cfg.time_major else features

    def _padded(self, y: Tensor) -> Tensor:
        """Pre-emphasise clips and pad them, up to whole slices: [batch, (n_frames + slices) * hop]."""
        y = preemphasised(y, self._own)
        if hasattr(self, "_places"):
            y = y.index_select(1, self._places)
        return nn.functional.pad(y, (self._left, self._right))[:, : self._total]

    def _frames(self, y: Tensor) -> Tensor:
        """Cut frames [batch, n_frames, frame_length], less their mean, and pre-emphasised."""
        blocks = y.reshape(-1, self.n_frames + self._slices, self._own.hop_length)
        parts = [blocks[:, i : i + self.n_frames] for i in range(self._slices)]
        return conditioned(torch.cat(parts, dim=2)[:, :, : self._own.frame_length], self._own)

    def _mel_of(self, frames: Tensor) -> Tensor:
        """Return the mel spectrogram [batch, n_frames, n_mels]."""
        if hasattr(self, "_matrix"):
            spectrum = torch.matmul(frames, self._matrix)
        else:
            rows, n2, n_k1 = self._split
            missing = rows * n2 - self._own.frame_length
            frames = nn.functional.pad(frames, (0, missing)) if missing else frames
            windowed = frames.reshape(-1, rows, n2) * self._window
            first = torch.matmul(self._first, windowed).reshape(-1, n_k1, 2 * n2)
            spectrum = torch.matmul(first.transpose(0, 1), self._second).transpose(0, 1)
            spectrum = spectrum.reshape(-1, self.n_frames, n_k1, 2 * self._n_bins)
        real, imaginary = spectrum[..., : self._n_bins], spectrum[..., self._n_bins :]
        strength = real * real + imaginary * imaginary
        strength = strength + self._own.bin_offset if self._own.bin_offset else strength
        strength = strength.sqrt() if self._own.power == 1 else strength
        return torch.matmul(strength.flatten(2), self._mel)

    def _levels(self, mel: Tensor) -> Tensor:
        levels = self._own.levels
        x = mel + levels.offset if levels.offset else mel
        x = x.clamp(min=levels.least) if levels.least > levels.offset else x
        x = x.log() * (levels.gain / math.log(10.0)) if levels.log else x * levels.gain
        x = x - levels.shift if levels.shift else x
        return lift(x, self._own)

    def _statistics(self, x: Tensor) -> Tensor:
        if not self._own.is_per_band:
            return x
        by = self._own.normalize
        if by is not None:
            axes = [2] if by.per == "band" else [1, 2]
            x = x - (x[:, :, :1] if by.per == "band" else x[:, :1, :1])  # A constant band becomes exactly 0.
            for _ in range(2):  # The second mean is of what the first left of rounding.
                x = x - x.mean(axes, keepdim=True)
            n = self.n_frames * (self._own.n_mels if by.per == "clip" else 1)
            if by.variance:
                variance = (x * x).sum(axes, keepdim=True) / max(n - by.ddof, 1)
                deviation = (variance + by.eps).sqrt() if by.eps_in == "var" else variance.sqrt() + by.eps
                tiny = torch.finfo(torch.float32).tiny
                x = x / (deviation if by.eps >= tiny else deviation.clamp(min=tiny))
        return (x - self._mean) / self._std
