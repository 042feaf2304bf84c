"""Gradients of every front end: `LogMel`'s own, torch's through the composite, and the slope of the reference."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings, strategies as st
from torch import Tensor, func

from cumel.kernels import PRESETS, FeatureConfig, LogMel, Normalize, autograd, log_mel, mfcc, native, reference
from cumel.kernels.arrays import rows_first
from cumel.kernels.autograd import log_mel_gradient
from cumel.kernels.tensors import Padded

from support.drawn import any_config

FAMILIES = ("whisper", "kaldi", "parakeet", "seamless", "passt", "gemma3n", "speechbrain", "univnet", "pop2piano")
WIDTH = 1200  # samples beyond those of one frame
SLOPE_ATOL = 1e-5  # share of |gradient| |direction|; worst 1.4e-6: bands
STEP = 1e-7
GRADIENT_ATOL = 2e-5  # share of the largest gradient; worst 5.2e-6
DRAWN_ATOL = 1e-3  # the same of drawn configs, or of the largest one before statistics; none of 3000 was off by more
SOME = {name: PRESETS[name] for name in FAMILIES} | {
    "bands": PRESETS["gigaam"].replace(mean=tuple(range(64)), std=tuple(range(1, 65)), top_db=30.0),
    "one deviation": PRESETS["espnet"].replace(normalize=Normalize(per="clip", ddof=1), top_db=40.0, mean=1.0),
    "no deviation": PRESETS["wespeaker"],
}


@pytest.fixture(autouse=True)
def without_the_compiled_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "computes", lambda _: False)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def lengths_of(cfg: FeatureConfig) -> list[int]:
    """Return lengths that differ; the least fills half a frame, since mirrored samples alone make steep slopes."""
    least = max(cfg.least_samples, cfg.frame_length // 2 + 1)
    return [least + n for n in (WIDTH, 0, WIDTH // 3)]


def own_and_torchs(cfg: FeatureConfig, y: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor]:
    """Return `LogMel`'s gradient of weighted features, and autograd's through the composite."""
    weights = noise(len(y), cfg.n_mels, cfg.n_frames(y.shape[1]), seed=1)
    own, torchs = y.clone().requires_grad_(), y.clone().requires_grad_()
    (rows_first(LogMel(cfg)(own, torch.tensor(lengths)), cfg) * weights).sum().backward()
    (autograd.log_mel(Padded(torchs, lengths), cfg) * weights).sum().backward()
    assert own.grad is not None
    assert torchs.grad is not None
    return own.grad, torchs.grad


def check_gradients(cfg: FeatureConfig, y: Tensor, lengths: list[int], atol: float = GRADIENT_ATOL) -> None:
    own, torchs = own_and_torchs(cfg, y, lengths)
    # Statistics may take a gradient away but for its rounding: of two values in a clip, say, they make 1 and -1.
    before = own_and_torchs(cfg.replace(normalize=None), y, lengths)[1] if cfg.normalize else torchs
    largest = torch.maximum(torchs.abs().amax(1), before.abs().amax(1)).tolist()
    for mine, theirs, n, scale in zip(own, torchs, lengths, largest, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=atol * scale + 1e-12)
        assert not mine[n:].any()


@pytest.mark.parametrize("name", PRESETS | SOME)
def test_the_layers_gradient_is_autograds(name: str) -> None:
    cfg = (PRESETS | SOME)[name]
    lengths = lengths_of(cfg)
    check_gradients(cfg, noise(3, max(lengths)), lengths)


@settings(max_examples=60)
@given(any_config(), st.integers(1, 2000))
def test_the_gradient_of_any_config_is_autograds(cfg: FeatureConfig, further: int) -> None:
    assume(cfg.frame_length < 600)
    if cfg.normalize is not None and cfg.top_db is not None:  # A clip all at its floor has no deviation to divide by.
        cfg = cfg.replace(top_db=max(cfg.top_db, 1.0))
    least = lengths_of(cfg)[1]
    lengths = [least + further, least]
    check_gradients(cfg, noise(2, max(lengths)), lengths, DRAWN_ATOL)


@pytest.mark.parametrize("name", SOME)
def test_gradient_is_the_references_slope(name: str) -> None:
    """Where nothing is clamped, as a clamp has no slope at its corner."""
    cfg = SOME[name].replace(top_db=None, time_major=False)
    n_samples = lengths_of(cfg)[0]
    y = noise(n_samples)
    weights = noise(cfg.n_mels, cfg.n_frames(n_samples), seed=1)
    source = y.clone().requires_grad_()
    LogMel(cfg)(source).backward(weights)
    gradient = source.grad.double().numpy()
    directions = [np.random.default_rng(seed).standard_normal(n_samples) for seed in range(2)]
    for towards in (*directions, 50 * gradient / np.linalg.norm(gradient)):
        ahead, behind = (reference.log_mel(y.double().numpy() + s * towards, cfg) for s in (STEP, -STEP))
        slope = float((weights.double().numpy() * (ahead - behind)).sum() / (2 * STEP))
        scale = np.linalg.norm(gradient) * np.linalg.norm(towards)
        assert abs(gradient @ towards - slope) <= SLOPE_ATOL * scale


@pytest.mark.parametrize("name", SOME)
def test_the_gradient_of_silence_is_finite(name: str) -> None:
    cfg = SOME[name]
    y = torch.zeros(2, max(lengths_of(cfg)), requires_grad=True)
    for compute in (LogMel(cfg), lambda y: log_mel(y, cfg)):
        (gradient,) = torch.autograd.grad(compute(y).sum(), y)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("ragged", [False, True])
def test_no_gradient_waits_for_a_device(name: str, ragged: bool) -> None:
    """Meta tensors have no values: whoever asks for them fails."""
    cfg = SOME[name]
    n = max(lengths_of(cfg))
    y, gradient = torch.empty(3, n, device="meta"), torch.empty(3, cfg.n_mels, cfg.n_frames(n), device="meta")
    lengths = torch.empty(3, dtype=torch.int64, device="meta") if ragged else None
    assert log_mel_gradient(gradient, y, lengths, cfg).shape == y.shape


@pytest.mark.parametrize("name", SOME)
def test_what_is_past_a_clips_end_changes_no_gradient(name: str) -> None:
    cfg = SOME[name]
    lengths = lengths_of(cfg)
    y = noise(3, max(lengths))
    weights = noise(3, cfg.n_mels, cfg.n_frames(max(lengths)), seed=1)
    expected = log_mel_gradient(weights, y, torch.tensor(lengths), cfg)
    y[torch.arange(y.shape[1]) >= torch.tensor(lengths)[:, None]] = torch.nan
    torch.testing.assert_close(log_mel_gradient(weights, y, torch.tensor(lengths), cfg), expected, rtol=0, atol=0)
    wrong = torch.tensor([lengths[0], cfg.least_samples - 1, lengths[2]])
    found = log_mel_gradient(weights, y, wrong, cfg)
    assert found[1].isnan().all()
    torch.testing.assert_close(found[[0, 2]], expected[[0, 2]], rtol=0, atol=0)


@pytest.mark.parametrize("name", SOME)
def test_the_layer_is_a_well_formed_operator(name: str) -> None:
    cfg = SOME[name]
    lengths = lengths_of(cfg)
    for y, n in ((noise(3, max(lengths)), torch.tensor(lengths)), (noise(max(lengths)).requires_grad_(), None)):
        results = torch.library.opcheck(torch.ops.cumel.log_mel.default, (y, cfg.to_json(), n))
        assert set(results.values()) == {"SUCCESS"}
    pcm = (noise(2, max(lengths)) * 32768).to(torch.int16)
    torch.testing.assert_close(LogMel(name if name in PRESETS else cfg)(pcm), log_mel(pcm, cfg), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["whisper", "kaldi", "seamless", "bands"])
def test_compiled_equals_eager(name: str) -> None:
    torch._dynamo.reset()
    eager = LogMel(SOME[name])
    compiled = torch.compile(eager, backend="aot_eager", fullgraph=True)
    for n_clips in (2, 3):
        lengths = torch.tensor(lengths_of(eager.cfg)[:n_clips])
        found = []
        for layer in (eager, compiled):
            y = noise(n_clips, int(lengths.max())).requires_grad_()
            out = layer(y, lengths)
            out.square().sum().backward()
            found.append((out.detach(), y.grad))
        assert torch.equal(found[0][0], found[1][0])
        torch.testing.assert_close(found[0][1], found[1][1], rtol=0, atol=1e-5 * float(found[0][1].abs().max()))
    torch._dynamo.reset()


@pytest.mark.parametrize("name", ["whisper", "kaldi", "passt", "seamless", "parakeet"])
@pytest.mark.parametrize("compute", ["LogMel", "mfcc"])
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own, in jvp
def test_every_way_to_derivatives(name: str, compute: str) -> None:
    """Forward mode, a second derivative and vmap agree with backward mode and its differences."""
    cfg = SOME[name].replace(top_db=None)
    y, towards = noise(2, cfg.least_samples + 400), noise(2, cfg.least_samples + 400, seed=1)
    layer = LogMel(cfg) if compute == "LogMel" else lambda y: mfcc(y, cfg)

    weights = noise(*layer(y).shape, seed=2)

    def loss(y: Tensor) -> Tensor:
        return (layer(y) * weights).sum()

    def gradient(y: Tensor) -> Tensor:
        source = y.clone().requires_grad_()
        return torch.autograd.grad(loss(source), source)[0]

    def close(actual: Tensor, expected: Tensor, atol: float) -> None:
        torch.testing.assert_close(actual, expected, rtol=0, atol=atol * float(expected.abs().max()))

    backward = gradient(y)
    close(func.grad(loss)(y), backward, 1e-4)
    slope = (backward * towards).sum()
    torch.testing.assert_close(func.jvp(loss, (y,), (towards,))[1], slope, rtol=1e-3, atol=0)
    close(func.vmap(func.grad(loss))(torch.stack([y, 2 * y]))[0], backward, 1e-4)
    source = y.clone().requires_grad_()
    (once,) = torch.autograd.grad(loss(source), source, create_graph=True)
    (twice,) = torch.autograd.grad((once * towards).sum(), source)
    step = 1e-3
    close(twice, (gradient(y + step * towards) - gradient(y - step * towards)) / (2 * step), 3e-2)
