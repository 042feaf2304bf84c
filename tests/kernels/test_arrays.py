"""What the public functions take and give back: kinds of array, batches bit for bit, and what they refuse."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from cumel.kernels import (
    PRESETS,
    CumelError,
    FeatureConfig,
    InputError,
    autograd,
    log_mel,
    mel_image,
    melspectrogram,
    mfcc,
    native,
    stft,
)
from cumel.kernels.tensors import Padded

from support.signals import CONFIGS, SMALL, signal

FUNCTIONS = {f.__name__: f for f in (stft, melspectrogram, log_mel, mfcc, mel_image)}
every_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
Function = Callable[..., Any]

AMIN_DB = -100.0
MINUTES = 5
EXTRA_BYTES = 8e6  # besides the result, on one thread; 3.8e6 measured: a chunk of frames, its spectra, powers and mels


def batch(cfg: FeatureConfig, dtype: str) -> tuple[np.ndarray, list[int]]:
    """Return four clips of noise, padded with noise, and the length of each; the last chunks are of any size."""
    longest = 5 * cfg.n_fft + cfg.hop_length // 2 + 3
    y = 0.2 * np.random.default_rng(3).standard_normal((4, longest))
    lengths = [longest, cfg.n_fft + 1, 3 * cfg.n_fft, longest - 2 * cfg.hop_length - 1]
    return (y.astype(np.float32) if dtype == "float32" else (y * 20000).astype(np.int16)), lengths


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", ["float32", "int16"])
@pytest.mark.parametrize("name", CONFIGS)
@every_function
def test_a_clip_in_a_batch_is_the_clip_alone(function: Function, name: str, dtype: str, threads: int) -> None:
    cfg = CONFIGS[name]
    y, lengths = batch(cfg, dtype)
    together, padded = function(y, cfg), function(y, cfg, lengths)
    grouped = function(y.reshape(2, 2, -1), cfg, np.reshape(lengths, (2, 2)))
    torch.set_num_threads(3 - threads)
    for clip, n in enumerate(lengths):
        n_frames = cfg.n_frames(n)
        np.testing.assert_array_equal(together[clip], function(y[clip], cfg))
        np.testing.assert_array_equal(padded[clip, :, :n_frames], function(y[clip, :n], cfg))
    np.testing.assert_array_equal(grouped.reshape(padded.shape), padded)


@pytest.mark.parametrize("name", ["esc50", "whisper", "magnitude", "l1", "l2"])
def test_frames_past_the_end_are_masked(name: str) -> None:
    cfg = CONFIGS[name]
    y, lengths = batch(cfg, "float32")
    outputs = {function: function(y, cfg, lengths) for function in FUNCTIONS.values()}
    for clip, n in enumerate(lengths):
        past = np.s_[clip, :, cfg.n_frames(n) :]
        for function in (stft, melspectrogram, mel_image):
            assert not outputs[function][past].any()
        alone = log_mel(y[clip, :n], cfg)
        silence = 10 * np.log10(cfg.amin) - 10 * np.log10(max(cfg.amin, cfg.ref))
        floor = silence if cfg.top_db is None else max(silence, alone.max() - cfg.top_db)
        np.testing.assert_allclose(outputs[log_mel][past], floor, rtol=1e-6)


@every_function
def test_int16_is_the_same_as_float32(function: Function) -> None:
    y = np.arange(-32768, 32768, 3, dtype=np.int32).astype(np.int16)
    np.random.default_rng(1).shuffle(y)
    expected = function(y.astype(np.float32) / 32768, SMALL)
    np.testing.assert_array_equal(function(y, SMALL), expected)
    np.testing.assert_array_equal(function(torch.from_numpy(y), SMALL).numpy(), expected)


@every_function
def test_any_layout_in_the_same_kind_of_array_out(function: Function) -> None:
    y = np.stack([signal("noise", 3000, 16000), signal("chirp", 3000, 16000)])
    expected = function(y, SMALL)
    assert type(expected) is np.ndarray
    assert expected.flags.writeable
    as_tensor = function(torch.from_numpy(y), SMALL)
    assert type(as_tensor) is torch.Tensor
    locked = y.copy()
    locked.setflags(write=False)
    padded = np.zeros((2, 6001), np.float32)
    padded[:, 1::2] = y
    layouts = [
        as_tensor,
        function(locked, SMALL),
        function(np.asfortranarray(y), SMALL),
        function(padded[:, 1::2], SMALL),
        function(y[::-1, ::-1].copy()[::-1, ::-1], SMALL),  # negative strides
        function(torch.from_numpy(y.T.copy()).T, SMALL),
        function(torch.from_numpy(padded)[:, 1::2], SMALL),
    ]
    for layout in layouts:
        np.testing.assert_array_equal(np.asarray(layout), expected)


@every_function
def test_the_input_stays_as_it_was(function: Function) -> None:
    for y in (signal("noise", 3000, 16000), signal("quiet", 3000, 16000)):
        before, tensor = y.copy(), torch.from_numpy(y.copy())
        out = function(y, SMALL)
        function(tensor, SMALL)
        np.testing.assert_array_equal(y, before)
        np.testing.assert_array_equal(tensor.numpy(), before)
        assert not np.shares_memory(out, y)


@every_function
def test_shapes(function: Function) -> None:
    rows = {stft: SMALL.n_bins, mfcc: SMALL.n_mfcc}.get(function, SMALL.n_mels)
    dtype = {stft: np.complex64, mel_image: np.uint8}.get(function, np.float32)
    for shape in [(), (3,), (2, 3), (1, 1, 1), (0,), (2, 0)]:
        out = function(np.zeros((*shape, 1601), np.float32), SMALL)
        assert (out.shape, out.dtype) == ((*shape, rows, 11), dtype)
        assert function(torch.zeros(*shape, 1601, requires_grad=True), SMALL).shape == out.shape


def test_torchs_modes_and_threads_stay_as_they_were(threads: int) -> None:
    y = torch.from_numpy(batch(SMALL, "float32")[0])
    expected = log_mel(y, SMALL)
    with torch.inference_mode():
        assert log_mel(y, SMALL).is_inference()
        inside = y.clone()
        np.testing.assert_array_equal(log_mel(inside, SMALL).numpy(), expected.numpy())
    np.testing.assert_array_equal(log_mel(inside, SMALL).numpy(), expected.numpy())
    assert torch.is_grad_enabled()
    assert torch.get_num_threads() == threads
    assert not expected.requires_grad


REFUSED = [
    (np.zeros(9), {}, "y has dtype float64: give float32 in -1..1, or int16 (y.astype('float32') converts)"),
    (torch.zeros(9, dtype=torch.float16), {}, "y has dtype float16: give float32"),
    (np.zeros(9, np.int32), {}, "y has dtype int32: give float32"),
    (np.zeros(9, np.complex64), {}, "y has dtype complex64: give float32"),
    (np.zeros(9, bool), {}, "y has dtype bool: give float32"),
    (np.zeros(9, ">i2"), {}, "y has dtype >i2: give float32"),
    (np.zeros(9, object), {}, "y has dtype object: give float32"),
    (np.ma.masked_array(np.zeros(9, np.float32)), {}, "y: a masked array hides samples"),
    (torch.zeros(9, device="meta"), {}, "y: the tensor's samples lie in the meta device"),
    ((np.zeros(9, np.float32), 16000), {}, "y: expected a NumPy or CuPy array or a torch tensor, got tuple; of the"),
    (np.zeros((9000, 2), np.float32), {}, "y has shape (9000, 2): the last axis holds the samples, and 9000 clips of"),
    (np.zeros((9000, 1), np.int16), {}, "y has shape (9000, 1): the last axis holds the samples"),
    (np.zeros((4, 9000, 6), np.float32), {}, "y has shape (4, 9000, 6): the last axis holds the samples"),
    (np.zeros((2, 9), np.float32), {"lengths": ["a", "b"]}, "lengths has shape (2,) and dtype <U1"),
    (np.zeros((2, 9), np.float32), {"lengths": [[1], [1, 2]]}, "lengths: give one whole number per clip"),
    (np.zeros(9, np.float32), {"device": "gpu"}, "device='gpu': must be cpu, cuda or cuda:N"),
    (np.zeros(9, np.float32), {"device": "meta"}, "device=meta: must be cpu, cuda or cuda:N"),
    ([0.0] * 9, {}, "y: expected a NumPy or CuPy array or a torch tensor, got list"),
    (None, {}, "y: expected a NumPy or CuPy array or a torch tensor, got NoneType"),
    (np.zeros(0, np.float32), {}, "y has shape (0,): the last axis holds the samples, and needs at least one"),
    (np.zeros((2, 0), np.int16), {}, "y has shape (2, 0): the last axis holds"),
    (torch.tensor(0.0), {}, "y has shape (): the last axis holds the samples"),
    (np.array(0.0, np.float32), {}, "y has shape (): the last axis holds the samples"),
    (np.zeros((2, 9), np.float32), {"lengths": [9]}, "lengths has shape (1,) and dtype int64: give one whole number"),
    (np.zeros((2, 9), np.float32), {"lengths": 9}, "lengths has shape () and dtype int64: give one whole number per"),
    (np.zeros((2, 9), np.float32), {"lengths": [9.0, 8.0]}, "lengths has shape (2,) and dtype float"),
    (np.zeros((2, 9), np.float32), {"lengths": [True, True]}, "lengths has shape (2,) and dtype bool"),
    (np.zeros((2, 9), np.float32), {"lengths": [[9, 9]]}, "lengths has shape (1, 2) and dtype int64"),
    (np.zeros((2, 9), np.float32), {"lengths": [9, 10]}, "lengths[1]=10: must be between 1 and the 9 samples of y"),
    (np.zeros((2, 9), np.float32), {"lengths": [0, 9]}, "lengths[0]=0: must be between 1 and the 9 samples of y"),
    (np.zeros((2, 9), np.float32), {"lengths": [9, -1]}, "lengths[1]=-1: must be between 1 and"),
    (np.zeros((2, 9), np.float32), {"lengths": [9, 2**70]}, "lengths has shape (2,) and dtype object: give one whole"),
    (np.zeros((2, 9), np.float32), {"lengths": ["9", "9"]}, "lengths has shape (2,) and dtype <U1: give one whole"),
    (np.zeros((2, 9), np.float32), {"lengths": [[9], [9, 9]]}, "lengths: give one whole number per clip"),
]


@pytest.mark.parametrize(("y", "options", "message"), REFUSED, ids=[message[:40] for _, _, message in REFUSED])
@every_function
def test_refuses(function: Function, y: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(CumelError) as caught:
        function(y, SMALL, **options)
    assert str(caught.value).startswith(message)


@every_function
def test_refuses_a_clip_without_a_frame(function: Function) -> None:
    cfg = SMALL.replace(center=False)
    message = r"^clip 1 has 511 samples, fewer than the 512 of one frame: use center=True or pad it$"
    with pytest.raises(CumelError, match=message):
        function(np.zeros((2, 600), np.float32), cfg, [512, 511])
    with pytest.raises(CumelError, match=message.replace("clip 1", "clip 0")):
        function(np.zeros(511, np.int16), cfg)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("needs_gradient", [False, True], ids=["plain", "gradient"])
@pytest.mark.parametrize("function", [log_mel, mfcc, mel_image])
def test_refuses_nan_and_infinity(function: Function, value: float, needs_gradient: bool) -> None:
    y = torch.zeros(3, 3000)
    y[1, 1500] = value
    with pytest.raises(InputError, match=r"^clip 1 of 3 holds NaN or infinity") as caught:
        function(y.requires_grad_(needs_gradient), SMALL)
    assert caught.value.exit_code == 1


def test_nan_past_a_clips_end_is_not_heard() -> None:
    y = np.zeros((2, 3000), np.float32)
    y[1, 2000:] = np.nan
    np.testing.assert_array_equal(log_mel(y, SMALL, [3000, 2000]), AMIN_DB)


def peak_bytes(compute: Callable[[], torch.Tensor]) -> int:
    """Return the most that torch held at once while it computed, result included."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
        compute()
    events = profiler.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    return int(np.cumsum([n_bytes for _, n_bytes in changes]).max())


