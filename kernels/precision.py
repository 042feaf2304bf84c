"""The rule about TF32: nothing computes in it. GPUs since Ampere may multiply float32 so, with ten bits of a factor.

torch's convolutions do by default, its matrix products where the user asked for it. A resampled recording was off by up
to 3.6 dB near the floor of a spectrogram. bfloat16, which a recipe names, is another matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

import torch

Value = TypeVar("Value")
# torch's settings by their older names, of products and of convolutions; then by their newer names.
Settings = tuple[str | None, bool | None, tuple[str, ...]]

_lock = Lock()
_depth = 0  # number of blocks that threads are in: torch's switches belong to the process
_before: Settings | None = None


def _switches() -> tuple[object, ...]:
    return torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.cuda.matmul  # pyright: ignore[reportAttributeAccessIssue]


def multiply_exactly() -> None:
    """Multiply float32 by float32 in this process from now on."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False  # The older names must agree with the newer ones.
    for switch in _switches():
        switch.fp32_precision = "ieee"  # pyright: ignore[reportAttributeAccessIssue]


@contextmanager
def exact_products() -> Iterator[None]:
    """Multiply float32 by float32 within the block; the user's settings come back when no thread is in one."""
    global _depth, _before
    with _lock:
        if _depth == 0:
            _before = _settings()
            multiply_exactly()
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0 and _before is not None:
                _restore(*_before)


def _settings() -> Settings:
    newer = tuple(switch.fp32_precision for switch in _switches())  # pyright: ignore[reportAttributeAccessIssue]
    return _asked(torch.get_float32_matmul_precision), _asked(lambda: torch.backends.cudnn.allow_tf32), newer


def _asked(older: Callable[[], Value]) -> Value | None:
    """Ask by one of torch's older names; None where the newer ones hold a setting that the older cannot express."""
    try:
        return older()
    except RuntimeError:
        return None


def _restore(products: str | None, convolutions: bool | None, newer: tuple[str, ...]) -> None:
    if products is not None:
        torch.set_float32_matmul_precision(products)
    if convolutions is not None:
        torch.backends.cudnn.allow_tf32 = convolutions
    for switch, value in zip(_switches(), newer, strict=True):
        switch.fp32_precision = value  # pyright: ignore[reportAttributeAccessIssue]
