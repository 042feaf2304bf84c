"""The kernels under ThreadSanitizer, AddressSanitizer and UndefinedBehaviorSanitizer: no report, and the same bits."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from emulated import Emulated
from launches import LAUNCHES, Launch, large_blocks

from cumel.kernels.plan import WARP

ORDERS: list[dict[str, Any]] = [
    {"order": "forward"},
    {"order": "random", "seed": 1, "resident": 3},
    {"order": "backward"},
    {"order": "random", "seed": 2, "resident": 2},
]
GENERIC_ORDERS = ORDERS[:2]  # but for images: what differs between the others has no barrier

# Sizes that the same kernels must bear, as changes of a config and frames or samples of its clips.
AWKWARD: dict[str, tuple[dict[str, Any], list[int]]] = {}


def results(launch: Launch, orders: list[dict[str, Any]], sanitizer: str | None) -> list[np.ndarray]:
    return [launch.run(Emulated(sanitizer=sanitizer, **order)) for order in orders]


if __name__ == "__main__":
    import sys, time
    with large_blocks(), ThreadPoolExecutor(2) as pool:
        def job(k, s):
            t = time.time()
            base = LAUNCHES[k].run(Emulated())
            t1 = time.time()
            try:
                for o in ORDERS:
                    np.testing.assert_array_equal(LAUNCHES[k].run(Emulated(sanitizer=s, **o)), base)
                ok = base.shape
            except Exception as e:
                ok = repr(e)[:300]
            return k, s, ok, f"{t1-t:.2f} {time.time()-t1:.2f}"
        t = time.time()
        for r in pool.map(lambda a: job(*a), [(k, s) for s in ("thread", "address") for k in LAUNCHES]):
            print(*r, flush=True)
        print(time.time()-t)
