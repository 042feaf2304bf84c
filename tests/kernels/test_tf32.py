"""Nothing is multiplied in TF32: torch's switches inside and after, from several threads, and where they are set."""

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from cumel.esc50.audio import resampling
from cumel.esc50.system import device as module
from cumel.esc50.system.device import choose
from cumel.kernels import FeatureConfig, LogMel, autograd, log_mel, precision
from cumel.kernels.precision import exact_products, multiply_exactly

CFG = FeatureConfig(sr=8000, n_fft=256, hop_length=128, n_mels=16)
BACKENDS = torch.backends


def settings() -> tuple[str | None, ...]:
    """Return what decides about TF32, by torch's newer names and its older ones."""
    products, convolutions, newer = precision._settings()
    return (*newer, products, str(convolutions))


EXACT = ("ieee", "ieee", "ieee", "highest", "False")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = precision._settings()
    precision._restore("highest", True, ("tf32", "tf32", "none"))  # torch's own, whatever a command did on a GPU
    assert settings() != EXACT
    yield
    precision._restore(*before)
    BACKENDS.fp32_precision = "none"


def by_older_names() -> None:
    torch.set_float32_matmul_precision("high")


def by_newer_names() -> None:
    BACKENDS.cudnn.conv.fp32_precision = "tf32"
    BACKENDS.cuda.matmul.fp32_precision = "tf32"


def for_all() -> None:
    BACKENDS.fp32_precision = "tf32"


def in_part() -> None:
    """In a way for which the older names have no word."""
    BACKENDS.cudnn.conv.fp32_precision = "ieee"


@pytest.mark.parametrize("ask", [lambda: None, by_older_names, by_newer_names, for_all, in_part])
def test_the_users_settings_come_back(ask: Callable[[], None]) -> None:
    ask()
    before = settings()
    with exact_products():
        assert settings() == EXACT
        assert BACKENDS.cudnn.allow_tf32 is False  # the older name agrees, so that nobody who asks it is refused
        assert BACKENDS.cuda.matmul.allow_tf32 is False
        with exact_products():
            assert settings() == EXACT
        assert settings() == EXACT
    assert settings() == before
    with pytest.raises(ZeroDivisionError), exact_products():
        raise ZeroDivisionError
    assert settings() == before


def test_a_thread_that_ends_leaves_the_others_exact() -> None:
    before, inside, go_on = settings(), threading.Event(), threading.Event()

    def other() -> None:
        with exact_products():
            inside.set()
            go_on.wait()

    thread = threading.Thread(target=other)
    with exact_products():
        thread.start()
        inside.wait()
    assert settings() == EXACT
    go_on.set()
    thread.join()
    assert settings() == before


def test_a_command_on_a_gpu_is_exact_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings()
    assert choose("cpu").type == "cpu"
    assert settings() == before
    fake = SimpleNamespace(is_available=lambda: True, device_count=lambda: 2)
    monkeypatch.setattr(module.torch, "cuda", fake)
    for name, number in (("auto", 0), ("cuda", 0), ("cuda:1", 1)):
        precision._restore("high", True, ("tf32", "tf32", "tf32"))
        assert choose(name) == torch.device("cuda", number)
        assert settings() == EXACT
    multiply_exactly()
    assert settings() == EXACT


def test_resampling_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, shipped = [], resampling._filter

    def watched(*given: object) -> Callable[[Tensor], Tensor]:
        def convert(y: Tensor) -> Tensor:
            seen.append(settings())
            return shipped(*given)(y)

        return convert

    monkeypatch.setattr(resampling, "_filter", watched)
    cpu = torch.device("cpu")
    resampling.resample_on(cpu, np.ones(3000, np.float32), 16000, 8000)
    resampling.resample_clips(torch.ones(2, 3000), 16000, 8000)
    assert seen == [EXACT, EXACT]
    assert settings() != EXACT


def test_gradients_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward, where torch's own operators multiply."""
    seen, shipped = [], autograd.magnitude_or_power

    def watched(*given: Tensor) -> Tensor:
        seen.append(settings())
        return shipped(*given)

    monkeypatch.setattr(autograd, "magnitude_or_power", watched)
    log_mel(torch.ones(1, 3000, requires_grad=True), CFG).sum().backward()
    LogMel(CFG)(torch.rand(1, 3000).requires_grad_()).sum().backward()
    assert len(seen) == 2
    assert set(seen) == {EXACT}
