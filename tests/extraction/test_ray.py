"""Extraction on a cluster: two machines with a worker each, all on this one; a worker is killed at its work."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from cumel.esc50.cli import main
from cumel.esc50.extraction.local import extract
from cumel.esc50.extraction.ray.engine import extract_on_ray
from cumel.esc50.store import Store
from cumel.kernels import CumelError, UnavailableError

from support.recordings import TINY, write

SECONDS = 60  # until a worker is at work
N_FILES = 300

ray = pytest.importorskip("ray", reason="needs Ray, of the extra ray")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Start a head that computes nothing and two machines with a CPU each; yield the address."""
    from ray.cluster_utils import Cluster

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "num_gpus": 0, "include_dashboard": False})
    for _ in range(2):
        started.add_node(num_cpus=1, num_gpus=0)
    yield started.address
    started.shutdown()


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, rng = tmp_path_factory.mktemp("in"), np.random.default_rng(0)
    made = [write(folder / f"{i:03d}.wav", rng.normal(0, 0.1, 4000 + 37 * i)) for i in range(N_FILES)]
    made[7].write_bytes(b"")
    write(made[8], rng.normal(0, 0.1, (9000, 2)), 16000)
    return made


def kill_a_worker(data: Path, killed: list[str], over: threading.Event) -> None:
    """Kill the worker whose record says that it has begun a batch, once one batch is done."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and not over.is_set():
        if list(data.glob("part-*.parquet")):
            for record in data.glob(".part-*.tries"):
                try:
                    worker = record.read_text().split()[0]
                except (OSError, IndexError):  # done, or not begun
                    continue
                os.kill(int(worker.removeprefix("worker:").split("@")[0]), signal.SIGKILL)
                if record.exists():  # it did not finish in the meantime
                    killed.append(record.name.removeprefix(".").removesuffix(".tries"))
                    return
        time.sleep(0.005)


def test_a_killed_worker_costs_nothing(cluster: str, paths: list[Path], tmp_path: Path) -> None:
    out, report, killed = tmp_path, {}, []
    for attempt in range(5):  # a run may be over before the killer finds a worker at work
        out, over = tmp_path / f"out{attempt}", threading.Event()
        killer = threading.Thread(target=kill_a_worker, args=(out / "data", killed, over))
        killer.start()
        report = extract_on_ray(paths, out, TINY, address=cluster, batch_files=30, quiet=True)
        over.set()
        killer.join()
        if killed:
            break
    assert len(killed) == 1

    local = extract(paths, tmp_path / "store", TINY, device=torch.device("cpu"), quiet=True)
    assert report.keys() == local.keys()
    same = ("files", "extracted", "failed", "n_silent", "audio_seconds", "failures", "kept", "resampler")
    assert {name: report[name] for name in same} == {name: local[name] for name in same}
    assert report["device"] == "ray: 2 actors with a CPU each, on 3 machines"
    store, parts = Store(tmp_path / "store"), sorted((out / "data").iterdir())
    assert f"{killed[0]}.parquet" in {part.name for part in parts}
    assert len(parts) == N_FILES // 30
    rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
    assert [row["path"] for row in rows] == [row["path"] for row in store.rows]
    for row, expected in zip(rows, store.rows, strict=True):
        features = np.array(row.pop("features"), np.float32)
        assert row.items() <= expected.items()
        if row["status"] != "error":
            np.testing.assert_array_equal(features, store[row["path"]].T)

    again = extract_on_ray(paths, out, TINY, address=cluster, quiet=True)
    assert (again["files"], again["kept"], again["failed_before"]) == (0, N_FILES, 1)
    folder = paths[0].parent
    folder.rename(tmp_path / "moved")
    moved = [tmp_path / "moved" / path.name for path in paths]
    again = extract_on_ray(moved, out, TINY, address=cluster, quiet=True, drop_errors=True)
    assert (again["files"], again["moved"], again["dropped"]) == (0, N_FILES, 1)
    kept = [path for path in moved if path.stat().st_size]
    assert pq.read_table(out / "index.parquet")["path"].to_pylist() == list(map(str, kept))
    (tmp_path / "moved").rename(folder)
    with pytest.raises(CumelError, match="n_mels=16, not 12; --overwrite starts over"):
        extract_on_ray(paths, out, TINY.replace(n_mels=12), address=cluster)
    with pytest.raises(UnavailableError, match="the Ray cluster has no GPU"):
        extract_on_ray(paths, out, TINY, address=cluster, device="cuda")


def test_the_command(cluster: str, paths: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["extract", *map(str, paths[5:9]), "--out", str(tmp_path / "out"), "--engine", "ray", "--address", cluster]
    assert main([*call, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["files"], report["extracted"], report["failed"]) == (4, 3, 1)
    assert main([*call, "--quiet"]) == 1  # the recordings asked for have not changed


def test_what_a_cluster_cannot_do(paths: list[Path], tmp_path: Path) -> None:
    with pytest.raises(CumelError, match="--device cuda:1: must be auto, cpu or cuda with --engine ray"):
        extract_on_ray(paths, tmp_path / "out", TINY, device="cuda:1")
    with pytest.raises(UnavailableError, match=r"--address 127\.0\.0\.1:9: no Ray cluster answers"):
        extract_on_ray(paths, tmp_path / "out", TINY, address="127.0.0.1:9")
