"""The CUDA path on a device: the bits of the emulator, within the tolerances of `signals`, through every door."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from cumel import kernels as functions
from cumel.kernels import (
    InputError,
    LogMel,
    UnavailableError,
    arrays,
    cuda,
    launcher,
    log_mel,
    mel_image,
    out_of_core,
    plan,
)

from simt.emulator import compile_many
from support.emulation import FEATURES, PLANS, Emulated, kernels, together
from support.model_clips import CONFIGS as FRONT_ENDS, SIGNALS, awkward, clip_of
from support.on_device import GRADIENT_ATOL, SMOOTH, compute, noise
from support.signals import CASES, CONFIGS, KINDS, SMALL, STFT_ATOL, Oracle, cufft_slack, lengths, oracle, signal

pytestmark = pytest.mark.gpu

DEVICE_DB = 5e-5  # from the emulator's dB: __log2f is good to 2 steps of float32, 2.3e-5 dB at -100 dB. No GPU yet
SLEEP = 100_000_000  # cycles: at least 30 ms, in which a launch on another stream would come first
EXACT = ("stft", "spectrogram", "melspectrogram")  # sums, products and roots, which are rounded alike everywhere
every_plan = pytest.mark.parametrize("name", PLANS)


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Every launch leaves every workspace zero, also one that was refused."""
    yield
    torch.cuda.synchronize()
    held = launcher.frontend(torch.device("cuda", torch.cuda.current_device())).launcher
    for peaks, tickets in held._workspaces.values():
        assert not peaks.any()
        assert not tickets.any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CONFIGS)
def test_equals_the_reference(name: str, kind: str) -> None:
    for length in lengths(CONFIGS[name]):
        assert (name, kind, length) in CASES
        expected = oracle(name, kind, length, cufft_slack(CONFIGS[name]))
        y = torch.from_numpy(expected.y).cuda()
        expected.check_all(lambda feature: compute(feature, y, expected.cfg).cpu().numpy(), kind)  # noqa: B023


@pytest.mark.parametrize("kind", SIGNALS)
@pytest.mark.parametrize("name", FRONT_ENDS)
def test_front_ends_of_models_equal_the_reference(name: str, kind: str) -> None:
    """In a padded batch with lengths in host memory and on the device."""
    cfg = FRONT_ENDS[name]
    clips = [clip_of(kind, n) for n in awkward(cfg)]
    y, n_samples = together(clips, packed=False)
    samples = torch.from_numpy(y).cuda()
    batch = {feature: compute(feature, samples, cfg, n_samples) for feature in FEATURES}
    there = compute("log_mel", samples, cfg, torch.tensor(n_samples).cuda())
    torch.testing.assert_close(there, batch["log_mel"], rtol=0, atol=0)
    for i, clip in enumerate(clips):
        n_frames = cfg.n_frames(len(clip))
        Oracle(clip, cfg, cufft_slack(cfg)).check_all(lambda feature: batch[feature][i, :, :n_frames].cpu().numpy())  # noqa: B023


@every_plan
def test_equals_the_emulator(name: str) -> None:
    cfg, emulated = CONFIGS[name], Emulated()
    compile_many(kernels(cfg))
    y, n_samples = together([signal("noise", n * cfg.n_fft + 1, cfg.sr) for n in (9, 1, 4)], packed=True)
    on_device = torch.from_numpy(y).cuda()
    for feature in FEATURES:
        ours = compute(feature, on_device, cfg, n_samples).cpu().numpy()
        expected = emulated(feature, y, cfg, n_samples)
        assert (ours.shape, ours.dtype) == (expected.shape, expected.dtype)
        if feature in EXACT and PLANS[name]:
            np.testing.assert_array_equal(ours, expected)
        elif feature == "stft":
            np.testing.assert_allclose(ours, expected, rtol=0, atol=STFT_ATOL * np.abs(expected).max())
        elif feature == "log_mel" and PLANS[name]:
            np.testing.assert_allclose(ours, expected, rtol=0, atol=DEVICE_DB)
    full = compute("log_mel", on_device, cfg, n_samples)
    assert torch.equal(compute("half", on_device, cfg, n_samples), full.half())


