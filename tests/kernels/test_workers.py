"""Features computed where threads and processes are not one's own: DataLoader workers and thread pools."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from cumel.kernels import PRESETS, log_mel

CFG = PRESETS["compact"]


class Waveforms(Dataset):
    """Features made on demand, as a user's own dataset may do."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> np.ndarray:
        return log_mel(waveform(i), CFG)


def waveform(i: int) -> np.ndarray:
    return np.random.default_rng(i).normal(0, 0.1, 3 * CFG.sr).astype(np.float32)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # Python 3.12 warns of fork
def test_forked_loader_workers_compute_the_same_bits() -> None:
    expected = [log_mel(waveform(i), CFG) for i in range(6)]  # the parent has its threads by now
    forking = multiprocessing.get_context("fork")
    loader = DataLoader(Waveforms(), num_workers=2, timeout=60, multiprocessing_context=forking)
    for mine, theirs in zip(expected, loader, strict=True):
        np.testing.assert_array_equal(mine, theirs[0].numpy())


def test_many_threads_at_once_compute_the_same_bits() -> None:
    expected = [log_mel(waveform(i), CFG) for i in range(6)]
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(6) as pool:
        for _ in range(3):
            for mine, theirs in zip(expected, pool.map(lambda i: log_mel(waveform(i), CFG), range(6)), strict=True):
                np.testing.assert_array_equal(mine, theirs)
    assert torch.get_num_threads() == threads
