"""The path of torch's own operators, its gradient, and `LogMel` in autograd, torch.compile and state_dict."""

import copy
import pickle

import numpy as np
import pytest
import torch

from cumel.kernels import FeatureConfig, LogMel, autograd, log_mel, mel_image, melspectrogram, mfcc, reference, stft
from cumel.kernels.autograd import log_mel_gradient
from cumel.kernels.config import BEYOND_LIBROSA
from cumel.kernels.tensors import Padded

from support.signals import CASES, CONFIGS, NOISY, NOISY_DB, SMALL, TONAL_DB, oracle

NOISE = SMALL.replace(top_db=None, amin=1e-12)  # its log-mel of noise is smooth: nothing is clamped
SLOPE_ATOL = 1e-6  # share of |gradient| |direction|; worst 1.2e-8: uncentred. The slope is at least 1e-4 of it
STEP = 1e-6
MASKED_ATOL = 2e-6  # share of the largest value; worst 1.1e-7: sparse, MFCC
GRADIENT_ATOL = 2e-6  # share of the largest gradient; worst 3.2e-7: prime, with lengths


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.pairwise
@pytest.mark.parametrize(("name", "kind", "length"), [case for case in CASES if case[2] != "even"])
def test_composite_equals_the_reference(name: str, kind: str, length: str) -> None:
    expected = oracle(name, kind, length)
    clips, cfg = Padded(torch.from_numpy(expected.y)[None], [len(expected.y)]), expected.cfg
    expected.check_stft(autograd.stft(clips, cfg)[0].numpy())
    expected.check_mel(autograd.melspectrogram(clips, cfg)[0].numpy())
    limit = NOISY_DB if kind in NOISY else TONAL_DB
    expected.check_log_mel(autograd.log_mel(clips, cfg)[0].numpy(), limit)


@pytest.mark.parametrize("function", [stft, melspectrogram, log_mel, mfcc])
@pytest.mark.parametrize("name", ["esc50", "odd", "sparse", "magnitude", "l1", "uncentred"])
def test_composite_masks_as_the_cpu_path_does(function, name: str) -> None:
    cfg = CONFIGS[name]
    y, lengths = noise(3, 6 * cfg.n_fft + 5), [6 * cfg.n_fft + 5, cfg.n_fft + 1, 3 * cfg.n_fft]
    expected = function(y, cfg, lengths)
    actual = function(y.clone().requires_grad_(), cfg, lengths).detach()
    scale = float(expected.abs().max())
    torch.testing.assert_close(actual, expected, rtol=0, atol=MASKED_ATOL * scale)
    masked = function(torch.zeros(3, y.shape[1]), cfg, lengths)[1, :, cfg.n_frames(lengths[1]) :]
    if function in (stft, melspectrogram):
        assert torch.equal(actual[1, :, cfg.n_frames(lengths[1]) :], masked)


@pytest.mark.parametrize("function", [stft, melspectrogram, log_mel, mfcc])
def test_gradients_are_not_dropped(function) -> None:
    y = noise(2, 3000).requires_grad_()
    out = function(y, NOISE)
    assert out.requires_grad
    out.abs().sum().backward()
    assert torch.isfinite(y.grad).all()
    assert (y.grad != 0).float().mean() > 0.99
    with torch.no_grad():
        assert not function(y, NOISE).requires_grad


def test_an_image_has_no_gradient() -> None:
    assert not mel_image(noise(2, 3000).requires_grad_(), SMALL).requires_grad


@pytest.mark.parametrize(
    "cfg",
    [
        NOISE,
        NOISE.replace(power=1.0, pad_mode="reflect"),
        NOISE.replace(n_fft=509, hop_length=300, window="hamming", htk=True, norm=None),
        NOISE.replace(center=False, win_length=300, ref=0.1),
    ],
    ids=["power", "magnitude", "prime", "uncentred"],
)
def test_gradient_is_the_references_slope(cfg: FeatureConfig) -> None:
    y = noise(2500)
    weights = torch.randn(cfg.n_mels, cfg.n_frames(2500), generator=torch.Generator().manual_seed(1))
    source = y.clone().requires_grad_()
    LogMel(cfg)(source).backward(weights)
    gradient = source.grad.double().numpy()
    directions = [np.random.default_rng(seed).standard_normal(2500) for seed in range(3)]
    for towards in (*directions, 50 * gradient / np.linalg.norm(gradient)):
        ahead, behind = (reference.log_mel(y.double().numpy() + s * towards, cfg) for s in (STEP, -STEP))
        slope = float((weights.double().numpy() * (ahead - behind)).sum() / (2 * STEP))
        scale = np.linalg.norm(gradient) * np.linalg.norm(towards)
        assert abs(gradient @ towards - slope) <= SLOPE_ATOL * scale


