"""What `pad` fills up batches with: each kind of feature's own silence."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from cumel.esc50.extraction.job import KINDS
from cumel.esc50.extraction.local import extract
from cumel.esc50.store.torch_dataset import FeatureDataset, FeatureItem, pad
from cumel.esc50.system.device import choose
from cumel.kernels import FeatureConfig, Normalize
from cumel.kernels.arrays import rows_first

from support.recordings import TINY, write

FILL_ATOL = {"float32": 2e-5, "float16": 0.07}  # dB; a step at -100 dB
LENGTHS = (8000, 2500, 4001, 300)
CONFIGS = {
    "top_db": TINY.replace(n_mfcc=13),
    "all": TINY.replace(top_db=None, n_mfcc=13),
    "ref": TINY.replace(ref=1e-3, top_db=30.0, power=1.0, n_mfcc=13, lifter=22.0),
    "log10": TINY.replace(log="log10", mean=-4.0, std=4.0, n_mfcc=13, time_major=True),
    "no_log": TINY.replace(log=None, offset=0.25, mean=1.0, n_mfcc=13),
    "normalized": TINY.replace(log="ln", normalize=Normalize(eps=1e-5), mean=3.0, n_mfcc=13, time_major=True),
    "per_band": TINY.replace(top_db=30.0, mean=tuple(range(16)), std=tuple(range(1, 17)), n_mfcc=13),
}


def clips() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [
        (level * rng.standard_normal(n)).astype(np.float32) for n, level in zip(LENGTHS, (0.1, 1e-3, 0, 1), strict=True)
    ]


def batch_of(folder: Path, cfg: FeatureConfig, kind: str, dtype: str) -> tuple:
    paths = [write(folder / f"{i}.wav", y, subtype="FLOAT") for i, y in enumerate(clips())]
    extract(paths, folder / "store", cfg, kind=kind, dtype=dtype, device=choose("cpu"), quiet=True)
    (batch,) = DataLoader(FeatureDataset(folder / "store"), batch_size=9, collate_fn=pad)
    return batch


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("logmel", "float32"), ("logmel", "float16"), ("mel", "float32"), ("image", "float32"), ("stft", "float32")],
)
def test_a_padded_batch_is_the_functions_own(tmp_path: Path, kind: str, dtype: str, name: str) -> None:
    cfg, y = CONFIGS[name], np.zeros((4, max(LENGTHS)), np.float32)
    for row, clip in zip(y, clips(), strict=True):
        row[: clip.size] = clip
    features, n_frames, paths = batch = batch_of(tmp_path, cfg, kind, dtype)
    expected = torch.from_numpy(KINDS[kind](y, cfg, list(LENGTHS)))
    assert n_frames.tolist() == [cfg.n_frames(n) for n in LENGTHS]
    assert [Path(path).stem for path in paths] == ["0", "1", "2", "3"]
    assert features.dtype == (torch.float16 if dtype == "float16" else expected.dtype)
    torch.testing.assert_close(features, expected.to(features.dtype), rtol=0, atol=FILL_ATOL[dtype])
    assert batch.mask.sum(dim=1).tolist() == n_frames.tolist()
    assert batch.mask[:, 0].all()
    assert features.is_contiguous()
    if kind == "logmel" and cfg.log == "db" and not cfg.is_per_band:
        assert (features.amax(dim=1)[~batch.mask] < 0).all()


@pytest.mark.parametrize("name", CONFIGS)
def test_mfcc_are_filled_with_those_of_silence(tmp_path: Path, name: str) -> None:
    cfg = CONFIGS[name]
    features, n_frames, _ = batch_of(tmp_path, cfg, "mfcc", "float32")
    silence = torch.from_numpy(rows_first(KINDS["mfcc"](np.zeros(300, np.float32), cfg), cfg))[:, :1]
    silence = torch.zeros_like(silence) if cfg.normalize else silence
    features = rows_first(features, cfg)
    for one, n in zip(features, n_frames.tolist(), strict=True):
        torch.testing.assert_close(one[:, n:], silence.expand(-1, one.shape[1] - n), rtol=1e-6, atol=1e-4)


def test_a_pair_stays_a_pair() -> None:
    one = FeatureItem(torch.zeros(2, 3), "a.wav", "logmel", TINY)
    features, path = again = pickle.loads(pickle.dumps(one))
    assert (path, again.kind, again.cfg, len(again)) == ("a.wav", "logmel", TINY, 2)
    assert torch.equal(features, one[0])


def test_pairs_of_another_dataset_are_filled_with_their_least() -> None:
    loud, quiet = torch.full((2, 3), -20.0), torch.tensor([[-50.0], [-70.0]])
    features, n_frames, _ = pad([(loud, "a"), (quiet, "b")])
    assert features[1].tolist() == [[-50.0, -70.0, -70.0], [-70.0, -70.0, -70.0]]
    assert n_frames.tolist() == [3, 1]
    images, _, _ = pad([(loud.to(torch.uint8), "a"), (torch.full((2, 1), 9, dtype=torch.uint8), "b")])
    assert images[1].tolist() == [[9, 0, 0], [9, 0, 0]]
