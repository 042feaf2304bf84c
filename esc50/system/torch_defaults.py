"""torch as it comes, whatever the calling program has set: training, extraction and export do not depend on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def defaults() -> Iterator[None]:
    """Set torch's default dtype, default device, grad mode and autocast aside, in a block or as a decorator."""
    dtype = torch.get_default_dtype()
    with ExitStack() as held:
        if dtype != torch.float32:
            torch.set_default_dtype(torch.float32)
            held.callback(torch.set_default_dtype, dtype)
        if torch.get_default_device().type != "cpu":
            held.enter_context(torch.device("cpu"))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                # Its cache of weights would outlive steps of the optimizer: only the outermost block's end clears it.
                held.enter_context(torch.autocast(kind, enabled=False, cache_enabled=False))
        held.enter_context(torch.inference_mode(False))
        held.enter_context(torch.enable_grad())
        yield
