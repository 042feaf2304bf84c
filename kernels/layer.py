"""`LogMel`, the front end as a layer: one custom operator for autograd, torch.compile and export."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .arrays import Lengths, rows_first, whole_numbers
from .autograd import log_mel_gradient
from .config import FeatureConfig
from .features import Array, Config, config_of, log_mel
from .interchange import clip_lengths
from .precision import exact_products
from .tensors import transformed

_config = lru_cache(maxsize=64)(FeatureConfig.from_json)


@torch.library.custom_op("cumel::log_mel", mutates_args=())
def _log_mel(y: Tensor, config: str, lengths: Tensor | None) -> Tensor:
    with torch.no_grad():
        return log_mel(y, _config(config), lengths).contiguous()  # as the fake one below


@_log_mel.register_fake
def _(y: Tensor, config: str, lengths: Tensor | None) -> Tensor:  # noqa: ARG001
    cfg = _config(config)
    shape = (cfg.n_mels, cfg.frames_of(y.shape[-1]))
    return y.new_empty((*y.shape[:-1], *(reversed(shape) if cfg.time_major else shape)), dtype=torch.float32)


@torch.library.custom_op("cumel::log_mel_backward", mutates_args=())
def _gradient(gradient: Tensor, y: Tensor, config: str, lengths: Tensor | None) -> Tensor:
    cfg = _config(config)
    clips = y.reshape(-1, y.shape[-1])
    flat = rows_first(gradient.reshape(-1, *gradient.shape[-2:]).float(), cfg)
    with torch.autocast(y.device.type, enabled=False), exact_products():
        out = log_mel_gradient(flat, clips, clip_lengths(lengths, y, cfg)[0], cfg)
    return out.reshape(y.shape)


@_gradient.register_fake
def _(gradient: Tensor, y: Tensor, config: str, lengths: Tensor | None) -> Tensor:  # noqa: ARG001
    return torch.empty_like(y)


def _save(ctx: Any, inputs: tuple[Tensor, str, Tensor | None], output: Tensor) -> None:  # noqa: ARG001
    y, ctx.config, lengths = inputs
    ctx.save_for_backward(y, lengths)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
    y, lengths = ctx.saved_tensors
    if not torch.is_grad_enabled():
        return _gradient(gradient, y, ctx.config, lengths), None, None
    out = log_mel(y, _config(ctx.config), lengths)  # computed by torch's operators, so this gradient has one itself
    return torch.autograd.grad(out, y, gradient, create_graph=True)[0], None, None


@_gradient.register_vmap
def _(
    info: Any, axes: tuple[int | None, ...], gradient: Tensor, y: Tensor, config: str, lengths: Tensor | None
) -> tuple[Tensor, int]:
    """Make the axis that vmap hides one more axis of the batch."""

    def batched(tensor: Tensor | None, axis: int | None) -> Any:
        if tensor is None:
            return None
        return tensor.expand(info.batch_size, *tensor.shape) if axis is None else tensor.movedim(axis, 0)

    return _gradient(batched(gradient, axes[0]), batched(y, axes[1]), config, batched(lengths, axes[3])), 0


_log_mel.register_autograd(_backward, setup_context=_save)


class LogMel(nn.Module):
    """Log-mel spectrogram as a layer: ``[..., n_samples]`` to what `log_mel` makes of it, in the same layout.

    Takes what `log_mel` takes, and gives the same kind of array. Differentiable in the waveform, any number of times,
    backward and forward, and under `torch.func`'s transforms. The config travels in `state_dict`, and loading another
    one is an error.

    Parameters
    ----------
    cfg : FeatureConfig or str
        A description, or the name of one in `PRESETS`.

    Examples
    --------
    >>> LogMel(FeatureConfig(sr=16000, n_mels=40))(torch.zeros(2, 16000)).shape
    torch.Size([2, 40, 32])
    """

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.cfg = config_of(cfg)
        self._config = self.cfg.to_json()  # the operator's argument: a constant to torch.compile

    def forward(self, y: Array, lengths: Lengths = None) -> Array:
        """Compute the features of float32 or int16 clips; `lengths` as in `log_mel`."""
        if not isinstance(y, Tensor) or (not torch.compiler.is_compiling() and transformed(y)):
            return log_mel(y, self.cfg, lengths)
        if lengths is not None and not isinstance(lengths, Tensor):
            values = whole_numbers(lengths)
            lengths = torch.from_numpy(values.astype(np.int64)) if values.dtype.kind in "iu" else lengths
        if (isinstance(lengths, Tensor) and lengths.shape == y.shape[:-1]) or lengths is None:
            return _log_mel(y, self._config, lengths)
        return log_mel(y, self.cfg, lengths)  # clips right after one another, or lengths that are an error

    def get_extra_state(self) -> dict[str, Any]:
        """Return the config as JSON types."""
        return self.cfg.to_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Refuse a state saved with another config."""
        differing = FeatureConfig.from_dict(state).differences(self.cfg)
        if differing:
            raise ValueError(f"LogMel: the saved state has {'; '.join(differing)}")

    def extra_repr(self) -> str:
        """Show the config."""
        return str(self.cfg)
