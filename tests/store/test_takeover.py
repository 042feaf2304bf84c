"""`--overwrite`, killed at each thing that it does to the disk: the old store is whole, or the new one is."""

import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cumel.esc50.extraction.audit import check
from cumel.esc50.extraction.local import config_of, extract
from cumel.esc50.extraction.ray.parts import parts_of, plan_parts, write_part_index
from cumel.esc50.store import Store, StoreConfig, shards, takeover
from cumel.kernels import CumelError

from support.processes import SECONDS
from support.recordings import TINY, content, thirty
from support.takeover_jobs import KILLED, OPTIONS, over

CPU = torch.device("cpu")
OTHER = TINY.replace(n_mels=12)
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["cumel.esc50.extraction.local"])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings, a store of them, and the one that takes its place."""
    folder = tmp_path_factory.mktemp("made")
    paths = thirty(folder / "in")
    extract(paths, folder / "old", TINY, **OPTIONS)
    extract(paths, folder / "new", OTHER, **OPTIONS)
    return folder


def test_killed_at_every_step_one_of_two_stores_is_whole(made: Path, tmp_path: Path) -> None:
    old, new = Store(made / "old"), Store(made / "new")
    first = len(shards.sidecars(made / "new")[0].read())
    states, n = [], 0
    assert 5 < first < 30
    while not states or states[-1] != "done":
        n += 1
        out = tmp_path / f"out{n}"
        shutil.copytree(made / "old", out)
        process = context.Process(target=over, args=(made, out, OTHER, n))
        process.start()
        process.join(SECONDS)
        assert process.exitcode in (0, KILLED)
        if process.exitcode == 0:
            states.append("done")
        else:
            here = Store(out)
            states.append("old" if here.config.features == TINY else "new")
            rows = old.rows if states[-1] == "old" else new.rows[:first]
            expected = old if states[-1] == "old" else new
            assert here.rows == rows
            assert check(out, quiet=True)["passed"]
            for number in (0, 5, len(rows) - 1):
                np.testing.assert_array_equal(here[number], expected[number])
            extract(sorted((made / "in").iterdir()), out, OTHER, overwrite=states[-1] == "old", **OPTIONS)
        assert content(out) == content(made / "new")
        shutil.rmtree(out)
    assert states == ["old"] * states.count("old") + ["new"] * states.count("new") + ["done"]
    assert min(states.count("old"), states.count("new")) > 5


@pytest.mark.parametrize("name", ["replace", "unlink", "mkdir"])
def test_a_disk_that_fails_leaves_one_of_two_stores_whole(
    made: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, true = sorted((made / "in").iterdir()), getattr(Path, name)
    for n in range(1, 40):
        out, calls = tmp_path / f"out{n}", 0
        shutil.copytree(made / "old", out)

        def fails(path: Path, *arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += not path.name.endswith(".part") or name == "replace"
            if calls == n:  # noqa: B023 (used in this turn alone)
                raise OSError(5, "Input/output error")
            return true(path, *arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(Path, name, fails)
            try:
                extract(paths, out, OTHER, overwrite=True, **OPTIONS)
            except (CumelError, OSError) as error:
                said = str(error)
            else:
                break
        assert "\n" not in said
        assert len(Store(out)) in (30, *range(1, 30))
        assert check(out, quiet=True)["passed"]
        shutil.rmtree(out)
    assert content(out) == content(made / "new")


def test_a_disk_without_links_gets_copies(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    shutil.copytree(made / "old", tmp_path / "out")
    extract(sorted((made / "in").iterdir()), tmp_path / "out", OTHER, overwrite=True, **OPTIONS)
    assert content(tmp_path / "out") == content(made / "new")


def test_parts_are_replaced_in_one_step(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "parts"
    out.mkdir()
    config, other = (config_of(cfg, "logmel", "float32", CPU) for cfg in (TINY, OTHER))
    options = {"retry_errors": False, "paths": sorted((made / "in").iterdir())}
    plan_parts(out, config, overwrite=False, **options)
    shutil.copy(next((made / "old").glob("*.parquet")), out / "data" / "part-0000-000000000.parquet")
    monkeypatch.setattr(takeover, "settle", lambda _: None)  # killed just before
    plan_parts(out, other, overwrite=True, **options)
    monkeypatch.undo()
    assert StoreConfig.load(takeover.current(out), "ray.json") == other
    assert check(out, quiet=True) | {"seconds": 0} == check(takeover.current(out), quiet=True) | {
        "seconds": 0,
        "store": str(out),
    }
    plan_parts(out, other, overwrite=False, **options)
    assert parts_of(out) == []
    assert takeover.current(out) == out
    write_part_index(out)
    assert shards.INDEX in {path.name for path in out.iterdir()}
