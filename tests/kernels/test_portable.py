"""`FrontEnd`: features of plain operators, by any capture of torch's, for every preset."""

import numpy as np
import pytest
import torch
from torch import nn

from cumel.export.check.oracle import expected
from cumel.kernels import PRESETS, CumelError, FeatureConfig, FrontEnd, log_mel
from cumel.kernels.tolerance import KINDS, signal

from support.model_clips import CONFIGS

# Operators that a converter must know, after torch.export has taken the module apart.
PLAIN = {"add", "alias", "amax", "bmm", "cat", "clamp", "clone", "constant_pad_nd", "div", "expand", "index_select"}
PLAIN |= {"log", "matmul", "maximum", "mean", "mm", "mul", "permute", "pow", "reciprocal", "reshape", "rsub", "select"}
PLAIN |= {"slice", "sqrt", "sub", "sum", "transpose", "unsqueeze", "view"}


def clips(kind: str, n: int, sr: int) -> np.ndarray:
    y = signal(kind, n, sr)
    y = (y / np.float32(32768)).astype(np.float32) if y.dtype == np.int16 else y
    return np.stack([y, np.float32(0.1) * np.roll(y, 5)])


@pytest.mark.pairwise
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_it_is_the_reference(name: str, kind: str) -> None:
    cfg = CONFIGS[name]
    n = max(cfg.least_samples, cfg.sr // 2) + 3
    y = clips(kind, n, cfg.sr)
    got = FrontEnd(cfg, n)(torch.from_numpy(y)).numpy()
    assert got.dtype == np.float32
    assert got.shape == log_mel(y, cfg).shape
    for clip, features in zip(y, got, strict=True):
        assert expected(clip, cfg).compared(features.T if cfg.time_major else features)[1] <= 1


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning", "ignore:`isinstance:FutureWarning")
@pytest.mark.parametrize("name", ["compact", "whisper", "kaldi", "parakeet", "speech2text", "vggish"])
def test_every_capture_computes_the_same(name: str) -> None:
    cfg = PRESETS[name]
    n = cfg.sr // 2
    net = nn.Sequential(FrontEnd(cfg, n), nn.Flatten(), nn.Linear(cfg.n_mels * cfg.n_frames(n), 3)).eval()
    y = torch.from_numpy(clips("noise", n, cfg.sr))
    with torch.no_grad():
        wanted = net(y)
    exported = torch.export.export(net, (y,), strict=True).module()
    traced = torch.jit.trace(net, (y,), check_trace=False)
    for captured in (exported, traced):
        torch.testing.assert_close(captured(y), wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")
def test_it_is_made_of_plain_operators() -> None:
    for name in ("compact", "kaldi", "parakeet"):
        n = PRESETS[name].sr // 4
        graph = torch.export.export(FrontEnd(PRESETS[name], n), (torch.zeros(2, n),)).run_decompositions().graph
        used = {str(node.target).split(".")[1] for node in graph.nodes if node.op == "call_function"}
        assert used <= PLAIN, used - PLAIN


def test_gradients_flow() -> None:
    cfg = FeatureConfig(sr=8000, n_fft=64, hop_length=32, n_mels=4, top_db=None)
    front_end = FrontEnd(cfg, 128).double()
    y = torch.from_numpy(np.random.default_rng(2).normal(0, 0.1, (1, 128))).requires_grad_()
    assert torch.autograd.gradcheck(front_end, (y,), atol=1e-4)
    assert not list(front_end.parameters())
    assert not front_end.state_dict()  # The config says it all.


@pytest.mark.parametrize("n", [0, 100, 16000.0, True])
def test_a_length_without_a_frame_is_refused(n: object) -> None:
    with pytest.raises(CumelError, match=r"n_samples=\S+: must be 400 or more"):
        FrontEnd("kaldi", n)  # pyright: ignore[reportArgumentType]


def test_clips_of_another_length_are_refused() -> None:
    with pytest.raises(CumelError, match=r"waveform: expected \[batch, 8000\], got \[2, 8001\]"):
        FrontEnd("kaldi", 8000)(torch.zeros(2, 8001))
    with pytest.raises(CumelError, match=r"expected \[batch, 8000\], got \[8000\]"):
        FrontEnd("kaldi", 8000)(torch.zeros(8000))
