"""Where features are computed and what comes back: devices, packed clips, and the dtype of the result."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from cumel import kernels
from cumel.kernels import CumelError, UnavailableError, log_mel

from support.signals import CONFIGS, SMALL, signal

FUNCTIONS = ("stft", "spectrogram", "melspectrogram", "log_mel", "mfcc", "mel_image")
LENGTHS = [3001, 1, 700, 257]
every_function = pytest.mark.parametrize("function", [getattr(kernels, name) for name in FUNCTIONS], ids=FUNCTIONS)
Function = Callable[..., Any]


def packed(dtype: type = np.float32) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return clips of LENGTHS, one right after another, and each."""
    y = signal("noise", sum(LENGTHS), SMALL.sr)
    y = (20000 * y).astype(np.int16) if dtype == np.int16 else y
    return y, np.split(y, np.cumsum(LENGTHS)[:-1])


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", [np.float32, np.int16])
@pytest.mark.parametrize("name", ["compact", "whisper", "odd", "l1"])
@every_function
def test_packed_clips_are_a_padded_batch(function: Function, name: str, dtype: type) -> None:
    cfg = CONFIGS[name]
    y, clips = packed(dtype)
    padded = np.zeros((len(clips), max(LENGTHS)), dtype)
    for row, clip in zip(padded, clips, strict=True):
        row[: len(clip)] = clip
    out = function(y, cfg, LENGTHS)
    np.testing.assert_array_equal(out, function(padded, cfg, LENGTHS))
    np.testing.assert_array_equal(function(torch.from_numpy(y), cfg, torch.tensor(LENGTHS)).numpy(), out)
    for ours, clip in zip(out, clips, strict=True):
        alone = function(clip, cfg)
        np.testing.assert_array_equal(ours[:, : alone.shape[1]], alone)


def test_one_clip_may_be_packed() -> None:
    y = signal("noise", 1000, SMALL.sr)
    np.testing.assert_array_equal(log_mel(y, SMALL, [1000]), log_mel(y[None], SMALL))
    np.testing.assert_array_equal(log_mel(y, SMALL, 600), log_mel(y, SMALL, np.int64(600)))


def test_gradients_reach_packed_clips() -> None:
    y, clips = packed()
    source = torch.from_numpy(y).requires_grad_()
    log_mel(source, SMALL, LENGTHS).sum().backward()
    alone = torch.from_numpy(clips[2]).requires_grad_()
    past = SMALL.n_frames(max(LENGTHS)) - SMALL.n_frames(LENGTHS[2])
    out = log_mel(alone, SMALL)
    (out.sum() + past * SMALL.n_mels * (out.max() - SMALL.top_db)).backward()  # silence is top_db below the maximum
    begin = sum(LENGTHS[:2])
    assert alone.grad.abs().max() > 0
    torch.testing.assert_close(source.grad[begin : begin + LENGTHS[2]], alone.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([3001, 1, 700, 256], "lengths add up to 3958, but y has 3959 samples: name its clips in order, all of them"),
        ([3959, 3959], "lengths add up to 7918, but y has 3959 samples"),
        ([3959, 0], r"lengths\[1\]=0: must be between 1 and the 3959 samples of y"),
        ([[3959]], r"lengths has shape \(1, 1\)"),
        ([3959.0], r"lengths has shape \(1,\) and dtype float"),
        ([], r"lengths has shape \(0,\)"),
    ],
)
@every_function
def test_refuses_lengths_that_do_not_fit(function: Function, lengths: list[Any], message: str) -> None:
    with pytest.raises(CumelError, match=f"^{message}"):
        function(packed()[0], SMALL, lengths)


@pytest.mark.parametrize("dtype", ["float16", np.float16, torch.float16, np.dtype("float16")])
def test_float16_is_the_float32_rounded(dtype: Any) -> None:
    y = signal("chirp", 5000, SMALL.sr)
    for cfg in (SMALL, SMALL.replace(top_db=None)):
        half = log_mel(y, cfg, dtype=dtype)
        assert half.dtype == np.float16
        np.testing.assert_array_equal(half, log_mel(y, cfg).astype(np.float16))
        assert log_mel(torch.from_numpy(y), cfg, dtype=dtype).dtype == torch.float16
    assert log_mel(np.zeros((0, 700), np.float32), SMALL, dtype=dtype).dtype == np.float16


@pytest.mark.parametrize("dtype", ["float64", torch.bfloat16, np.uint8])
def test_refuses_another_dtype(dtype: Any) -> None:
    with pytest.raises(CumelError, match="must be float32 or float16"):
        log_mel(np.zeros(700, np.float32), SMALL, dtype=dtype)


@every_function
def test_the_cpu_by_its_name(function: Function) -> None:
    y = signal("noise", 3000, SMALL.sr)
    for device in ("cpu", torch.device("cpu")):
        np.testing.assert_array_equal(function(y, SMALL, device=device), function(y, SMALL))
        assert torch.equal(function(torch.from_numpy(y), SMALL, device=device), torch.from_numpy(function(y, SMALL)))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@every_function
def test_a_device_that_is_not_there(function: Function) -> None:
    for device in ("cuda", "cuda:0", "cuda:3", torch.device("cuda")):
        for y in (np.zeros(700, np.float32), torch.zeros(0, 700, requires_grad=True)):
            with pytest.raises(UnavailableError, match=r"^device=cuda.*: torch sees 0 CUDA devices") as caught:
                function(y, SMALL, device=device)
            assert caught.value.exit_code == 3