@every_plan
@pytest.mark.parametrize("feature", FEATURES)
def test_a_clip_has_the_same_bits_in_any_company(feature: str, name: str) -> None:
    """Alone, packed at odd samples, padded, as int16, and among so many that blocks have more frames."""
    cfg = CONFIGS[name]
    pcm = [(20000 * noise(n * cfg.n_fft + 1, seed=n)).short() for n in (9, 1, 4)]
    clips = [clip.float() / 32768 for clip in pcm]
    alone = [compute(feature, clip.cuda(), cfg) for clip in clips]
    n_samples = [len(clip) for clip in clips]
    padded = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True, padding_value=torch.nan)
    outputs = [
        compute(feature, torch.cat(clips).cuda(), cfg, n_samples),
        compute(feature, torch.cat(pcm).cuda(), cfg, n_samples),
        compute(feature, padded.cuda(), cfg, n_samples),
        compute(feature, padded.repeat(512, 1).cuda(), cfg, n_samples * 512)[-3:],
    ]
    for out in outputs:
        for ours, expected in zip(out, alone, strict=True):
            assert torch.equal(ours[:, : expected.shape[1]], expected)
    odd = torch.cat([torch.zeros(1), clips[0]]).cuda()[1:]
    assert torch.equal(compute(feature, odd, cfg), alone[0])
    odd = torch.cat([torch.zeros(1, dtype=torch.int16), pcm[0]]).cuda()[1:]
    assert torch.equal(compute(feature, odd, cfg), alone[0])


@pytest.mark.parametrize("feature", FEATURES)
def test_what_comes_in_comes_back(feature: str) -> None:
    y, cfg = noise(n_clips=3), CONFIGS["compact"]
    expected = compute(feature, y.cuda(), cfg)
    assert expected.device == torch.device("cuda", torch.cuda.current_device())
    through = compute(feature, y.numpy(), cfg, device="cuda")
    assert type(through) is np.ndarray
    np.testing.assert_array_equal(through, expected.cpu().numpy())
    there_and_back = compute(feature, y, cfg, device="cuda:0")
    assert there_and_back.device == y.device
    assert torch.equal(there_and_back, expected.cpu())
    on_cpu = compute(feature, y.cuda(), cfg, device="cpu")
    assert on_cpu.device == expected.device
    assert torch.equal(on_cpu.cpu(), compute(feature, y, cfg))
    assert compute(feature, y[:0].cuda(), cfg).shape == (0, *expected.shape[1:])
    assert torch.equal(compute(feature, y.cuda().reshape(3, 1, 1, -1), cfg), expected[:, None, None])
    strided = torch.stack([y, y], dim=2).cuda()[:, :, 1]
    assert torch.equal(compute(feature, strided, cfg), expected)


@pytest.mark.parametrize("feature", FEATURES)
def test_cupy_arrays(feature: str) -> None:
    import cupy

    host, cfg = noise(n_clips=3), CONFIGS["compact"]
    expected = compute(feature, host.cuda(), cfg).cpu().numpy()
    for stream_of_its_own in (cupy.cuda.Stream.null, cupy.cuda.Stream(non_blocking=True)):
        with stream_of_its_own:
            y = cupy.asarray(host.numpy())
            with arrays.as_tensor(y):
                assert torch.cuda.current_stream().cuda_stream == stream_of_its_own.ptr
            out = compute(feature, y, cfg)
            packed = compute(feature, y.reshape(-1), cfg, [host.shape[1]] * 3)
            assert type(out) is type(packed) is cupy.ndarray
            assert (out.dtype, out.shape, out.device) == (expected.dtype, expected.shape, y.device)
            np.testing.assert_array_equal(cupy.asnumpy(out), expected)
            np.testing.assert_array_equal(cupy.asnumpy(packed), expected)


def test_cupy_arrays_are_not_copied() -> None:
    import cupy

    for dtype in (np.float32, np.int16):
        y = cupy.zeros((2, 1000), dtype)
        with arrays.as_tensor(y) as samples:
            assert samples.data_ptr() == y.data.ptr
            assert samples.shape == y.shape
        assert arrays.like(samples, y).data.ptr == y.data.ptr


def test_work_goes_to_the_current_stream() -> None:
    """What is computed on a stream waits for what is before it there, and for nothing else."""
    import cupy

    source = noise().cuda()
    for name in ("esc50", "odd"):
        cfg = CONFIGS[name]
        expected = log_mel(source, cfg)
        y = torch.zeros_like(source)
        torch.cuda.synchronize()
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda._sleep(SLEEP)
            y.copy_(source)
            out = log_mel(y, cfg)
        torch.cuda.synchronize()
        assert torch.equal(out, expected)
        theirs, samples = cupy.cuda.Stream(non_blocking=True), cupy.zeros(len(source), np.float32)
        torch.cuda.synchronize()
        with theirs:
            with torch.cuda.stream(torch.cuda.ExternalStream(theirs.ptr)):
                torch.cuda._sleep(SLEEP)
            samples[:] = cupy.from_dlpack(source)
            out = log_mel(samples, cfg)
        theirs.synchronize()
        np.testing.assert_array_equal(cupy.asnumpy(out), expected.cpu().numpy())


