"""Derivatives of every feature function and of `LogMel`, by every way torch has, against each other and slopes."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, func
from torch.autograd import forward_ad

from cumel import kernels
from cumel.kernels import CumelError, FeatureConfig, LogMel, interchange, reference

CFG = FeatureConfig(sr=16000, n_fft=256, hop_length=128, n_mels=8, n_mfcc=8, top_db=None, amin=1e-12)
LENGTHS = [600, 400]
SLOPE_ATOL = 1e-5  # share of |derivative|; 1.1e-6: log_mel
CURVE_ATOL = 2e-3  # share of the largest, against differences of first derivatives; 2e-4: log_mel
ALIKE_ATOL = 1e-5  # share of the largest, between ways of computing the same in float32
STEP = 1e-6
pytestmark = [
    pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning"),
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),  # torch's own, in jvp
]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), device="cpu", dtype=torch.float32)


def smooth(name: str, lengths: list[int] | Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """Return a feature function with real values."""
    layer = LogMel(CFG) if name == "LogMel" else None

    def compute(y: Tensor) -> Tensor:
        out = layer(y, lengths) if layer else getattr(kernels, name)(y, CFG, lengths)
        return torch.view_as_real(out) if out.is_complex() else out

    return compute


def close(actual: Tensor, expected: Tensor, atol: float = ALIKE_ATOL) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol * float(expected.abs().max()))
    assert expected.abs().max() > 0


PLAIN = {"LogMel": reference.log_mel, "spectrogram": lambda y, cfg: np.abs(reference.stft(y, cfg)) ** cfg.power}
NAMES = ("stft", "spectrogram", "melspectrogram", "log_mel", "mfcc", "LogMel")
every = pytest.mark.parametrize("name", NAMES)
either = pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "padded"])


@every
@either
def test_forward_mode_is_the_references_slope(name: str, lengths: list[int] | None) -> None:
    y, towards = drawn(2, 600), drawn(2, 600, seed=1)
    _, slope = func.jvp(smooth(name, lengths), (y,), (towards,))
    with forward_ad.dual_level():
        dual = smooth(name, lengths)(forward_ad.make_dual(y, towards))
        close(forward_ad.unpack_dual(dual).tangent, slope)
    plain = PLAIN.get(name, getattr(reference, name, None))
    for one, at, along, n in zip(
        slope, y.double().numpy(), towards.double().numpy(), lengths or [600, 600], strict=True
    ):
        ahead, behind = (plain(at[:n] + step * along[:n], CFG) for step in (STEP, -STEP))
        expected = (ahead - behind) / (2 * STEP)
        expected = np.stack([expected.real, expected.imag], -1) if name == "stft" else expected
        ours = one[:, : CFG.n_frames(n)].numpy()
        assert np.abs(ours - expected).max() <= SLOPE_ATOL * np.abs(expected).max()


@every
@either
def test_every_way_gives_the_same_gradient(name: str, lengths: list[int] | None) -> None:
    compute, y = smooth(name, lengths), drawn(2, 600)

    def loss(y: Tensor) -> Tensor:
        return compute(y).square().sum()

    source = y.clone().requires_grad_()
    loss(source).backward()
    expected = source.grad
    close(func.grad(loss)(y), expected)
    close(func.vjp(loss, y)[1](torch.ones(()))[0], expected)
    close(func.jacrev(loss)(y), expected)
    close(func.jacfwd(loss)(y), expected, 10 * ALIKE_ATOL)
    close(torch.autograd.functional.jacobian(loss, y, vectorize=True), expected)
    close(func.vmap(func.grad(loss))(torch.stack([y, 2 * y]))[0], expected)


@every
def test_second_derivatives(name: str) -> None:
    compute, y, towards = smooth(name), drawn(1, 300), drawn(1, 300, seed=1)

    def loss(y: Tensor) -> Tensor:
        return compute(y).square().sum()

    def gradient(y: Tensor) -> Tensor:
        source = y.clone().requires_grad_()
        (found,) = torch.autograd.grad(loss(source), source, create_graph=True)
        return found

    source = y.clone().requires_grad_()
    (once,) = torch.autograd.grad(loss(source), source, create_graph=True)
    (twice,) = torch.autograd.grad((once * towards).sum(), source)
    step = 1e-3
    difference = (gradient(y + step * towards) - gradient(y - step * towards)).detach() / (2 * step)
    close(twice, difference, CURVE_ATOL * 10)
    close(torch.einsum("aibj,bj->ai", func.hessian(loss)(y), towards), twice, 10 * ALIKE_ATOL)
    close(torch.autograd.functional.hvp(loss, y, towards)[1], twice)


@every
@either
def test_vmap_is_a_batch(name: str, lengths: list[int] | None) -> None:
    compute, y = smooth(name, lengths), drawn(3, 2, 600)
    expected = torch.stack([compute(one) for one in y])
    close(func.vmap(compute)(y), expected)
    close(func.vmap(compute, in_dims=1)(y.movedim(0, 1)), expected)


@pytest.mark.parametrize("name", NAMES[:-1])
def test_lengths_that_stayed_on_a_device_are_read_where_derivatives_are_wanted(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And looked at then, as they were not before."""
    y, there = drawn(2, 600), interchange.lengths_on_device
    compute, expected = getattr(kernels, name), func.jacrev(smooth(name, LENGTHS))(drawn(2, 600))

    def stay(*lengths: int) -> Tensor:
        given = torch.tensor(lengths)
        monkeypatch.setattr(
            interchange, "lengths_on_device", lambda lengths, y: given if lengths is given else there(lengths, y)
        )
        return given

    def derived(lengths: Tensor) -> Tensor:
        return func.jacrev(smooth(name, lengths))(y)

    assert isinstance(interchange.clip_lengths(stay(*LENGTHS), y, CFG)[0], Tensor)
    close(derived(stay(*LENGTHS)), expected)
    assert compute(y.requires_grad_(), CFG, stay(*LENGTHS)).requires_grad
    with pytest.raises(CumelError, match=r"^lengths\[1\]=601: must be between 1 and the 600 samples of y"):
        derived(stay(600, 601))


