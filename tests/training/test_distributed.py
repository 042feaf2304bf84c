"""Several processes train as one does with the whole batch, end together, and resume."""

from pathlib import Path
from signal import SIGKILL, SIGTERM

import numpy as np
import pytest
import torch

from cumel.esc50.datasets import Dataset
from cumel.esc50.training.checkpoint import Checkpoint
from cumel.esc50.training.data import Batches, prepare
from cumel.esc50.training.distributed import World, process_group
from cumel.kernels import CumelError

from support.processes import Processes
from support.recordings import tiny_recipe, write_dataset
from support.training_jobs import command, gradients, network, unused_and_small_buckets

# Share of the largest gradient of a tensor, against one process with the whole batch. In float64, as the rounding
# of float32 differs with the number of threads.
GRADIENT_TOLERANCE = 1e-12
EPOCHS, BATCHES = 4, 6  # every run has 24 clips in batches of 4


@pytest.mark.parametrize(("size", "n_clips"), [(2, 8), (4, 9)])
def test_gradients_are_those_of_one_process_with_the_whole_batch(size: int, n_clips: int) -> None:
    alone, _ = gradients("ddp", n_clips)
    assert len(alone) == len(list(network().parameters()))
    by_engine = {}
    for engine in ("ddp", "ring"):
        results = Processes(size, gradients, engine, n_clips).results()
        assert [n for _, n in results] == ([3, 2, 2, 2] if size == 4 else [4, 4])
        by_engine[engine] = results[0][0]
        for found, _ in results:  # every process steps by the same bits
            assert all(map(np.array_equal, found, results[0][0]))
    for expected, ddp, ring in zip(alone, by_engine["ddp"], by_engine["ring"], strict=True):
        for one, other in ((ddp, expected), (ring, expected), (ring, ddp)):
            assert np.abs(one - other).max() <= GRADIENT_TOLERANCE * np.abs(expected).max()


def test_a_parameter_outside_the_loss_has_no_gradient() -> None:
    assert Processes(2, unused_and_small_buckets).results() == [(1.5, [0.0, 0.0], 0.5)] * 2


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"), per_fold=4)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return Checkpoint.load(run).model


@pytest.mark.parametrize(
    ("engine", "by"), [pytest.param("ddp", SIGKILL, marks=pytest.mark.exhaustive), ("ring", SIGKILL), ("ring", SIGTERM)]
)
def test_a_killed_process_ends_the_others_and_the_run_resumes(tmp_path: Path, root: Path, engine: str, by: int) -> None:
    def train(out: Path, *more: str, killed_at: int | None = None) -> list[tuple[int, str] | None]:
        arguments = ["--data", str(root), "--out", str(out), "--parallel", engine, *more]
        return Processes(2, command, arguments, EPOCHS, killed_at, by).results()

    survivor, dead = train(tmp_path / "cut", killed_at=2 * BATCHES + 3)
    assert dead is None if by == SIGKILL else (dead[0] == 3 and "process 1 of 2: told to stop" in dead[1])
    assert survivor == (
        3,
        "cumel: process 0 of 2: another process of this run is gone, so this one ends; --resume continues it",
    )
    kept = Checkpoint.load(tmp_path / "cut")
    assert (kept.epoch, kept.batch) == (2, 3)
    assert [code for code, _ in train(tmp_path / "cut", "--resume")] == [0, 0]
    assert [code for code, _ in train(tmp_path / "whole")] == [0, 0]
    whole, cut = Checkpoint.load(tmp_path / "whole"), Checkpoint.load(tmp_path / "cut")
    assert whole.processes == 2
    assert all(torch.equal(whole.model[name], cut.model[name]) for name in whole.model)


def test_both_engines_end_with_the_same_weights(tmp_path: Path, root: Path) -> None:
    for engine in ("ddp", "ring"):
        arguments = ["--data", str(root), "--out", str(tmp_path / engine), "--parallel", engine]
        assert [code for code, _ in Processes(2, command, arguments, 1).results()] == [0, 0]
    ring = weights(tmp_path / "ring")
    for name, value in weights(tmp_path / "ddp").items():
        torch.testing.assert_close(ring[name], value, rtol=1e-5, atol=1e-6)
    arguments = ["--data", str(root), "--out", str(tmp_path / "ddp"), "--resume"]
    ((code, said),) = Processes(1, command, arguments, 1).results()
    assert code == 2
    assert "processes=2, not 1" in said


def test_what_is_refused(root: Path) -> None:
    with pytest.raises(CumelError, match="--parallel mpi: must be one of ddp, ring"), process_group("mpi"):
        pass
    recipe, data = tiny_recipe(batch_size=3), Dataset.read(root)
    with pytest.raises(CumelError, match="batches of 3 clips do not do for 4 processes"):
        Batches(prepare(data, recipe, 1), data.hot(), recipe, torch.device("cpu"), World(0, 4))
