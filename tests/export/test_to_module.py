"""Networks that `cumel train` did not train: torch modules of any kind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from torch import Tensor, nn

import cumel
from cumel import CumelError, FeatureConfig, Interface, export_module
from cumel.kernels import PRESETS

from support.recordings import tone, write

CFG = FeatureConfig(sr=8000, n_fft=256, hop_length=128, n_mels=16)
LABELS = ("low", "middle", "high")
SECONDS = 0.5
N = int(SECONDS * CFG.sr)
# Of an output, as a share of its largest value; 3e-6: logits of the residual network.
PARITY = 2e-5


class Residual(nn.Module):
    """A small network as torchvision's are: convolutions, batch norms, a sum, a pool, a linear layer."""

    def __init__(self, n_labels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.stem = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.conv = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.GELU())
        self.pool, self.drop, self.fc = nn.AdaptiveAvgPool2d(1), nn.Dropout(0.5), nn.Linear(8, n_labels)
        self.conv[1].running_var.uniform_(50, 500)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.fc(self.drop(self.pool(x + self.conv(x)).flatten(1)))


class Sequence(nn.Module):
    """A network over frames [batch, n_frames, n_mels]: a GRU, attention, and a mean over time."""

    def __init__(self, n_mels: int) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.norm = nn.LayerNorm(n_mels)
        self.gru = nn.GRU(n_mels, 8, batch_first=True, bidirectional=True)
        self.out = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        frames, _ = self.gru(self.norm(x))
        weights = frames.mean(dim=2, keepdim=True).softmax(dim=1)
        return self.out((frames * weights).sum(dim=1))


def clips(n: int = 3, seed: int = 0, length: int = N) -> np.ndarray:
    rng = np.random.default_rng(seed)
    made = np.stack([tone(length / 8000, 8000, rng.uniform(200, 3000)) for _ in range(n)])
    return (made + rng.normal(0, 1e-3, made.shape)).astype(np.float32)


