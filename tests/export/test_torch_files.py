"""Networks in the files of torch's own exporter, which names axes as it likes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import cumel
from cumel import FeatureConfig, Interface, export_module

from support.recordings import tone

CFG = FeatureConfig(sr=8000, n_fft=256, hop_length=128, n_mels=16)
LABELS = ("low", "middle", "high")
SECONDS = 0.5
N = int(SECONDS * CFG.sr)
PARITY = 2e-5  # of an output, as a share of its largest value; 3e-6 for a module


def clips() -> np.ndarray:
    rng = np.random.default_rng(0)
    made = np.stack([tone(N / 8000, 8000, rng.uniform(200, 3000)) for _ in range(3)])
    return (made + rng.normal(0, 1e-3, made.shape)).astype(np.float32)


@pytest.mark.filterwarnings("ignore")  # of torch's exporter
@pytest.mark.parametrize("outputs", [("probabilities", "logits", "embedding"), ("features",)])
def test_a_file_of_torchs_exporter(tmp_path: Path, outputs: tuple[str, ...]) -> None:
    """Its Flatten is a Reshape, behind which the batch has no name."""
    net, theirs = (
        nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16, 3)).eval(),
        tmp_path / "theirs.onnx",
    )
    shapes = ({0: torch.export.Dim("clips")},)
    torch.onnx.export(net, (torch.zeros(2, 1, 16, 32),), theirs, dynamo=True, verbose=False, dynamic_shapes=shapes)
    export_module(theirs, CFG, SECONDS, LABELS, tmp_path / "mine.onnx", Interface(outputs=outputs))
    y = clips()
    got, features = (
        cumel.Session(tmp_path / "mine.onnx", "cpu").run_all({"waveform": y}),
        cumel.log_mel(y, CFG)[:, None],
    )
    assert list(got) == list(outputs)
    if "logits" in outputs:
        with torch.inference_mode():
            wanted = net(torch.from_numpy(features)).numpy()
        assert np.abs(got["logits"] - wanted).max() <= PARITY * np.abs(wanted).max()
    else:
        np.testing.assert_allclose(got["features"], features, rtol=0, atol=1e-3)