@pytest.mark.parametrize("name", ["esc50", "odd"])
def test_tables_are_there_for_every_stream(name: str) -> None:
    """One stream's first call uploads them, another's does not run ahead of that."""
    y, cfg = noise().cuda(), CONFIGS[name]
    expected = mel_image(y, cfg), functions.mfcc(y, cfg)
    cuda._prepared.cache_clear()
    torch.cuda.synchronize()
    outputs = []
    for sleep in (SLEEP, 0):
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda._sleep(sleep)
            outputs.append((log_mel(y, cfg), functions.mfcc(y, cfg)))
    torch.cuda.synchronize()
    for out in outputs:
        assert torch.equal(out[0], log_mel(y, cfg))
        assert torch.equal(out[1], expected[1])
    assert torch.equal(mel_image(y, cfg), expected[0])


@every_plan
def test_two_streams_at_once(name: str) -> None:
    cfg, rounds = CONFIGS[name], 10
    batches = [noise(20_000 + 3000 * n, seed=n, n_clips=5).cuda() for n in range(2)]
    expected = [log_mel(batch, cfg) for batch in batches]
    streams = [torch.cuda.Stream() for _ in batches]
    torch.cuda.synchronize()
    outputs: list[list[torch.Tensor]] = [[], []]
    for _ in range(rounds):
        for batch, stream_of_its_own, out in zip(batches, streams, outputs, strict=True):
            with torch.cuda.stream(stream_of_its_own):
                out.append(log_mel(batch, cfg))
    torch.cuda.synchronize()
    for out, right in zip(outputs, expected, strict=True):
        assert all(torch.equal(one, right) for one in out)


@every_plan
def test_clips_may_be_finished_by_a_second_launch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg, y = CONFIGS[name].replace(top_db=40.0), noise(n_clips=3).cuda()
    expected = [compute(feature, y, cfg) for feature in ("log_mel", "half", "mel_image")]
    monkeypatch.setattr(plan, "ONE_BLOCK_BYTES", 0)
    for feature, out in zip(("log_mel", "half", "mel_image"), expected, strict=True):
        assert torch.equal(compute(feature, y, cfg), out)


def gradient(device: str) -> torch.Tensor:
    y = noise(n_clips=2).to(device).requires_grad_()
    LogMel(SMOOTH)(y, torch.tensor([40_000, 27_001], device=device)).square().sum().backward()
    assert y.grad.device == y.device
    return y.grad.cpu()


def test_gradients_are_those_of_the_cpu() -> None:
    expected = gradient("cpu")
    torch.testing.assert_close(gradient("cuda"), expected, rtol=0, atol=GRADIENT_ATOL * float(expected.abs().max()))
    layer, y = LogMel(SMOOTH), noise().cuda()
    assert torch.equal(layer(y.requires_grad_()).detach(), log_mel(y.detach(), SMOOTH))
    composed = functions.log_mel(y, SMOOTH)
    assert composed.requires_grad
    assert composed.is_cuda


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@every_plan
def test_nan_and_infinity_stay_in_their_clip(name: str, value: float) -> None:
    cfg = CONFIGS[name].replace(top_db=80.0)
    y = noise(n_clips=3).cuda()
    expected, image = log_mel(y, cfg), mel_image(y, cfg)
    y[1, 30 * cfg.hop_length] = value
    out = log_mel(y, cfg)
    assert out[1].isnan().all()
    assert torch.equal(out[::2], expected[::2])
    with pytest.raises(InputError, match=r"^clip 1 of 3 holds NaN or infinity"):
        mel_image(y, cfg)
    assert torch.equal(mel_image(y[::2], cfg), image[::2])


@pytest.mark.parametrize("feature", FEATURES)
def test_clips_in_pieces(feature: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bits, in bounded memory."""
    cfg, y = CONFIGS["compact"], noise(3_000_000)
    expected = compute(feature, y.cuda(), cfg).cpu()
    monkeypatch.setattr(out_of_core, "SAMPLE_BYTES", 2**20)
    monkeypatch.setattr(out_of_core, "FEATURE_BYTES", 2**21)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    assert torch.equal(compute(feature, y, cfg, device="cuda"), expected)
    assert torch.cuda.max_memory_allocated() - before <= 2 * (2**20 + 2**21) + 2**22  # two of each; rounded up


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(UnavailableError, match=r"^device=cuda:99: torch sees \d+ CUDA devices"):
        log_mel(noise(), SMALL, device="cuda:99")
    assert torch.equal(log_mel(noise(), SMALL, device="cuda"), log_mel(noise(), SMALL, device="cuda:0"))