def run(path: Path, y: np.ndarray) -> dict[str, np.ndarray]:
    return cumel.Session(path, "cpu").run_all({"waveform": y})


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all outputs."""
    out = tmp_path_factory.mktemp("every") / "mine.onnx"
    outputs = ("embedding", "probabilities", "features", "logits")
    report = export_module(Residual(), CFG, SECONDS, LABELS, out, Interface(outputs=outputs))
    assert report["output"].startswith("embedding [batch, size] float32, probabilities [batch, 3] float32, features")
    return out


def test_every_output_is_the_modules_own(every: Path) -> None:
    y, net = clips(), Residual().eval()
    features = cumel.log_mel(y, CFG)[:, None]
    with torch.inference_mode():
        x = torch.from_numpy(features)
        logits = net(x)
        stem = net.stem(x)
        embedding = net.pool(stem + net.conv(stem)).flatten(1)
    wanted = {"embedding": embedding, "probabilities": logits.softmax(1), "logits": logits}
    got = run(every, y)
    assert list(got) == ["embedding", "probabilities", "features", "logits"]
    np.testing.assert_allclose(got["features"], features, rtol=0, atol=1e-3)
    for name, values in wanted.items():
        assert np.abs(got[name] - values.numpy()).max() <= PARITY * max(1, float(values.abs().max())), name


def test_a_short_clip_is_filled_up_with_zeros_and_a_long_one_cut(every: Path) -> None:
    y = clips(2)
    filled = np.pad(y[:, :1000], ((0, 0), (0, N - 1000)))
    np.testing.assert_array_equal(run(every, y[:, :1000])["logits"], run(every, filled)["logits"])
    longer = np.concatenate([y, y], axis=1)
    np.testing.assert_array_equal(run(every, longer)["logits"], run(every, y)["logits"])


def test_recordings_are_classified_with_it(every: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "tone.wav", tone(0.7, 16000, 700), 16000)
    graph, kernels = (cumel.load(every, route=route).predict(path, top=3)[0] for route in ("graph", "kernels"))
    assert {row["label"] for row in graph["top"]} == set(LABELS)
    for one, other in zip(graph["top"], kernels["top"], strict=True):
        assert one["label"] == other["label"]
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)
    metadata = cumel.load(every).metadata
    assert (metadata.recipe, metadata.name, metadata.epoch, metadata.seconds) == (None, "Residual", None, SECONDS)


def test_labels_and_card_lie_beside_it(every: Path) -> None:
    told = json.loads(every.with_suffix(".labels.json").read_text(encoding="utf-8"))
    assert (told["labels"], told["sample_rate"], told["recipe"]) == (list(LABELS), 8000, None)
    card = every.with_suffix(".md").read_text(encoding="utf-8")
    assert "embedding" in card
    assert "accuracy on that fold" not in card  # Nothing is known of it.


def test_the_module_itself_stays_as_it_is(tmp_path: Path) -> None:
    net = Residual().half()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    export_module(net, CFG, SECONDS, list(LABELS), tmp_path / "half.onnx")
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())
    for name, value in net.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    "preset",
    ["whisper", "kaldi", "parakeet", "panns", "clap", pytest.param("vggish", marks=pytest.mark.exhaustive)],
)
def test_front_ends_of_pretrained_models(tmp_path: Path, preset: str) -> None:
    cfg = PRESETS[preset]
    net = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16, 2))
    out = tmp_path / f"{preset}.onnx"
    export_module(net, preset, 1.0, ["a", "b"], out, Interface(outputs=("features", "probabilities")))
    y = np.random.default_rng(3).normal(0, 0.1, (2, cfg.sr)).astype(np.float32)
    features = cumel.log_mel(y, cfg)[:, None]
    got = run(out, y)
    assert got["features"].shape == features.shape
    scale = np.abs(features).max()
    np.testing.assert_allclose(got["features"], features, rtol=0, atol=2e-4 * max(1, scale))


def test_frames_first_and_no_channel(tmp_path: Path) -> None:
    cfg, out = CFG.replace(time_major=True), tmp_path / "sequence.onnx"
    net = Sequence(cfg.n_mels)
    report = export_module(net, cfg, SECONDS, LABELS, out, channel=False, activation="sigmoid")
    assert report["without_cuda_kernel"] == []
    y = clips()
    with torch.inference_mode():
        wanted = net.eval()(torch.from_numpy(cumel.log_mel(y, cfg))).sigmoid().numpy()
    np.testing.assert_allclose(run(out, y)["probabilities"], wanted, rtol=0, atol=PARITY)


def test_probabilities_of_the_networks_own(tmp_path: Path) -> None:
    net = nn.Sequential(Residual(), nn.Softmax(dim=1))
    with pytest.raises(CumelError, match=r"activation=softmax: the network ends in Softmax itself; give .*'none'"):
        export_module(net, CFG, SECONDS, LABELS, tmp_path / "twice.onnx")
    export_module(net, CFG, SECONDS, LABELS, tmp_path / "once.onnx", activation="none")
    np.testing.assert_allclose(run(tmp_path / "once.onnx", clips())["probabilities"].sum(axis=1), 1, rtol=0, atol=1e-6)


def test_operators_without_a_cuda_kernel_are_told(tmp_path: Path) -> None:
    class Hard(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            levels = x.mean(dim=(1, 3))
            return torch.atan(levels[:, :3])

    report = export_module(Hard(), CFG, SECONDS, LABELS, tmp_path / "atan.onnx")
    assert report["without_cuda_kernel"] == ["Atan(FLOAT)"]
    assert "CUDA kernels for Atan" in (tmp_path / "atan.md").read_text(encoding="utf-8")


class Wrong(nn.Module):
    """A network that answers as it is told."""

    def __init__(self, answer: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor) -> Any:
        return self.answer(x.mean(dim=(1, 3)))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"net": Residual(4)}, r"Residual: gives \[2, 4\] for a batch of 2, and 3 labels need \[2, 3\]"),
        ({"net": Wrong(lambda x: (x, x))}, "Wrong: gives a tuple, and one tensor is needed"),
        ({"net": Wrong(lambda x: x[0])}, r"Wrong: gives \[16\] for a batch of 2"),
        ({"net": Wrong(lambda x: x[:, :3] * float("nan"))}, "own probabilities are not all numbers"),
        ({"net": Wrong(lambda x: x[:, :3] if x.sum() > 0 else -x[:, :3])}, "torch cannot export this network"),
        ({"net": Sequence(16)}, r"does not take features \[2, 1, 16, 32\]"),
        ({"net": Residual(), "channel": False}, r"does not take features \[2, 16, 32\] .*give channel=True"),
        ({"net": "residual"}, "residual: no such model"),
        ({"net": 3}, "net: expected a torch module, or the path of an .onnx file, got int"),
        ({"cfg": "wisper"}, "did you mean whisper"),
        ({"seconds": 0.0}, r"seconds=0\.0: must be a number above 0"),
        ({"seconds": 1e-5}, "too short for one frame"),
        ({"labels": []}, "labels is not a list of names"),
        ({"labels": "abc"}, "labels: expected a list of names, got 'abc'"),
        ({"out": "mine.pt"}, "give the name of a file that ends in .onnx"),
        ({"kind": "mel"}, "kind='mel': must be one of image, logmel"),
        ({"activation": "relu"}, "activation=relu: must be one of softmax, sigmoid, none"),
        ({"precision": "int8"}, "precision=int8: needs recordings"),
        ({"interface": Interface(outputs=("embedding",)), "net": Wrong(lambda x: x[:, :3])}, "does not end in one"),
        (
            {"interface": Interface(outputs=("logits",)), "activation": "none"},
            "gives probabilities alone, and no logits",
        ),
        ({"interface": "waveform"}, "interface: expected an Interface"),
    ],
)
def test_a_wrong_call_is_one_clear_line(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    call = {"net": Residual(), "cfg": CFG, "seconds": SECONDS, "labels": LABELS} | change
    out = tmp_path / str(call.pop("out", "mine.onnx"))
    with pytest.raises(CumelError, match=complaint) as caught:
        export_module(*(call.pop(name) for name in ("net", "cfg", "seconds", "labels")), out, **call)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_precisions(tmp_path: Path) -> None:
    y = clips()
    export_module(Residual(), CFG, SECONDS, LABELS, tmp_path / "mine.onnx")
    export_module(
        Residual(), CFG, SECONDS, LABELS, tmp_path / "half.onnx", Interface(outputs=("probabilities", "embedding")),
        precision="fp16",
    )  # fmt: skip
    files = [write(tmp_path / f"{i:02}.wav", clip, 8000) for i, clip in enumerate(clips(16, seed=4))]
    export_module(Residual(), CFG, SECONDS, LABELS, tmp_path / "int8.onnx", precision="int8", calibration=files)
    full, half, int8 = (run(tmp_path / f"{name}.onnx", y) for name in ("mine", "half", "int8"))
    assert half["embedding"].dtype == half["probabilities"].dtype == np.float32
    assert 0 < np.abs(half["probabilities"] - full["probabilities"]).max() < 0.01
    assert np.abs(int8["probabilities"] - full["probabilities"]).max() < 0.2
    types = {tensor.data_type for tensor in onnx.load(tmp_path / "int8.onnx").graph.initializer}
    assert TensorProto.INT8 in types