@pytest.mark.parametrize("padded", [False, True], ids=["full", "padded"])
@pytest.mark.parametrize("name", CONFIGS)
def test_layer_equals_the_function_and_autograd(name: str, padded: bool) -> None:
    cfg, y = CONFIGS[name], noise(2, 6001)
    lengths = [6001, 3500 if padded else 6001]
    layer, n_samples = LogMel(cfg), torch.tensor(lengths) if padded else None
    assert torch.equal(layer(y, n_samples), log_mel(y, cfg, n_samples))
    weights = torch.randn(2, cfg.n_mels, cfg.n_frames(6001), generator=torch.Generator().manual_seed(1))
    gradients = []
    for compute in (lambda y: layer(y, n_samples), lambda y: autograd.log_mel(Padded(y, lengths), cfg)):
        source = y.clone().requires_grad_()
        compute(source).backward(weights)
        gradients.append(source.grad)
    torch.testing.assert_close(*gradients, rtol=0, atol=GRADIENT_ATOL * float(gradients[1].abs().max()))
    assert not gradients[0][1, lengths[1] :].any()


@pytest.mark.parametrize("shape", [(3000,), (2, 3000), (2, 1, 3000)])
def test_layer_takes_any_batch(shape: tuple[int, ...]) -> None:
    y, layer = noise(*shape).requires_grad_(), LogMel(SMALL)
    layer(y).sum().backward()
    assert y.grad.shape == shape
    pcm = (noise(*shape) * 32768).to(torch.int16)
    assert torch.equal(layer(pcm), log_mel(pcm, SMALL))


@pytest.mark.parametrize("name", ["compact", "magnitude", "l1"])
def test_gradient_of_silence_is_zero(name: str) -> None:
    y = torch.zeros(2, 3000, requires_grad=True)
    LogMel(CONFIGS[name])(y).sum().backward()
    assert not y.grad.any()


ARGUMENTS = {
    "clip": (noise(2000), None),
    "batch": (noise(2, 2000), None),
    "lengths": (noise(2, 2000), torch.tensor([2000, 1100])),
    "gradient": (noise(2, 2000).requires_grad_(), None),
    "gradient and lengths": (noise(2, 2000).requires_grad_(), torch.tensor([2000, 1100])),
    "int16": ((noise(2, 2000) * 32768).to(torch.int16), None),
}


