"""Pairwise grids lose no pair of values, and what the default run leaves out is counted and runs on demand."""

import os
import subprocess
import sys
from itertools import combinations, product
from pathlib import Path

import pytest

from support.pairwise import cover

GRIDS = {
    "four": [4, 3, 2, 2],
    "three": [18, 6, 4],
    "two": [5, 3],
    "one": [7],
}
FILE = """
import pytest

@pytest.mark.pairwise
@pytest.mark.parametrize("x", [[1], [2], [3]])
@pytest.mark.parametrize("y", ["a", "b"])
@pytest.mark.parametrize("z", [True, 1])
def test_grid(x, y, z):
    pass

@pytest.mark.each_value
@pytest.mark.parametrize("x", [1, 2, 3])
@pytest.mark.parametrize("y", [1, 2])
def test_slow(x, y):
    pass

@pytest.mark.parametrize("x", [1, pytest.param(2, marks=pytest.mark.exhaustive)])
def test_chosen(x):
    pass

@pytest.mark.gpu
@pytest.mark.pairwise
@pytest.mark.parametrize("x", [1, 2])
@pytest.mark.parametrize("y", [1, 2])
@pytest.mark.parametrize("z", [1, 2])
def test_gpu(x, y, z):
    pass
"""
N_ALL, N_DEFAULT = 12 + 6 + 2 + 8, 6 + 3 + 1 + 8


def pairs(rows: list[tuple[int, ...]]) -> set[object]:
    return {pair for row in rows for pair in combinations(enumerate(row), min(2, len(row)))}


@pytest.mark.parametrize("sizes", GRIDS.values(), ids=GRIDS)
def test_every_pair_is_in_few_rows(sizes: list[int]) -> None:
    rows = list(product(*map(range, sizes)))
    chosen = [rows[place] for place in cover(rows)]
    assert pairs(chosen) == pairs(rows)
    largest = sorted(sizes)[-2:]
    assert len(chosen) <= 1.1 * largest[0] * largest[-1] if len(sizes) > 1 else len(chosen) == len(rows)


def test_rows_may_be_any_part_of_a_grid() -> None:
    rows = [row for row in product(range(5), repeat=4) if sum(row) % 3]
    chosen = cover(rows)
    assert pairs([rows[place] for place in chosen]) == pairs(rows)
    assert len(chosen) < len(rows) / 5
    assert chosen == sorted(set(chosen)) == cover(rows)
    assert cover([]) == []
    assert cover([*product("ab", "cd", "ef")]) == [0, 3, 5, 6]
    assert cover([*product("ab", "cd", "ef")], strength=1) == [0, 7]


def run(folder: Path, *options: str) -> str:
    """Return the last line of a run of FILE."""
    (folder / "test_grid.py").write_text(FILE, encoding="utf-8")
    marks = ("gpu", "pairwise", "each_value", "exhaustive")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n" + "".join(f"  {mark}\n" for mark in marks), "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "support.pairwise", *options, folder]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    assert run(tmp_path).startswith(f"{N_DEFAULT} passed, {N_ALL - N_DEFAULT} deselected in")


def test_exhaustive_is_everything(tmp_path: Path) -> None:
    assert run(tmp_path, "--exhaustive").startswith(f"{N_ALL} passed in")


def test_a_grid_is_what_k_leaves_of_it(tmp_path: Path) -> None:
    """An item that is asked for by its name runs, whether a whole run has it or not."""
    assert run(tmp_path, "-k", "test_grid[True-b-x2]").startswith(f"1 passed, {N_ALL - 1} deselected in")