def numpys_peak_bytes(compute: Callable[[], torch.Tensor]) -> int:
    """Return the most that NumPy held at once while it computed, result included."""
    tracemalloc.start()
    try:
        compute()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("threads", [1], indirect=True)  # the profiler sees its own thread alone
@pytest.mark.usefixtures("threads")
def test_a_long_clip_takes_hardly_more_memory_than_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = PRESETS["compact"]
    y = torch.from_numpy(signal("quiet", MINUTES * 60 * cfg.sr, cfg.sr))
    for compiled, peak in ((True, numpys_peak_bytes), (False, peak_bytes)):
        if compiled and not native.available():
            continue
        with monkeypatch.context() as patched:
            patched.setattr(native, "computes", lambda _, compiled=compiled: compiled)
            for function in (stft, melspectrogram, log_mel):
                result = function(y, cfg).nbytes
                assert result <= peak(lambda: function(y, cfg)) < result + EXTRA_BYTES  # noqa: B023
    at_once = peak_bytes(lambda: autograd.log_mel(Padded(y[None], [len(y)]), cfg))
    assert at_once > 10 * EXTRA_BYTES  # The profiler would have seen it.


def test_autocast_does_not_reach_the_front_end() -> None:
    y = torch.from_numpy(batch(SMALL, "float32")[0])
    plain = [function(y, SMALL) for function in (log_mel, mfcc)]
    with torch.autocast("cpu", torch.bfloat16):
        inside = [function(y, SMALL) for function in (log_mel, mfcc)]
        traced = log_mel(y.clone().requires_grad_(), SMALL)
    for mine, theirs in zip(plain, inside, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
    assert traced.dtype == torch.float32
    np.testing.assert_allclose(traced.detach().numpy(), plain[0].numpy(), atol=1e-2, rtol=0)


def test_lengths_may_be_read_only() -> None:
    y, lengths = np.zeros((2, 3000), np.float32), np.array([3000, 1])
    lengths.flags.writeable = False
    np.testing.assert_array_equal(log_mel(y, SMALL, lengths), log_mel(y, SMALL, [3000, 1]))