def test_what_has_no_derivative_says_none() -> None:
    y = drawn(2, 600)
    image = kernels.mel_image(y, CFG)
    out, tangent = func.jvp(lambda y: kernels.mel_image(y, CFG).float(), (y,), (y,))
    assert torch.equal(out, image.float())
    assert not tangent.any()
    assert torch.equal(func.vmap(lambda y: kernels.mel_image(y, CFG))(y), image)


def test_constants_outlive_the_transform_that_made_them() -> None:
    cfg, y = CFG.replace(hop_length=77, fmin=31.0), drawn(2, 600)
    func.grad(lambda y: kernels.mfcc(y, cfg).sum())(y)
    expected = kernels.mfcc(y, cfg.replace())
    with torch.inference_mode():
        assert torch.equal(kernels.mfcc(y, cfg), expected)
    source = y.clone().requires_grad_()
    kernels.mfcc(source, cfg).sum().backward()
    assert torch.isfinite(source.grad).all()


def test_a_clip_of_nan_is_refused_under_transforms() -> None:
    y = drawn(2, 600)
    y[1, 7] = torch.nan
    for transform in (
        lambda f: func.jvp(f, (y,), (y,)),
        lambda f: func.vmap(f)(y),
        lambda f: func.jacfwd(f)(y[:, :260]),
    ):
        with pytest.raises(kernels.InputError, match="holds NaN or infinity"):
            transform(lambda y: kernels.log_mel(y, CFG))


def test_a_layer_is_called_with_other_parameters() -> None:
    y = drawn(2, 600)
    model = torch.nn.Sequential(LogMel(CFG), torch.nn.Linear(5, 1))
    weights = {name: 2 * value.detach() for name, value in model.named_parameters()}
    found = func.grad(lambda weights: func.functional_call(model, weights, (y,)).sum())(weights)
    assert found["1.weight"].abs().max() > 0


@pytest.mark.parametrize("name", ["stft", "log_mel", "mel_image"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_compiled_program_may_call_the_functions(name: str) -> None:
    torch._dynamo.reset()
    function = getattr(kernels, name)
    y = drawn(2, 600)
    compiled = torch.compile(lambda y: function(2 * y, CFG), backend="aot_eager")
    assert torch.equal(compiled(y), function(2 * y, CFG))
    torch._dynamo.reset()
