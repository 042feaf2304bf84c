"""The CUDA path in CUDA graphs, in torch.compile, and with lengths on the device: nothing there may wait."""

import pytest
import torch

from cumel.kernels import CumelError, LogMel, cuda, features, launcher, log_mel, mel_image

from support.emulation import FEATURES
from support.on_device import GRADIENT_ATOL, SMOOTH, compute, noise
from support.signals import CONFIGS, SMALL

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("feature", ["stft", "melspectrogram", "log_mel", "half", "mfcc"])
@pytest.mark.parametrize("side", [False, True])
def test_a_graph_replays(feature: str, side: bool) -> None:
    """After one call with its config, of any shape on any stream."""
    cfg, y = CONFIGS["esc50"], noise(n_clips=4).cuda()
    compute(feature, y[0, :30_000], cfg)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.Stream() if side else None):
        out = compute(feature, y, cfg)
    for seed in range(1, 4):
        y.copy_(noise(n_clips=4, seed=seed))
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(out, compute(feature, y, cfg))


def test_a_graph_reads_lengths_that_lie_on_the_device() -> None:
    layer, y = LogMel(SMALL), noise(n_clips=3).cuda()
    lengths = torch.tensor([40_000, 27_001, 1], device="cuda")
    layer(y, lengths)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = layer(y, lengths)
    for other in ([40_000, 27_001, 1], [3, 40_000, 39_999]):
        lengths.copy_(torch.tensor(other))
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(out, log_mel(y, SMALL, other))


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
def test_graphed_callables(pad_mode: str) -> None:
    """Forward and backward, warmed up by torch on a stream of its own."""
    layer, y = LogMel(SMOOTH.replace(pad_mode=pad_mode)), noise(n_clips=2).cuda().requires_grad_()
    graphed = torch.cuda.make_graphed_callables(layer, (torch.zeros_like(y, requires_grad=True),))
    gradients = []
    for one in (layer, graphed):
        out = one(y)
        gradients.append(torch.autograd.grad(out.square().sum(), y)[0])
        assert torch.equal(out, layer(y))
    torch.testing.assert_close(*gradients, rtol=0, atol=GRADIENT_ATOL * float(gradients[0].abs().max()))


@pytest.mark.filterwarnings("ignore")  # the compiler's, about itself
def test_compiled_with_graphs() -> None:
    """The first call of all is the one that torch warms up in the graph's own memory."""
    torch._dynamo.reset()
    layer = LogMel(SMALL)
    compiled = torch.compile(layer, mode="reduce-overhead", fullgraph=True)
    cuda._prepared.cache_clear()
    launcher.frontend.cache_clear()
    for seed in range(5):
        y = noise(n_clips=2, seed=seed).cuda()
        out = compiled(y).clone()
        assert torch.equal(out, layer(y))
    torch._dynamo.reset()


def test_lengths_on_the_device_are_not_waited_for() -> None:
    layer, y = LogMel(SMOOTH), noise(n_clips=3).cuda().requires_grad_()
    given = [40_000, 27_001, 5_000]
    lengths = torch.tensor(given, device="cuda")
    layer(y, lengths).sum().backward()  # The first call may wait, for what it makes once.
    y.grad = None
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.no_grad():
            outputs = {feature: compute(feature, y, SMOOTH, lengths) for feature in FEATURES if feature != "mel_image"}
            outputs["mel_image"], loudest = features.unchecked_image(y, SMOOTH, lengths)
        layer(y, lengths).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for feature, out in outputs.items():
        assert torch.equal(out, compute(feature, y.detach(), SMOOTH, given))
    assert y.grad.isfinite().all()
    assert loudest.isfinite().all()
    lengths[1] = 40_001
    assert log_mel(y.detach(), SMOOTH, lengths)[1].isnan().all()
    with pytest.raises(CumelError, match=r"^lengths\[1\]=40001: must be between 1 and the 40000 samples of y"):
        mel_image(y.detach(), SMOOTH, lengths)


@pytest.mark.filterwarnings("ignore")  # the compiler's, about itself
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_equals_eager(backend: str) -> None:
    torch._dynamo.reset()
    layer = LogMel(SMALL)
    compiled = torch.compile(layer, backend=backend, fullgraph=True)
    for y in (noise(n_clips=2).cuda(), noise(27_001, n_clips=3).cuda()):
        assert torch.equal(compiled(y), layer(y))
    torch._dynamo.reset()
