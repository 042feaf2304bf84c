"""The kernels under ThreadSanitizer, AddressSanitizer and UndefinedBehaviorSanitizer: no report, and the same bits."""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from cumel.kernels import plan
from cumel.kernels.plan import WARP, Form, Stage

from simt.compiler import Sanitizer
from support.emulation import Emulated
from support.launches import LAUNCHES, Launch, large_blocks
from support.pairwise import running

Order = dict[str, Any]
ORDERS: list[Order] = [
    {"order": "forward"},
    {"order": "backward"},
    {"order": "random", "seed": 1, "resident": 3},
    {"order": "random", "seed": 2, "resident": 2},
]
CHECKS: list[tuple[str, Sanitizer]] = [(name, sanitizer) for sanitizer in ("address", "thread") for name in LAUNCHES]
# By default, a warp whose lanes do not divide into frames, and the kernels around cuFFT, under both.
BY_DEFAULT = [
    ("400-image", "address"),
    ("400-image", "thread"),
    ("generic-stft", "address"),
    ("generic-image", "thread"),
]
EVERY = [pytest.param(case, marks=[] if case in BY_DEFAULT else [pytest.mark.exhaustive]) for case in CHECKS]


def awkward(launch: Launch) -> list[Launch]:
    """Return the launch with other sizes, which its kernels must bear as they are."""
    cfg, n = launch.cfg, launch.cfg.n_fft
    mirrored = launch._replace(cfg=cfg.replace(pad_mode="reflect"))
    return [
        mirrored,
        mirrored._replace(n_samples=(1,)),
        mirrored._replace(n_samples=(n // 3, 1, 2)),
        launch._replace(n_samples=(n // 3, 1)),
        launch._replace(cfg=cfg.replace(hop_length=n // 4 | 1)),
        launch._replace(cfg=cfg.replace(hop_length=n + 37), n_frames=(3, 5)),
        launch._replace(cfg=cfg.replace(center=False), n_samples=(n, 3 * n + 5)),
        launch._replace(cfg=cfg.replace(top_db=None)),
        launch._replace(n_samples=(2 * n + 1, 1, n // 2 | 1, 3 * n), packed=True),
    ]


def check(launch: Launch, sanitizer: Sanitizer, orders: list[Order]) -> None:
    expected = launch.run(Emulated())
    assert np.isfinite(expected).all()
    for order in orders:
        np.testing.assert_array_equal(launch.run(Emulated(sanitizer=sanitizer, **order)), expected)


def check_all(name: str, sanitizer: Sanitizer) -> None:
    """Use all orders where a warp's lanes do not divide into frames, and two elsewhere, as each costs a second."""
    odd = list(LAUNCHES).index(name) % 2
    check(LAUNCHES[name], sanitizer, ORDERS if name.startswith("400") else ORDERS[odd::2])
    for launch in awkward(LAUNCHES[name]) if sanitizer == "address" else []:
        check(launch, sanitizer, ORDERS[2:3])


@pytest.fixture(scope="module")
def checks(request: pytest.FixtureRequest) -> Iterator[dict[tuple[str, Sanitizer], Future[None]]]:
    """Compile and run on all processors."""
    with large_blocks(), ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {case: pool.submit(check_all, *case) for case in running(request, "case")}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("case", EVERY, ids="-".join)
def test_sanitizers_find_nothing(
    case: tuple[str, Sanitizer], checks: dict[tuple[str, Sanitizer], Future[None]]
) -> None:
    checks[case].result()


def test_launches_have_clips_of_several_blocks_and_blocks_of_several_turns() -> None:
    turns = {}
    with large_blocks():
        for name in ("400-stft", "400-image", "1024-half", "2048-image", "4096-image"):
            launch = LAUNCHES[name]
            stage = Stage.SPECTRUM if launch.feature == "stft" else Stage.DECIBEL
            design = plan.fused(launch.cfg, stage, Form.HALF if launch.half else Form.IMAGE)
            assert design.frames(len(launch.n_frames) * max(launch.n_frames)) < max(launch.n_frames)
            at_once = design.warps * (WARP // plan.RADICES[launch.cfg.n_fft][1])
            turns[name] = -(-min(launch.n_frames) // at_once)
    assert min(turns.values()) > 1