@pytest.mark.parametrize(("y", "lengths"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_operator_is_well_formed(y: torch.Tensor, lengths: torch.Tensor | None) -> None:
    results = torch.library.opcheck(torch.ops.cumel.log_mel.default, (y, SMALL.to_json(), lengths))
    assert set(results.values()) == {"SUCCESS"}


@pytest.fixture
def compiled() -> object:
    torch._dynamo.reset()
    yield torch.compile(LogMel(SMALL), backend="aot_eager", fullgraph=True)
    torch._dynamo.reset()


def test_compiled_equals_eager(compiled) -> None:
    eager = LogMel(SMALL)
    for y in (noise(2, 3000), noise(3, 4500), noise(1, 700), noise(2000)):
        assert torch.equal(compiled(y), eager(y))
    y, lengths = noise(2, 3000), torch.tensor([3000, 1700])
    assert torch.equal(compiled(y, lengths), eager(y, lengths))


def test_compiled_gradient_equals_eager(compiled) -> None:
    eager = LogMel(SMALL)
    for shape in ((2, 3000), (3, 4500)):
        gradients = []
        for layer in (eager, compiled):
            y = noise(*shape).requires_grad_()
            layer(y).square().sum().backward()
            gradients.append(y.grad)
        torch.testing.assert_close(*gradients, rtol=0, atol=GRADIENT_ATOL * float(gradients[0].abs().max()))


def test_state_carries_the_config_and_refuses_another() -> None:
    layer = LogMel(SMALL.replace(norm="inf"))
    model = torch.nn.Sequential(layer, torch.nn.Linear(11, 2))
    state = pickle.loads(pickle.dumps(model.state_dict()))
    again = torch.nn.Sequential(LogMel(layer.cfg), torch.nn.Linear(11, 2))
    again.load_state_dict(state)
    with pytest.raises(ValueError, match=r"^LogMel: the saved state has hop_length=160, not 100; n_mels=40, not 20$"):
        torch.nn.Sequential(
            LogMel(layer.cfg.replace(hop_length=100, n_mels=20)), torch.nn.Linear(11, 2)
        ).load_state_dict(state)
    assert not list(layer.parameters())
    fields = layer.state_dict()["_extra_state"]
    assert FeatureConfig.from_dict(fields) == layer.cfg
    for name in (*BEYOND_LIBROSA, "offset", "log", "normalize", "mean", "std", "time_major", "lifter_from"):
        del fields[name]  # of later versions
    layer.load_state_dict({"_extra_state": fields})


def test_layer_can_be_copied_and_names_its_config() -> None:
    layer, y = LogMel(SMALL), noise(1000)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin.cfg == layer.cfg
        assert torch.equal(twin(y), layer(y))
    assert "n_fft=512" in repr(layer)


def test_layer_refuses_what_the_function_refuses() -> None:
    with pytest.raises(ValueError, match="y has dtype float64"):
        LogMel(SMALL)(torch.zeros(2, 3000, dtype=torch.float64))
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        LogMel(SMALL)(torch.full((2, 3000), torch.nan, requires_grad=True))
    with pytest.raises(ValueError, match="must be between 1 and"):
        LogMel(SMALL)(torch.zeros(2, 3000), torch.tensor([3000, 3001]))


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
@pytest.mark.parametrize("name", ["compact", "small", "odd", "uncentred", "magnitude"])
def test_gradient_of_a_ragged_batch_is_each_clips_own(name: str, pad_mode: str) -> None:
    """Nothing past a clip's end is heard; a length that is out of range, where nobody can look, makes NaN."""
    cfg = CONFIGS[name].replace(pad_mode=pad_mode)
    least = 1 if cfg.center else cfg.n_fft
    lengths = torch.tensor([4 * cfg.n_fft + 3, least, cfg.n_fft, 2 * cfg.n_fft + 1, 3 * cfg.n_fft])
    y = noise(5, int(lengths[0]))
    y[torch.arange(y.shape[1]) >= lengths[:, None]] = torch.nan
    weights = torch.randn(5, cfg.n_mels, cfg.n_frames(y.shape[1]), generator=torch.Generator().manual_seed(1))
    together = log_mel_gradient(weights, y, lengths, cfg)
    for i, n in enumerate(lengths.tolist()):
        source = y[i : i + 1, :n].clone().requires_grad_()
        alone = autograd.log_mel(Padded(source, [n]), cfg)
        past = weights[i : i + 1, :, alone.shape[2] :]
        silence = torch.full(past.shape, cfg.db_per_decade * np.log10(cfg.least) - cfg.db_of_ref)
        floor = silence if cfg.top_db is None else torch.maximum(silence, alone.amax() - cfg.top_db)
        ((alone * weights[i : i + 1, :, : alone.shape[2]]).sum() + (floor * past).sum()).backward()
        scale = float(source.grad.abs().max())
        torch.testing.assert_close(together[i, :n], source.grad[0], rtol=0, atol=GRADIENT_ATOL * scale + 1e-12)
        assert not together[i, n:].any()
    for wrong in (0, -5, y.shape[1] + 1):
        given = lengths.clone()
        given[3] = wrong
        out = log_mel_gradient(weights, y, given, cfg)
        assert out[3].isnan().all()
        torch.testing.assert_close(out[[0, 1, 2, 4]], together[[0, 1, 2, 4]], rtol=0, atol=0)


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
@pytest.mark.parametrize("ragged", [False, True])
def test_gradient_waits_for_no_device(ragged: bool, pad_mode: str) -> None:
    """Meta tensors have no values: whoever asks for them fails."""
    cfg = SMALL.replace(pad_mode=pad_mode)
    y, gradient = torch.empty(3, 5000, device="meta"), torch.empty(3, cfg.n_mels, cfg.n_frames(5000), device="meta")
    lengths = torch.empty(3, dtype=torch.int64, device="meta") if ragged else None
    assert log_mel_gradient(gradient, y, lengths, cfg).shape == y.shape
