"""torch's own defaults, whatever the calling program has set: training, extraction and export do not depend on it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def defaults() -> Iterator[None]:
    """Set torch's default dtype, default device, grad mode and autocast aside, in a block or as a decorator."""
    if sys.modules.get("torch") is None:  # nobody can have set anything
        yield
        return
    import torch

    dtype = torch.get_default_dtype()
    with ExitStack() as stack:
        if dtype != torch.float32:
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, dtype)
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                # Autocast's cache of weights would outlive optimizer steps: only the outermost block's end clears it.
                stack.enter_context(torch.autocast(kind, enabled=False, cache_enabled=False))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        yield
